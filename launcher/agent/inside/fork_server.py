"""The conversation of the preloaded interpreter with the agent, one JSON object a datagram.

To it: first ``{"modules": […], "home"}``; then for each task ``{"kind": "start", "task", "attempt", "program", "cwd",
"env", "python", "argv", "title", "agent_pid"}`` with the output file as the first descriptor (SCM_RIGHTS), or
``{"kind": "start_file"}`` with a file that holds this text as the second. From it: ``{"kind": "ready", "pid",
"seconds"}``, then for each task ``{"kind": "started", "task", "attempt", "pid"}``, which is sent before the program's
first line runs, or ``{"kind": "failed", "task", "attempt", "message"}``.

A task is forked twice: its parent ends at once, so that the agent, which is a subreaper, becomes its parent and the
parent-death signal does not hang on the preloaded interpreter.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.agent.inside import warm
from launcher.agent.inside.forked import Request, Template, begin, enter
from launcher.agent.system import title
from launcher.wire.words import limits

PRELOAD_FD_VARIABLE = "TFLAUNCH_PRELOAD_FD"
_LONGEST_DATAGRAM_BYTES = 1024 * 1024
_MOST_FDS = 4


def serve(modules_at_start: frozenset[str]) -> Callable[[], None] | None:
    """Imports, then forks until the agent is gone: returns None then, and in a task what runs its program.

    Raises what the imports raise, and PreloadError.
    """
    connection = socket.socket(fileno=int(os.environ.pop(PRELOAD_FD_VARIABLE)))
    connection.set_inheritable(False)
    message, _ = _receive(connection)
    if message is None:
        return None
    began = time.monotonic()
    title.set_title("tflaunch: preload")
    template = warm.imported(message["modules"], modules_at_start, message["home"])
    gc.collect()
    gc.freeze()
    assert_forkable()
    return fork_tasks(connection, template, round(time.monotonic() - began, 3))


class PreloadError(Exception):
    """No task can be forked from this process; the text says why."""


def assert_forkable() -> None:
    """Raises PreloadError if this process cannot be forked."""
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if threads:
        raise PreloadError(f"a preloaded module has started threads, which a fork would lose: {', '.join(threads)}")
    devices = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    opened = [device for device in devices if device.startswith(("/dev/nvidia", "/dev/kfd", "/dev/accel"))]
    if opened:
        raise PreloadError(f"a preloaded module has opened an accelerator, which a fork cannot use: {opened[0]}")


def fork_tasks(connection: socket.socket, template: Template, seconds: float) -> Callable[[], None] | None:
    """Says that the imports are done, and how long they took; goes on as ``serve`` does."""
    _send(connection, kind="ready", pid=os.getpid(), seconds=seconds)
    while True:
        message, fds = _receive(connection)
        if message is None:
            return None
        request, output_fd = _request(message, fds)
        reader, writer = os.pipe()
        starter, trouble = _fork_twice()
        if starter:
            return _become(
                request, output_fd, _Origin(connection=connection, starter=starter, answered=writer), template
            )
        for fd in (*fds, writer):
            os.close(fd)
        with open(reader, "rb") as pipe:
            if not pipe.read():
                words = limits.told(OSError(trouble, os.strerror(trouble))) if trouble else "it died at once"
                _fail(connection, request, f"the fork failed: {words}")


def _receive(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """The next message and its descriptors; None when the agent is gone."""
    try:
        text, fds, _, _ = socket.recv_fds(connection, _LONGEST_DATAGRAM_BYTES, _MOST_FDS, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None, []
    return (json.loads(text) if text else None), fds


def _request(message: dict[str, Any], fds: list[int]) -> tuple[Request, int]:
    if message["kind"] == "start_file":
        with open(fds[1], "rb", closefd=False) as file:
            file.seek(0)
            message = json.load(file)
    return Request.from_message(message), fds[0]


def _send(connection: socket.socket, **message: object) -> bool:
    """False if the agent is gone or listens no more; the server's next receive ends it then."""
    try:
        connection.sendall(json.dumps(message).encode())
    except ConnectionError:
        return False
    return True


def _fail(connection: socket.socket, request: Request, message: str) -> None:
    _send(connection, kind="failed", task=request.task, attempt=request.attempt, message=message)


def _fork_twice() -> tuple[int, int]:
    """In the task the pid of the process between, which ends at once; in the server the errno, if a fork fails."""
    try:
        child = os.fork()
    except OSError as error:
        return 0, error.errno or 0
    if child:
        return 0, max(0, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    starter = os.getpid()
    try:
        if os.fork() == 0:
            return starter, 0
    except OSError as error:
        os._exit(error.errno or 0)
    os._exit(0)


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """What a task has of the server: the socket, the pid of the process between, and a pipe into which it writes when
    it has answered the agent itself."""

    connection: socket.socket
    starter: int
    answered: int


def _become(request: Request, output_fd: int, origin: _Origin, template: Template) -> Callable[[], None]:
    """The rest of the task's way to its program. What can fail comes before the agent hears of the process.

    The task answers, not the server: when the agent knows of it, nothing that happens to the server matters to it.
    """
    try:
        enter(request, output_fd, origin.starter)
    except OSError as error:
        _fail(origin.connection, request, f"{error.strerror}: {error.filename or request.cwd}")
        os.write(origin.answered, b"f")
        os._exit(1)
    if not _send(origin.connection, kind="started", task=request.task, attempt=request.attempt, pid=os.getpid()):
        os._exit(1)  # the server was killed and the agent has given its forks up: another one becomes this attempt
    with contextlib.suppress(BrokenPipeError):  # the server was killed
        os.write(origin.answered, b"s")
    origin.connection.detach()
    return begin(request, template)
