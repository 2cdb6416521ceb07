"""A supervisor for tests: real keeper, agent and tasks; blocking, with a deadline on every wait."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from launcher.agent.host import relay, sweep
from launcher.agent.host.options import Options
from launcher.wire import protocol
from launcher.wire.private import registry

REPOSITORY = Path(__file__).parents[3]
FAKE_TASK = str(REPOSITORY / "tests" / "fake_task.py")
DEADLINE_S = 30.0

M = TypeVar("M", bound=protocol.Message)


def until(condition: Callable[[], object], what: str) -> None:
    """Waits for a condition; fails with ``what`` at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.005)


def connect(options: Options, env: Mapping[str, str] | None = None) -> socket.socket | None:
    """As a relay does it, but for the keeper being forked from a program as small as a relay is, not from the tests."""
    if not any(True for _ in registry.every(options.name)):
        code = "import sys; sys.path.insert(0, sys.argv[2]); from launcher.agent.host import options, relay;"
        code += "sys.exit(relay.start_keeper(options.Options.from_json(sys.argv[1])))"
        argv = [sys.executable, "-I", "-S", "-c", code, options.to_json(), str(REPOSITORY)]
        subprocess.run(argv, stdin=subprocess.DEVNULL, env=env, check=False)
    return connect_to(options)


def connect_to(options: Options) -> socket.socket | None:
    """A connection to an agent that is there, or comes up."""
    found = relay.connect(options)
    return found[0] if found else None


class Host:
    """One keeper with its agent; what was heard is kept in ``events``."""

    def __init__(self, run: str, *, lease_s: float = 30.0, grace_s: float = 0.2, silence_s: float = 0.0) -> None:
        self.options = Options(run=run, name=f"{run}@here", lease_s=lease_s, grace_s=grace_s, silence_s=silence_s)
        self.events: list[protocol.Event] = []
        self.output: dict[str, bytearray] = {}
        self.welcome: protocol.Welcome | None = None
        self.link: socket.socket | None = None
        self._buffer = bytearray()

    # --- the line

    def connect(self, *, acked: int | None = None, env: Mapping[str, str] | None = None) -> Host:
        """Starts what is not there, with that environment, says Hello and waits for the Welcome."""
        self.disconnect()
        self.link = connect(self.options, env)
        assert self.link is not None
        newest = self.events[-1].seq if self.events else 0
        self.welcome = None
        hello = protocol.Hello(
            run=self.options.run,
            acked=newest if acked is None else acked,
            output={key: len(data) for key, data in self.output.items()},
        )
        self.send(hello)
        self._until(lambda: self.welcome is not None, "Welcome")
        return self

    def disconnect(self) -> None:
        if self.link is not None:
            self.link.close()
            self.link = None
        self._buffer.clear()

    def send(self, *messages: protocol.Message) -> None:
        assert self.link is not None
        self.link.sendall(b"".join(protocol.encode(message) for message in messages))

    def wait(self, kind: type[M], match: Callable[[M], bool] = lambda message: True) -> M:
        """The first event of that kind that matches, among those that were heard and those to come."""
        self._until(lambda: next(self._of(kind, match), None) is not None, kind.__name__)
        return next(self._of(kind, match))

    def bodies(self, kind: type[M]) -> list[M]:
        return list(self._of(kind, lambda message: True))

    def wait_output(self, key: str, size: int) -> bytes:
        self._until(lambda: len(self.output.get(key, b"")) >= size, f"{size} bytes of {key}")
        return bytes(self.output[key])

    def wait_closed(self) -> None:
        """Waits until the agent has closed the line."""
        self._until(lambda: self.link is None, "the end of the line")

    def _of(self, kind: type[M], match: Callable[[M], bool]) -> Iterator[M]:
        return (event.body for event in self.events if isinstance(event.body, kind) and match(event.body))

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or (self.link is None and not condition()):
                raise AssertionError(f"waited in vain for {what}; last: {[event.body for event in self.events[-3:]]}")
            self.pump(left)

    def pump(self, limit_s: float = 0.0) -> None:
        """Takes in what has arrived, waiting up to ``limit_s`` for something."""
        assert self.link is not None
        if not select.select([self.link], [], [], limit_s)[0]:
            return
        try:
            data = self.link.recv(1 << 20)
        except ConnectionError:
            data = b""
        if not data:
            self.link = None
            return
        self._buffer += data
        while self._take_one():
            pass

    def _take_one(self) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            return False
        message = protocol.decode(bytes(self._buffer[:end]))
        size = message.size if isinstance(message, protocol.Output) else 0
        if len(self._buffer) < end + 1 + size:
            return False
        data = bytes(self._buffer[end + 1 : end + 1 + size])
        del self._buffer[: end + 1 + size]
        if isinstance(message, protocol.Output):
            self._output(message, data)
        elif isinstance(message, protocol.Event):
            self.events.append(message)
        elif isinstance(message, protocol.Welcome):
            self.welcome = message
        return True

    def _output(self, message: protocol.Output, data: bytes) -> None:
        known = self.output.setdefault(f"{message.task.replace(':', '-')}.{message.attempt}", bytearray())
        assert message.offset == len(known), "output repeats or leaves out bytes"
        known += data

    # --- shorthand

    def start(self, task: str, *words: str, attempt: int = 1, **fields: object) -> None:
        argv = (sys.executable, "-I", "-S", FAKE_TASK, *words)
        values: dict[str, object] = {"generation": 1, "argv": argv, "cwd": "/", **fields}
        self.send(protocol.Start(task=task, attempt=attempt, **values))  # type: ignore[arg-type]

    def run(self, task: str, *words: str, **fields: object) -> protocol.Exited:
        """Starts a task and waits for its end."""
        self.start(task, *words, **fields)
        return self.wait(protocol.Exited, lambda body: body.task == task)

    def started(self, task: str) -> protocol.Started:
        return self.wait(protocol.Started, lambda body: body.task == task)

    def reserve(self, *tasks: str, **fields: object) -> dict[str, int]:
        self.send(protocol.Reserve(generation=1, tasks=tasks, **fields))  # type: ignore[arg-type]
        return dict(self.wait(protocol.Reserved).ports)

    @property
    def members(self) -> list[int]:
        """The living processes of the run."""
        return sweep.members(self.options.run)

    @property
    def home(self) -> Path:
        """Its private folder."""
        (path,) = [home.path for home in registry.every(self.options.name)]
        return Path(path)

    @property
    def is_gone(self) -> bool:
        """Whether nothing is left of its folder."""
        return not any(True for _ in registry.every(self.options.name))

    @property
    def keeper(self) -> int:
        assert self.welcome is not None
        stat = Path(f"/proc/{self.welcome.pid}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[1])

    @property
    def own(self) -> set[int]:
        """Guard, keeper and agent."""
        assert self.welcome is not None
        stat = Path(f"/proc/{self.keeper}/stat").read_text()
        return {int(stat.rpartition(")")[2].split()[1]), self.keeper, self.welcome.pid}

    def close(self) -> None:
        self.disconnect()
        assert sweep.sweep(self.options.run, self.options.name)


def tf_config(role: str, index: int, port: int) -> str:
    addresses = ["unused:1"] * index + [f"127.0.0.1:{port}"]
    return json.dumps({"cluster": {role: addresses}, "task": {"type": role, "index": index}})


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, 9)
