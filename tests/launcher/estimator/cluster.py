"""What the tests with real TensorFlow need: ports that are held, an agent that speaks the task socket, and tasks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from launcher.wire import protocol
from launcher.wire.protocol import Message, changed

HERE = Path(__file__).parent
DEADLINE_S = 60.0
IMPORT_DEADLINE_S = 240.0


class Agent:
    """The other end of the task socket: keeps what tasks report, tells them what the test wants."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reports: list[tuple[str, int, Message]] = []
        self.changed = threading.Condition()
        self._lines: dict[str, socket.socket] = {}
        self._standing: list[Message] = []
        self._begun: dict[str, protocol.Begun] = {}
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def greet(self, *messages: Message) -> None:
        """Say this to everybody, now and when they connect."""
        self._standing = list(messages)
        for task in list(self._lines):
            self.tell(task, *messages)

    def tell(self, task: str, *messages: Message) -> None:
        """Say this to one task, about the training that it has begun last. A gate names the folder of the chief's, as
        if it had been locked."""
        messages = tuple(self._about(task, message) for message in messages)
        with contextlib.suppress(OSError):
            self._lines[task].sendall(b"".join(protocol.encode(message) for message in messages))

    def _about(self, task: str, message: Message) -> Message:
        own, chiefs = self._begun.get(task), self._begun.get("chief:0")
        if isinstance(message, protocol.Gate):
            live = own.training if own and message.variables_alive and not message.training else message.training
            return changed(message, model_dir=chiefs.model_dir if chiefs else "", training=live)
        if isinstance(message, (protocol.Barrier, protocol.Drain)) and own and not message.training:
            return changed(message, training=own.training)
        return message

    def of(self, task: str, kind: type[Message], attempt: int | None = None) -> list[Any]:
        return [
            message
            for name, number, message in self.reports
            if name == task and isinstance(message, kind) and attempt in (None, number)
        ]

    def expect(
        self, task: str, kind: type[Message], test: Callable[[Any], bool] = lambda _: True, attempt: int | None = None
    ) -> Any:
        """The first report of that kind that passes ``test``; waits for it."""

        def found() -> Any:
            return next((message for message in self.of(task, kind, attempt) if test(message)), None)

        with self.changed:
            assert self.changed.wait_for(lambda: found() is not None, DEADLINE_S), (task, kind, self.reports[-20:])
            return found()

    def close(self) -> None:
        self._server.close()
        for line in self._lines.values():
            line.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        hello: Any = None
        with contextlib.suppress(OSError), line.makefile("rb") as lines:
            for text in lines:
                message = protocol.decode(text)
                if hello is None:
                    hello = message
                    self._lines[hello.task] = line
                    self.tell(hello.task, *self._standing)
                if isinstance(message, protocol.Begun):
                    self._begun[hello.task] = message
                    self.tell(hello.task, *self._standing)
                with self.changed:
                    self.reports.append((hello.task, hello.attempt, message))
                    self.changed.notify_all()


class Zygote:
    """A process that has imported TensorFlow and forks tasks."""

    def __init__(self) -> None:
        environ = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(HERE.parents[2])}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "zygote.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
        )
        self._changed = threading.Condition()
        self._started: list[int] = []
        self.ended: dict[int, int] = {}
        self.version = ""
        threading.Thread(target=self._read, daemon=True).start()
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.version), IMPORT_DEADLINE_S)

    def fork(self, **order: Any) -> int:
        with self._changed:
            count = len(self._started)
            assert self._process.stdin
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            assert self._changed.wait_for(lambda: len(self._started) > count, DEADLINE_S)
            return self._started[-1]

    def wait(self, pid: int) -> int:
        """The exit code of a task, negative for a signal."""
        with self._changed:
            assert self._changed.wait_for(lambda: pid in self.ended, DEADLINE_S), f"{pid} goes on"
            return self.ended[pid]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            body = json.loads(line)
            with self._changed:
                self.version = body.get("ready", self.version)
                if "started" in body:
                    self._started.append(body["started"])
                if "ended" in body:
                    self.ended[body["ended"]] = body["status"]
                self._changed.notify_all()


class Cluster:
    """The tasks of one job: 1 ps, a chief, workers, an evaluator."""

    def __init__(self, zygote: Zygote, agent: Agent, folder: Path, *, ps: int = 1, workers: int = 1) -> None:
        self.zygote, self.agent, self.folder = zygote, agent, folder
        self.model_dir = folder / "model"
        self.pids: dict[str, int] = {}
        self.options: dict[str, Any] = {"model_dir": str(self.model_dir)}
        self.tune: list[str] | None = None
        self.env: dict[str, str] = {}
        self._held: list[socket.socket] = []
        counts = {"chief": 1, "ps": ps, "worker": workers}
        self.addresses = {role: [self._hold() for _ in range(n)] for role, n in counts.items() if n}

    def start(self, task: str, *, attempt: int = 1, cluster: dict[str, list[str]] | None = None, **env: str) -> int:
        role, _, index = task.partition(":")
        config = {"cluster": cluster or self.addresses, "task": {"type": role, "index": int(index)}}
        environ = {
            "TF_CONFIG": json.dumps(config),
            "TF_GRPC_REUSE_PORT": "1",
            protocol.TASK_SOCKET_VARIABLE: str(self.agent.path),
            protocol.TASK_VARIABLE: task,
            protocol.ATTEMPT_VARIABLE: str(attempt),
            **self.env,
            **env,
        }
        log = self.folder / f"{role}-{index}.log"
        argv = [str(HERE / "job.py"), json.dumps(self.options)]
        self.pids[task] = self.zygote.fork(argv=argv, env=environ, log=str(log), tune=self.tune)
        return self.pids[task]

    def log(self, task: str) -> str:
        return (self.folder / f"{task.replace(':', '-')}.log").read_text(errors="replace")

    def run_program(self, name: str, *arguments: str) -> Any:
        """What a program of this folder prints, as JSON."""
        log = self.folder / f"{name}.log"
        log.unlink(missing_ok=True)
        pid = self.zygote.fork(argv=[str(HERE / name), *arguments], env={}, log=str(log), tune=None)
        assert self.zygote.wait(pid) == 0, log.read_text()
        return json.loads(log.read_text().splitlines()[-1])

    def expect_log(self, task: str, text: str) -> None:
        """Wait for a text in a task's output."""
        ends_at = monotonic() + DEADLINE_S
        while text not in self.log(task):
            assert monotonic() < ends_at, f"{task} did not write {text!r}"
            sleep(0.05)

    def wait(self, task: str) -> int:
        return self.zygote.wait(self.pids[task])

    def kill(self, task: str, number: int = signal.SIGKILL) -> None:
        os.kill(self.pids[task], number)

    def close(self) -> None:
        for pid in self.pids.values():
            if pid not in self.zygote.ended:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for held in self._held:
            held.close()

    def _hold(self) -> str:
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        self._held.append(held)
        return f"127.0.0.1:{held.getsockname()[1]}"


@contextlib.contextmanager
def cluster_of(zygote: Zygote, folder: Path, *, ps: int = 1, workers: int = 1) -> Iterator[Cluster]:
    """A cluster whose processes and ports are gone afterwards."""
    agent = Agent(folder / "s")
    cluster = Cluster(zygote, agent, folder, ps=ps, workers=workers)
    try:
        yield cluster
    finally:
        cluster.close()
        agent.close()
