"""The preloaded interpreters of this host: starts them, starts them again, and passes on what they are to fork.

Each is asked over a SOCK_SEQPACKET socket of its own, one JSON object a datagram. A task that one forks is no child of
it: it has forked twice, and the agent, as subreaper, is the task's parent.
"""

from __future__ import annotations

import json
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from launcher.agent.system import processes
from launcher.agent.system.loop import Loop
from launcher.agent.tasks import environment
from launcher.agent.tasks.spawn import SpawnError, spawn
from launcher.agent.tasks.standing import SEND_BYTES, Made
from launcher.wire import protocol
from launcher.wire.protocol import PreloadStage
from launcher.wire.words import limits

FD_VARIABLE = "TFLAUNCH_PRELOAD_FD"
_PRELOAD_FILE = Path(__file__).parents[1] / "inside" / "preload.py"
_MAX_TRIES = 5
_INLINE_BYTES = 100_000
_RECEIVE_BYTES = 65536
_TAIL_BYTES = 4096

Writer = Callable[[], int]


class Request:
    """One task to be forked. ``writer`` opens the file that its output goes to."""

    def __init__(self, task: str, attempt: int, body: Mapping[str, object], writer: Writer) -> None:
        self.task = task
        self.attempt = attempt
        self.body = body
        self.writer = writer


class Interpreter:
    """One preloaded interpreter: its process while there is one, and what it is to fork."""

    def __init__(self, command: protocol.Preload) -> None:
        self.command = command
        self.tries = 0
        self.pid = 0
        self.link: socket.socket | None = None
        self.ready = False
        self.lost = False  # it cannot be had; tasks are started by exec
        self.waiting: deque[Request] = deque()
        self.asked: deque[Request] = deque()


class Preloads:
    """All of them, by key. ``on_started(task, attempt, pid)``, ``on_failed(task, attempt, message)`` and
    ``on_unavailable(task, attempt)`` answer what was submitted, one of them once."""

    def __init__(
        self,
        loop: Loop,
        say: Callable[[protocol.Message], None],
        *,
        base: Mapping[str, str],
        home: Path,
        open_files: int,
    ) -> None:
        self._loop = loop
        self._say = say
        self._base = base
        self._home = home
        self._open_files = open_files
        self._all: dict[str, Interpreter] = {}
        self.made: Made | None = None  # one that is there already
        self.on_started: Callable[[str, int, int], None] = lambda *_: None
        self.on_failed: Callable[[str, int, str], None] = lambda *_: None
        self.on_unavailable: Callable[[str, int], None] = lambda *_: None

    @property
    def pids(self) -> set[int]:
        """Their own processes."""
        return {one.pid for one in self._all.values() if one.pid}

    @property
    def outstanding(self) -> bool:
        """Whether a fork has been asked for and not answered yet."""
        return any(one.asked for one in self._all.values())

    def prepare(self, command: protocol.Preload) -> None:
        """Starts an interpreter; one that was asked for already stays as it is."""
        if command.key not in self._all:
            one = self._all[command.key] = Interpreter(command)
            self._launch(one)

    def submit(self, command: protocol.Start, body: Mapping[str, object], writer: Writer) -> bool:
        """Has a task forked, now or when the interpreter is ready; False if it cannot be had."""
        one = self._all.get(command.preload or "")
        if one is None or one.lost:
            return False
        one.waiting.append(Request(command.task, command.attempt, body, writer))
        self._pump(one)
        return True

    def cancel(self, task: str, attempt: int) -> bool:
        """Takes back what has not been asked for yet; False if it is too late."""
        for one in self._all.values():
            for request in one.waiting:
                if (request.task, request.attempt) == (task, attempt):
                    one.waiting.remove(request)
                    return True
        return False

    # --- the process

    def _log(self, one: Interpreter) -> Path:
        safe = "".join(letter if letter.isalnum() else "_" for letter in one.command.key)[:80]
        return self._home / f"preload-{safe}.log"

    def _launch(self, one: Interpreter) -> None:
        one.tries += 1
        if self.made is not None and self.made.key == one.command.key:
            (_, one.pid, one.link), self.made = self.made, None
            self._watch(one)
            return
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
                one.pid = self._spawn(one, theirs.fileno())
        except (SpawnError, OSError) as error:
            self._give_up(one, f"cannot be started: {limits.told(error)}")
            return
        ours.setblocking(False)
        ours.send(json.dumps({"modules": one.command.modules, "home": str(self._home)}).encode())
        one.link, one.ready = ours, False
        self._watch(one)

    def _spawn(self, one: Interpreter, fd: int) -> int:
        changes = {**one.command.env, FD_VARIABLE: str(fd)}
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        log = os.open(self._log(one), flags, 0o600)
        try:
            return spawn(
                [environment.at_home(one.command.python[0], self._base), *one.command.python[1:], str(_PRELOAD_FILE)],
                cwd="/",
                env=environment.changed(self._base, changes),
                output_fd=log,
                open_files=self._open_files,
                keep_fd=fd,
            )
        finally:
            os.close(log)

    def child_ended(self, pid: int, status: int) -> bool:
        """Whether that was one of these; then it is started again, unless there is no hope."""
        one = next((item for item in self._all.values() if item.pid == pid), None)
        if one is None:
            return False
        self._hear_the_rest(one)
        was_ready, one.pid = one.ready, 0
        self._hang_up(one)
        code = os.waitstatus_to_exitcode(status)
        message = f"{'exit code' if code >= 0 else 'signal'} {abs(code)}: {self._tail(one)}"
        if one.tries >= _MAX_TRIES or (not was_ready and code >= 0):
            self._give_up(one, f"{message}; tasks are started by exec")
        else:
            self._say(protocol.PreloadState(key=one.command.key, state=PreloadStage.DIED, pid=pid, message=message))
            self._ask_again(one)
            self._launch(one)
        return True

    def _tail(self, one: Interpreter) -> str:
        try:
            text = self._log(one).read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-10:])

    def _hear_the_rest(self, one: Interpreter) -> None:
        """Its last answers, and those of its forks, of whom some may be on their way to their programs. From here on
        none of them can answer any more, and one that cannot does not run."""
        if one.link is not None:
            one.link.shutdown(socket.SHUT_RD)
            self._read(one)

    def _ask_again(self, one: Interpreter) -> None:
        """What it was asked for and has not answered does not run: a task begins after its answer was sent."""
        one.waiting.extendleft(reversed(one.asked))
        one.asked.clear()

    def _give_up(self, one: Interpreter, message: str) -> None:
        one.lost = True
        self._say(protocol.PreloadState(key=one.command.key, state=PreloadStage.DIED, message=message))
        self._ask_again(one)
        while one.waiting:
            request = one.waiting.popleft()
            self.on_unavailable(request.task, request.attempt)

    # --- the conversation

    def _hang_up(self, one: Interpreter) -> None:
        if one.link is not None:
            self._loop.forget(one.link.fileno())
            one.link.close()
            one.link, one.ready = None, False

    def _watch(self, one: Interpreter) -> None:
        if one.link is not None:
            blocked = one.ready and one.waiting
            write = (lambda: self._pump(one)) if blocked else None
            self._loop.watch(one.link.fileno(), read=lambda: self._read(one), write=write)

    def hear(self) -> None:
        """Whatever has been answered by now."""
        for one in self._all.values():
            self._read(one)

    def _read(self, one: Interpreter) -> None:
        while one.link is not None:
            try:
                data = one.link.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # said once, of requests that it left unread; answers of its forks may lie behind it
            except OSError:
                data = b""
            if not data:
                # The process itself is waited for; killed, in case it only closed its end.
                self._loop.forget(one.link.fileno())
                processes.kill([one.pid] if one.pid else [])
                return
            self._hear(one, json.loads(data))

    def _hear(self, one: Interpreter, answer: Mapping[str, object]) -> None:
        if answer["kind"] == "ready":
            one.ready = True
            state = protocol.PreloadState(
                key=one.command.key,
                state=PreloadStage.READY,
                pid=one.pid,
                seconds=float(str(answer.get("seconds", 0))),
            )
            self._say(state)
            self._pump(one)
            return
        key = (answer.get("task"), answer.get("attempt"))
        request = next((item for item in one.asked if (item.task, item.attempt) == key), None)
        if request is None:
            return
        one.asked.remove(request)
        if answer["kind"] == "started":
            self.on_started(request.task, request.attempt, int(str(answer["pid"])))
        else:
            self.on_failed(request.task, request.attempt, str(answer.get("message", "")))

    def _pump(self, one: Interpreter) -> None:
        while one.ready and one.link is not None and one.waiting:
            request = one.waiting[0]
            try:
                _send(one.link, request)
            except BlockingIOError:
                break
            except ConnectionError:  # it has died: what was not asked for waits for the next one
                break
            except OSError as error:
                one.waiting.popleft()
                self.on_failed(
                    request.task, request.attempt, f"cannot ask the preloaded interpreter: {limits.told(error)}"
                )
                continue
            one.asked.append(one.waiting.popleft())
        self._watch(one)


def _send(link: socket.socket, request: Request) -> None:
    """Sends the request with the output's descriptor; a long one in a second descriptor, a file in memory."""
    body = json.dumps(request.body).encode()
    fds = [request.writer()]
    try:
        if len(body) > _INLINE_BYTES:
            fds.append(os.memfd_create("tflaunch-request", os.MFD_CLOEXEC))
            os.write(fds[1], body)
            os.lseek(fds[1], 0, os.SEEK_SET)
            body = b'{"kind":"start_file"}'
        socket.send_fds(link, [body], fds)
    finally:
        for fd in fds:
            os.close(fd)
