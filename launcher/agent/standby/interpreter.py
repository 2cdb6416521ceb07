"""The interpreter that stands by: imports TensorFlow once, and forks the keeper of each run that asks for one.

So the agent of such a run, and what forks its tasks, have TensorFlow in them from the start. This process itself reads
no request: a fork does, and what that learns of the run ends with the run. It ends with the process that it belongs to.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator

from launcher.agent.host import agent, keeper  # noqa: F401 - the agent for the keepers that are forked
from launcher.agent.host.options import Options
from launcher.agent.inside import fork_server, fresh, warm
from launcher.agent.inside.forked import Template
from launcher.agent.standby.asking import CANNOT
from launcher.agent.system import title
from launcher.agent.tasks.standing import Standing
from launcher.wire.private import inherited, peers
from launcher.wire.private.folder import Folder
from launcher.wire.standby import VARIABLE
from launcher.wire.variables import RUN_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_PATIENCE_S = 10.0
_REAP_MS = 500
_EXIT_ASKED_TO_LEAVE = 3


class LeaveError(BaseException):
    """In a task: the way up, out of all that forked it. ``execute`` runs its program."""

    def __init__(self, execute: Callable[[], None]) -> None:
        super().__init__()
        self.execute = execute


def serve(modules_at_start: frozenset[str]) -> NoReturn:
    """Stands by. Raises LeaveError in a task, and what the imports raise."""
    facts = json.loads(os.environ.pop(VARIABLE))
    os.environ.pop(RUN_VARIABLE)  # its kernel goes on to show it
    home = Folder(facts["place"], facts["name"], facts["fd"], facts["path"])
    listener = socket.socket(fileno=facts["listener"])
    for fd in (*home.fds, listener.fileno()):
        os.set_inheritable(fd, False)
    try:
        owner = peers.watch(facts["owner"])
    except OSError:
        home.remove()
        os._exit(0)
    title.set_title("tflaunch: stands by")
    try:
        with _ends_with(owner, home):
            template = warm.imported(facts["modules"], modules_at_start, home.path)
        gc.collect()
        gc.freeze()
        fork_server.assert_forkable()
    except BaseException:
        home.remove()
        raise
    standing = Standing(facts["key"], lambda link: _serve_tasks(link, template))
    _stand_by(home, listener, owner, standing)


def _serve_tasks(link: socket.socket, template: Template) -> NoReturn:
    execute = fork_server.fork_tasks(link, template, 0.0)
    if execute is not None:
        raise LeaveError(execute)
    os._exit(0)


@contextlib.contextmanager
def _ends_with(owner: int, home: Folder) -> Iterator[None]:
    """While it imports, it does so by a thread, which is gone before anything is forked."""
    reader, writer = os.pipe()

    def watch() -> None:
        poller = select.poll()
        poller.register(owner, select.POLLIN)
        poller.register(reader, select.POLLIN)
        if owner in dict(poller.poll()):
            home.remove()
            os._exit(0)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        os.close(writer)
        thread.join()
        os.close(reader)


def _stand_by(home: Folder, listener: socket.socket, owner: int, standing: Standing) -> NoReturn:
    installed = inherited.installed(sys.path)
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    poller.register(owner, select.POLLIN)
    children: set[int] = set()
    while True:
        ready = dict(poller.poll(_REAP_MS if children else None))
        if owner in ready or _EXIT_ASKED_TO_LEAVE in _reaped(children):
            break
        if listener.fileno() not in ready:
            continue
        if inherited.installed(sys.path) != installed:  # what it would import from now on is not what it has imported
            break
        try:
            connection, _ = listener.accept()
            peers.check(connection, home.path)
        except (OSError, peers.ForeignPeerError):
            continue
        child = os.fork()
        if child == 0:
            listener.detach()
            _become_keeper(connection.detach(), standing)
        children.add(child)
        connection.close()
    home.remove()
    os._exit(0)


def _reaped(children: set[int]) -> set[int]:
    """The exit codes of those that have ended."""
    codes = set()
    for child in [*children]:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            children.remove(child)
            codes.add(os.waitstatus_to_exitcode(status))
    return codes


def _become_keeper(connection: int, standing: Standing) -> NoReturn:
    """In a fork: does what a relay's does, and answers with the exit code of the keeper's start."""
    code = CANNOT
    try:
        request, errors = _read(connection)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (connection, 1), (errors, 2)):
            os.dup2(source, target)  # the keeper leaves them behind
        fresh.close_descriptors()
        options = Options(**request["options"])
        os.environ.clear()
        os.environ.update(request["env"])
        if title.set_environment(RUN_VARIABLE, options.run):
            code = keeper.start(options, standing)
        os.write(1, bytes([code]))
    except _AskedToLeaveError:
        os._exit(_EXIT_ASKED_TO_LEAVE)
    except Exception:  # noqa: BLE001 - the top of a process: the relay sees that it has closed, and does without
        os._exit(1)
    os._exit(0)


class _AskedToLeaveError(Exception):
    pass


def _read(connection: int) -> tuple[dict[str, Any], int]:
    with socket.socket(fileno=os.dup(connection)) as line:
        line.settimeout(_PATIENCE_S)
        kind, fds, _, _ = socket.recv_fds(line, 1, 1, socket.MSG_CMSG_CLOEXEC)
        if kind != b"+":
            raise _AskedToLeaveError
        text = bytearray()
        while part := line.recv(65536):
            text += part
    return json.loads(text.decode("utf-8", "surrogateescape")), fds[0]
