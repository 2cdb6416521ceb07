"""What forks tasks, forked from an agent that has TensorFlow in it itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from launcher.agent.system import linux, title
from launcher.agent.tasks import spawn
from launcher.wire.forms.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

SEND_BYTES = 4 * 1024 * 1024


class Standing(NamedTuple):
    """What this process was forked from. ``key``: of the preloaded interpreter that it is; ``serve(link)`` forks tasks,
    and comes back from none of them."""

    key: str
    serve: Callable[[socket.socket], NoReturn]


class Made(NamedTuple):
    """A process that forks tasks, and the agent's line to it."""

    key: str
    pid: int
    link: socket.socket


def fork(standing: Standing, log: Path, open_files: int) -> Made:
    """Forks it. To be done before the agent knows anything of its run."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
    ours.setblocking(False)
    agent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ours.detach()
        _become(standing, theirs, log, open_files, agent)
    theirs.close()
    return Made(standing.key, pid, ours)


def _become(standing: Standing, link: socket.socket, log: Path, open_files: int, agent: int) -> NoReturn:
    try:
        from launcher.agent.inside import fresh  # which other agents have no use for

        os.setsid()
        linux.die_with(agent)
        spawn.reset_signals()
        linux.set_open_files(open_files)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fresh.output(output)
        fresh.close_descriptors(besides=link.fileno())
        title.set_title("tflaunch: preload")
        standing.serve(link)
    except Exception:  # noqa: BLE001 - the top of a process: the agent sees that it has died
        os._exit(1)
