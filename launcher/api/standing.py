"""Runs command lines of tflaunch from this process: by one that has imported it and stands by, or as a new program."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from launcher.wire.preload_env import known_environment
from launcher.wire.private import inherited, peers

_PROGRAM = "launcher.cli.standing_by"


class Told(NamedTuple):
    """How a command line ended: its exit code, and what it wrote to its two streams."""

    code: int
    out: str
    err: str


class _Standing(NamedTuple):
    """Who stands by. ``fits``: what it must have in common with this process; ``control``: its socket."""

    fits: str
    control: socket.socket


_lock = threading.Lock()
_standing: list[_Standing] = []  # none or one


def command_line(words: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: int) -> Told:
    """Runs ``tflaunch WORDS`` in that folder and environment. Blocks. Raises OSError and ValueError if it cannot be."""
    with contextlib.suppress(OSError):
        control = _control()
        if (told := _ask(control, {"words": words, "cwd": str(cwd.absolute()), "env": dict(env)}, stdin)) is not None:
            return told
    done = subprocess.run(
        [sys.executable, "-m", "launcher", *words],
        cwd=cwd,
        env=env,
        stdin=stdin,
        capture_output=True,
        start_new_session=True,  # Ctrl-C is this process's to hear
        check=False,
    )
    return Told(done.returncode, *(text.decode(errors="replace") for text in (done.stdout, done.stderr)))


def _ask(control: socket.socket, request: Mapping[str, object], stdin: int) -> Told | None:
    """None if nobody has heard it."""
    ours, theirs = socket.socketpair()
    streams = [os.memfd_create(name) for name in ("stdout", "stderr")]
    try:
        with theirs:
            socket.send_fds(control, [b"+"], [theirs.fileno(), stdin, *streams])
        with ours:
            if not ours.recv(1):
                return None
            ours.sendall(json.dumps(request).encode())
            ours.shutdown(socket.SHUT_WR)
            code = ours.recv(1)
        return Told(code[0] if code else 1, *map(_text, streams))
    finally:
        for stream in streams:
            os.close(stream)


def _text(stream: int) -> str:
    with open(stream, "rb", closefd=False) as file:
        file.seek(0)
        return file.read().decode(errors="replace")


def _control() -> socket.socket:
    """The socket of who stands by; starts it, or another one where this process is not what it was. Raises OSError."""
    env = known_environment(os.environ)
    facts = [sys.executable, env, inherited.circumstances(), inherited.installed(sys.path)]
    fits = json.dumps(facts)
    with _lock:
        if _standing and _standing[0].fits == fits and not _is_closed(_standing[0].control):
            return _standing[0].control
        _forget()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        _standing.append(_Standing(fits, ours))
        with theirs:
            argv = [sys.executable, "-m", _PROGRAM, str(theirs.fileno()), peers.identity(os.getpid())]
            nothing = subprocess.DEVNULL
            subprocess.run(
                argv,
                env=env,
                stdin=nothing,
                stdout=nothing,
                stderr=nothing,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                check=False,
            )
        return ours


def _is_closed(control: socket.socket) -> bool:
    """Nothing is ever said on it: what can be read is its end."""
    try:
        return not control.recv(1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def _forget() -> None:
    while _standing:
        _standing.pop().control.close()


os.register_at_fork(after_in_child=_forget)
