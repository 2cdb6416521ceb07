"""Plays the agent: starts a preloaded interpreter, forks tasks from it, and runs the same programs otherwise."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import launcher
from launcher.agent.system import linux
from launcher.agent.tasks.output import OutputFile
from launcher.agent.tasks.pipe import Pipe
from launcher.wire.roles import TaskId
from launcher.wire.variables import TASK_SOCKET_VARIABLE

AGENT = Path(launcher.__file__).parent / "agent" / "inside"
PROGRAM = str(AGENT / "program.py")
DEADLINE_S = 120


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program ended. ``status``: its exit code, or the signal's number negated; ``output``: both streams."""

    status: int
    output: str


class Preload:
    """A preloaded interpreter of ``modules``, in ``env``."""

    def __init__(self, modules: Sequence[str], env: Mapping[str, str], cwd: str = "/") -> None:
        linux.become_subreaper()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(DEADLINE_S)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, str(AGENT / "preload.py")],
                env={**env, "TFLAUNCH_PRELOAD_FD": str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_spoil_signals,
            )
        self._socket.send(json.dumps({"modules": list(modules), "home": ""}).encode())

    def answer(self) -> dict[str, object]:
        """The next message; empty when the preloaded interpreter has closed its end."""
        text = self._socket.recv(1 << 20)
        return json.loads(text) if text else {}

    def start(
        self,
        program: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        output: int,
        by_file: bool = False,
        **more: object,
    ) -> dict[str, object]:
        """Starts a task and returns the answer."""
        message = {
            "kind": "start",
            "task": "worker:1",
            "attempt": 2,
            "program": list(program),
            "cwd": cwd,
            "env": dict(env),
            "python": [sys.executable],
            "argv": [sys.executable, *program],
            "title": "tflaunch: run-1 worker:1",
            "agent_pid": os.getpid(),
        }
        text = json.dumps(message).encode()
        if not by_file:
            socket.send_fds(self._socket, [text], [output])
            return self.answer()
        with tempfile.TemporaryFile() as file:
            file.write(text)
            file.flush()
            socket.send_fds(self._socket, [b'{"kind": "start_file"}'], [output, file.fileno()])
            return self.answer()

    def run(self, program: Sequence[str], env: Mapping[str, str], cwd: str, *, by_file: bool = False) -> Ended:
        """Runs a task to its end; listens at its TFLAUNCH_TASK_SOCKET, as its agent would."""
        path = env[TASK_SOCKET_VARIABLE]
        reader, writer = os.pipe()
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            output = OutputFile(TaskId.parse("worker:1"), 2, Path(folder, "output"), Pipe(reader, writer), 1 << 30)
            listener.bind(path)
            try:
                listener.listen()
                answer = self.start(program, env, cwd, writer, by_file=by_file)
                pid = answer["pid"]
                assert isinstance(pid, int), answer
                with serving(listener, output):
                    status = wait(pid)
            finally:
                os.unlink(path)  # noqa: PTH108
                os.close(reader)
                os.close(writer)
            with Path(folder, "output").open("rb") as file:
                return Ended(status=status, output=read(file, pid))

    def log(self) -> str:
        """What the preloaded interpreter itself has written."""
        self._log.seek(0)
        return self._log.read().decode()

    def close(self) -> int:
        """Ends it as the agent's death would; returns its exit status."""
        self._socket.close()
        return self.process.wait(DEADLINE_S)


def _spoil_signals() -> None:
    """As after ``&`` in a script, or below a program that blocks signals: tasks must not inherit it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGHUP])


def _usual_signals() -> None:
    """As in a terminal, however these tests were started (``nohup`` and ``&`` leave signals ignored)."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def execute(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Ended:
    """Runs a command to its end, as a task would be started by exec."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_usual_signals,
        )
        try:
            status = process.wait(DEADLINE_S)
        finally:
            process.kill()
        return Ended(status=status, output=read(output, process.pid))


@contextlib.contextmanager
def serving(listener: socket.socket, output: OutputFile) -> Iterator[None]:
    """In a thread: writes down what is said, and takes it back when the task starts over."""
    ended = os.eventfd(0)

    def serve() -> None:
        while True:
            ready = select.select([ended, listener, output.pipe.reader], [], [])[0]
            output.take()
            if listener in ready:
                with listener.accept()[0] as line, line.makefile("rb") as said:
                    assert [json.loads(said.readline())["kind"] for _ in range(2)] == ["task_hello", "starting_over"]
                    output.start_over()
            elif ended in ready:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        os.eventfd_write(ended, 1)
        thread.join()
        os.close(ended)


def wait(pid: int) -> int:
    """Reaps a task; fails the test, and kills the task's group, if it does not end in time."""
    handle = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([handle], [], [], DEADLINE_S)
        if not ready:
            os.killpg(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert ready, f"the task did not end within {DEADLINE_S} s"
        return status
    finally:
        os.close(handle)


def read(output: IO[bytes], pid: int) -> str:
    """What was written, with the pid replaced, and without the entry of PYTHONPATH by which programs that the task
    starts come to us: the one thing that tasks see and others do not."""
    output.seek(0)
    text = output.read().decode("utf-8", "backslashreplace")
    # Alone: the same digits may stand within an address, or within the identity of a thread.
    return re.sub(rf"\b{pid}\b", "PID", text).replace(f"{AGENT / 'below'}:", "")
