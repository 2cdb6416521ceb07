"""The conversation of the preloaded interpreter with the agent, one JSON object a datagram.

To it: first ``{"modules": […]}``; then for each task ``{"kind": "start", "task", "attempt", "program", "cwd", "env",
"python", "argv", "title", "agent_pid"}`` with the output file as the first descriptor (SCM_RIGHTS), or
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

from launcher.agent import title, warm
from launcher.agent.forked import Request, Template, begin, enter

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
    template = warm.imported(message["modules"], modules_at_start)
    gc.collect()
    gc.freeze()
    _assert_forkable()
    _send(connection, kind="ready", pid=os.getpid(), seconds=round(time.monotonic() - began, 3))
    return _fork_tasks(connection, template)


class PreloadError(Exception):
    """No task can be forked from this process; the text says why."""


def _assert_forkable() -> None:
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if threads:
        raise PreloadError(f"a preloaded module has started threads, which a fork would lose: {', '.join(threads)}")
    devices = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    opened = [device for device in devices if device.startswith(("/dev/nvidia", "/dev/kfd", "/dev/accel"))]
    if opened:
        raise PreloadError(f"a preloaded module has opened an accelerator, which a fork cannot use: {opened[0]}")


def _fork_tasks(connection: socket.socket, template: Template) -> Callable[[], None] | None:
    while True:
        message, fds = _receive(connection)
        if message is None:
            return None
        request, output_fd = _request(message, fds)
        handshake = _Handshake.make()
        starter = _fork_twice(handshake)
        if starter:
            connection.detach()
            return _become(request, output_fd, (starter, handshake), template)
        for fd in fds:
            os.close(fd)
        handshake.finish(connection, request)


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


def _send(connection: socket.socket, **message: object) -> None:
    try:
        connection.sendall(json.dumps(message).encode())
    except ConnectionError:
        return  # the agent is gone: the next receive ends this process


@dataclass(frozen=True, kw_only=True)
class _Handshake:
    """Two pipes between this process and the task to be: it says that it is ready or why not, and is told to go."""

    status_reader: int
    status_writer: int
    go_reader: int
    go_writer: int

    @classmethod
    def make(cls) -> _Handshake:
        status, go = os.pipe(), os.pipe()
        return cls(status_reader=status[0], status_writer=status[1], go_reader=go[0], go_writer=go[1])

    def finish(self, connection: socket.socket, request: Request) -> None:
        """Passes on to the agent what the task says, then lets it go."""
        os.close(self.status_writer)
        os.close(self.go_reader)
        with open(self.status_reader, "rb") as pipe:
            text = pipe.read()
        answer = json.loads(text) if text else {"kind": "failed", "message": "the forked process died at once"}
        _send(connection, task=request.task, attempt=request.attempt, **answer)
        if answer["kind"] == "started":
            with contextlib.suppress(BrokenPipeError):  # killed meanwhile; the agent, its parent, sees that
                os.write(self.go_writer, b"g")
        os.close(self.go_writer)

    def say(self, **answer: object) -> None:
        os.write(self.status_writer, json.dumps(answer).encode())
        os.close(self.status_writer)

    def wait(self) -> bool:
        """Whether the agent knows of this process."""
        os.close(self.go_writer)
        return os.read(self.go_reader, 1) == b"g"


def _fork_twice(handshake: _Handshake) -> int:
    """In the task the pid of the process between, which ends at once; 0 in the server."""
    try:
        child = os.fork()
    except OSError as error:
        handshake.say(kind="failed", message=f"cannot fork: {error.strerror}")
        return 0
    if child:
        os.waitpid(child, 0)
        return 0
    try:
        starter = os.getpid()
        if os.fork() == 0:
            return starter
    except OSError as error:
        handshake.say(kind="failed", message=f"cannot fork: {error.strerror}")
    os._exit(0)


def _become(request: Request, output_fd: int, origin: tuple[int, _Handshake], template: Template) -> Callable[[], None]:
    """The rest of the task's way to its program. What can fail comes before the agent hears of the process."""
    starter, handshake = origin
    try:
        enter(request, output_fd, starter)
    except OSError as error:
        handshake.say(kind="failed", message=f"{error.strerror}: {error.filename or request.cwd}")
        os._exit(1)
    handshake.say(kind="started", pid=os.getpid())
    if not handshake.wait():
        os._exit(1)
    return begin(request, template)
