"""Processes that do what a test tells them, under the guard. Run as a program, this is such a process: it executes each
line of its input, a JSON string, and answers with the value of what it was (JSON), or with its exception."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.agent.inside.guard import addresses
from launcher.agent.inside.guard.addresses import Address

KEY, OTHER_KEY = bytes(range(1, 33)), bytes(range(65, 97))
LIMIT_S = 30.0


class Guarded:
    """Such a process. ``file``: the addresses that it knows; without one it is not guarded; ``within``: the command
    that starts it."""

    def __init__(self, library: Path | str, file: Path | None, *, within: Sequence[str] = (), **env: str) -> None:
        given = {**os.environ, "LD_PRELOAD": str(library), **({addresses.VARIABLE: str(file)} if file else {}), **env}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [*within, sys.executable, "-u", __file__],
            env=given,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        )
        self("import array, ctypes, os, select, socket, subprocess, sys, threading, time")
        self("fds = {}; accepted = []")

    def __call__(self, code: str) -> Any:
        """Has it execute statements, or tell the value of an expression; raises RuntimeError with its exception."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"it has ended: {self.said()}"
        answer = json.loads(line)
        if "raised" in answer:
            raise RuntimeError(answer["raised"])
        return answer["value"]

    def said(self) -> str:
        """Ends it, and what it has forked; what it wrote to its standard error."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.communicate()[1]


def listen(process: Guarded, port: int, *, family: str = "AF_INET6", blocking: bool = True) -> None:
    """Has it listen on the wildcard as ``s``, as TensorFlow's servers do."""
    process(f"s = socket.socket(socket.{family}); s.setblocking({blocking})")
    process("s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)")
    if family == "AF_INET6":
        process("s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)")
    process(f"s.bind(({'::' if family == 'AF_INET6' else '0.0.0.0'!r}, {port})); s.listen(100)")


def serve(process: Guarded) -> None:
    """Has it answer every connection to ``s`` with what came, in a thread, as programs with an event loop do."""
    process(
        """def serve(s):
    s.setblocking(False)
    poll = select.epoll()
    poll.register(s, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
    while True:
        for fd, event in poll.poll():
            while fd == s.fileno():
                try: c, name = s.accept()
                except BlockingIOError: break
                except OSError: return
                fds[c.fileno()] = c; accepted.append(name)
                poll.register(c, select.EPOLLIN)
            if fd == s.fileno(): continue
            try: data = fds[fd].recv(65536)
            except OSError: data = b""
            if data: fds[fd].sendall(data)
            else: fds.pop(fd).close()"""
    )
    process("threading.Thread(target=serve, args=(s,), daemon=True).start()")


def ask(process: Guarded, port: int, host: str = "127.0.0.1") -> bool:
    """Whether a client in that process is served there."""
    process(
        f"""def ask(host, port):
    try:
        with socket.create_connection((host, port), timeout={LIMIT_S}) as c:
            c.sendall(b"word"); return c.recv(4) == b"word"
    except ConnectionError: return False"""
    )
    return bool(process(f"ask({host!r}, {port})"))


def stranger(port: int, data: bytes = b"", host: str = "127.0.0.1") -> socket.socket:
    """A connection of somebody who is not guarded, on which ``data`` was sent, if it was not cut off before."""
    connection = socket.create_connection((host, port), timeout=LIMIT_S)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)
    return connection


def is_cut_off(connection: socket.socket) -> bool:
    """Whether a connection is ended by the other side, which says nothing but gRPC's first words. Blocks."""
    came = b""
    try:
        while data := connection.recv(100):
            came += data
    except ConnectionResetError:
        pass
    return came in (b"", b"\0\0\0\4\0\0\0\0\0")


def write(path: Path, ports: Mapping[int, bytes], *, ip: str = "127.0.0.1", own: bool = True, **options: Any) -> Path:
    """The file of a host with tasks at these ports."""
    addresses.write(str(path), [Address(ip, port, key, own=own) for port, key in ports.items()], **options)
    return path


def _answers() -> Iterator[dict[str, Any]]:
    scope: dict[str, Any] = {}
    for line in sys.stdin:
        code = json.loads(line)
        try:
            try:
                yield {"value": eval(code, scope)}
            except SyntaxError:
                exec(code, scope)
                yield {"value": None}
        except Exception as error:
            yield {"raised": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    for answer in _answers():
        print(json.dumps(answer, default=repr), flush=True)
