"""The command line, imported once and standing by: runs those of the process that it belongs to, each in a fork.

``python -m launcher.cli.standing_by FD OWNER``: each datagram on the socket FD brings the descriptors of a conversation
and of the standard streams. Only the fork hears the command line: this process knows nothing of any. It ends when
its owner does, or when the socket is closed.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import socket
import sys
import time
from typing import NoReturn

from launcher.cli import client, commands, resolve  # noqa: F401 - what a run needs, for the forks
from launcher.cli.main import run
from launcher.deploy import command  # noqa: F401
from launcher.hosts import local  # noqa: F401
from launcher.supervise import supervisor  # noqa: F401
from launcher.views import terminal
from launcher.wire.errors import EXIT_USAGE
from launcher.wire.private import peers

_REAP_MS = 500


def main() -> NoReturn:
    """Returns to who started it, by a fork, when it can be spoken to."""
    fd, name = sys.argv[1:]
    control = socket.socket(fileno=int(fd))
    owner = peers.watch(name)
    gc.collect()
    gc.freeze()
    if os.fork():
        os._exit(0)
    poller = select.poll()
    poller.register(control, select.POLLIN)
    poller.register(owner, select.POLLIN)
    children: set[int] = set()
    while owner not in (ready := dict(poller.poll(_REAP_MS if children else None))):
        children = {child for child in children if not os.waitpid(child, os.WNOHANG)[0]}
        if control.fileno() not in ready:
            continue
        what, fds, _, _ = socket.recv_fds(control, 1, 4, socket.MSG_CMSG_CLOEXEC)
        if not what:
            break
        child = os.fork()
        if child == 0:
            os.close(control.detach())
            os.close(owner)
            _run(*fds)
        children.add(child)
        for each in fds:
            os.close(each)
    os._exit(0)


def _run(conversation: int, *streams: int) -> NoReturn:
    """In a fork: as ``python -m launcher`` there. Says that it has begun, and tells the exit code when it is done."""
    with socket.socket(fileno=conversation) as line:
        os.register_at_fork(after_in_child=line.close)  # a supervisor would keep it open as long as it lives
        line.sendall(b"+")
        with line.makefile("r") as said:
            request = json.load(said)
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
            os.close(stream)
        os.environ.clear()
        os.environ.update(request["env"])
        time.tzset()
        random.seed()
        try:
            os.chdir(request["cwd"])
        except OSError as error:
            terminal.say(f"Error: cannot start tflaunch in {request['cwd']}: {error}", err=True)
            code = EXIT_USAGE
        else:
            if not getattr(sys.flags, "safe_path", False):
                sys.path[0] = request["cwd"]
            code = run(request["words"])
        sys.stdout.flush()
        sys.stderr.flush()
        line.sendall(bytes([code & 0xFF]))
    os._exit(0)


if __name__ == "__main__":
    main()
