"""Starts attempts, stops them, and says that one has ended only when nothing of it is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from launcher.agent.inside import last_words
from launcher.agent.inside.below import path
from launcher.agent.system import memory, processes
from launcher.agent.system.loop import Loop
from launcher.agent.tasks import environment
from launcher.agent.tasks.attempt import Attempt, Stage
from launcher.agent.tasks.board import Board
from launcher.agent.tasks.interpreters import Preloads
from launcher.agent.tasks.output import Outputs
from launcher.agent.tasks.spawn import SpawnError, spawn
from launcher.wire import protocol
from launcher.wire.private.folder import Folder
from launcher.wire.roles import Role, TaskId
from launcher.wire.words import limits

Say = Callable[[protocol.Message], None]

_PROGRAM_FILE = Path(__file__).parents[1] / "inside" / "program.py"
_LOOK_AGAIN_S = 0.02
_KILL_PATIENCE_S = 5.0  # a process in an uninterruptible wait hears no signal


class TaskRunner:
    """The attempts that are alive on this host; at most one of each task."""

    def __init__(
        self, loop: Loop, say: Say, outputs: Outputs, *, base: Mapping[str, str], home: Folder, open_files: int
    ) -> None:
        self._loop = loop
        self._say = say
        self._outputs = outputs
        self._base = base
        self._home = home
        self._here = Path(home.here)
        self._open_files = open_files
        self._alive: dict[str, Attempt] = {}
        self._early_ends: dict[int, int] = {}
        self.unkilled: set[int] = set()
        self._cleaning = False
        self.preloads = Preloads(loop, say, base=base, home=self._here, open_files=open_files)
        self.preloads.on_started = self._forked
        self.preloads.on_failed = self._not_forked
        self.preloads.on_unavailable = self._start_by_exec
        self.board = Board(loop, say, base=base, home=home, open_files=open_files)
        self.on_gone: Callable[[str], None] = lambda task: None

    def find(self, task: str, number: int) -> Attempt | None:
        """The attempt, while it is alive."""
        attempt = self._alive.get(task)
        return attempt if attempt is not None and attempt.number == number else None

    def is_of(self, task: str, number: int, pid: int) -> bool:
        """Whether that process is of that attempt, which is alive."""
        self.preloads.hear()  # it may have been forked just now
        attempt = self.find(task, number)
        return attempt is not None and pid in attempt.members(processes.snapshot())

    def alive(self, *roles: Role) -> list[Attempt]:
        """Those of these roles that have not ended; of every role when none is named."""
        return [attempt for attempt in self._alive.values() if not roles or attempt.task.role in roles]

    # --- starting

    def start(self, command: protocol.Start) -> None:
        """Starts an attempt; what prevents it is said as ``Refused``."""
        here = partial(environment.at_home, base=self._base)
        command = protocol.changed(
            command, cwd=here(command.cwd), argv=(*map(here, command.argv[:1]), *command.argv[1:])
        )
        try:
            task = TaskId.parse(command.task)
            if (former := self._alive.get(task.name)) is not None:
                raise SpawnError(f"attempt {former.number} of {task.name} has not ended; stop it first")
            if not command.argv:
                raise SpawnError("there is no command to run")
            output = self._outputs.create(task, command.attempt)
            attempt = Attempt(command, output, memory.oom_kills(), title=self._title(command))
        except (SpawnError, ValueError, OSError) as error:
            self._refuse(command, limits.told(error))
            return
        self._alive[task.name] = attempt
        if command.preload is None or not self.preloads.submit(
            command, self._request(command), attempt.output.pipe.writer
        ):
            self._exec(attempt)

    def _request(self, command: protocol.Start) -> dict[str, object]:
        env = environment.of_task(self._base, command, self._home)
        head = len(command.argv) - len(command.program)
        return {
            "kind": "start",
            "task": command.task,
            "attempt": command.attempt,
            "program": command.program,
            "cwd": command.cwd,
            "env": env,
            "python": command.argv[:head],
            "argv": command.argv,
            "title": self._title(command),
            "agent_pid": os.getpid(),
        }

    def _title(self, command: protocol.Start) -> str:
        return f"tflaunch {environment.run_of(self._base, command)} {command.task}"

    def _exec(self, attempt: Attempt) -> None:
        command = attempt.start
        argv = command.argv
        if command.program:
            argv = (*argv[: len(argv) - len(command.program)], str(_PROGRAM_FILE), *command.program)
        try:
            writer = attempt.output.pipe.writer()
            try:
                env = environment.of_task(self._base, command, self._home)
                if not command.program:
                    path.lead(env)
                pid = spawn(argv, cwd=command.cwd, env=env, output_fd=writer, open_files=self._open_files)
            finally:
                os.close(writer)
        except (SpawnError, OSError) as error:
            self._drop(attempt)
            self._refuse(command, limits.told(error))
            return
        self._run(attempt, pid, "exec")

    def _run(self, attempt: Attempt, pid: int, start: str) -> None:
        attempt.pid = pid
        attempt.stage = Stage.RUNNING
        command = attempt.start
        self._say(
            protocol.Started(
                generation=command.generation, task=command.task, attempt=command.attempt, pid=pid, start=start
            )
        )
        if attempt.stop_grace_s is not None:
            self._terminate(attempt, attempt.stop_grace_s)

    def _forked(self, task: str, number: int, pid: int) -> None:
        attempt = self.find(task, number)
        if attempt is None or attempt.stage is not Stage.ASKED:
            processes.kill([pid])
            return
        self._run(attempt, pid, "fork")
        status = self._early_ends.pop(pid, None)
        if status is not None:
            self._ended(attempt, status)

    def _not_forked(self, task: str, number: int, message: str) -> None:
        if (attempt := self.find(task, number)) is not None and attempt.stage is Stage.ASKED:
            self._drop(attempt)
            self._refuse(attempt.start, message)

    def _start_by_exec(self, task: str, number: int) -> None:
        if (attempt := self.find(task, number)) is not None and attempt.stage is Stage.ASKED:
            self._exec(attempt)

    def _refuse(self, command: protocol.Start, message: str) -> None:
        self._say(protocol.Refused(command="start", message=message, task=command.task, attempt=command.attempt))

    def _drop(self, attempt: Attempt) -> None:
        del self._alive[attempt.task.name]
        self._outputs.end(attempt.output)
        self.on_gone(attempt.task.name)

    # --- stopping

    def stop(self, task: str, number: int, grace_s: float) -> None:
        """TERM to its group, KILL to all of it after ``grace_s``. Nothing if it is gone."""
        attempt = self.find(task, number)
        if attempt is None or attempt.stage is Stage.ENDING:
            return
        attempt.stopped = True
        if attempt.stage is Stage.RUNNING:
            self._terminate(attempt, grace_s)
        elif self.preloads.cancel(task, number):
            attempt.status = signal.SIGTERM  # as if it had been told to at once
            attempt.ended_at = time.monotonic()
            self._finish(attempt)
        else:
            attempt.stop_grace_s = grace_s

    def _terminate(self, attempt: Attempt, grace_s: float) -> None:
        if grace_s <= 0:
            self._kill(attempt)
            return
        processes.kill_group(attempt.pid, signal.SIGTERM)
        processes.kill_group(attempt.pid, signal.SIGCONT)  # a stopped process would hear it at its KILL only
        self._loop.later(grace_s, lambda: self._kill(attempt, grace_s))

    def _kill(self, attempt: Attempt, resisted_s: float = 0.0) -> None:
        if attempt.stage is not Stage.RUNNING:
            return
        attempt.killed, attempt.resisted_s = True, resisted_s
        tree = attempt.remember(processes.snapshot())
        processes.kill_group(attempt.pid, signal.SIGKILL)
        processes.kill(tree)
        self._loop.later(_KILL_PATIENCE_S, lambda: self._give_up(attempt))

    def _give_up(self, attempt: Attempt) -> None:
        """What the kernel keeps in a wait, for a file server that does not answer, is not waited for."""
        if self._alive.get(attempt.task.name) is not attempt:
            return
        seen = processes.snapshot()
        if attempt.stage is Stage.RUNNING:
            attempt.status, attempt.ended_at = signal.SIGKILL, time.monotonic()
        left = {pid for pid in attempt.members(seen) if seen[pid].alive}
        self.unkilled |= left
        self._finish(attempt, "; ".join(map(processes.waiting, sorted(left)[:3])))

    def signal(self, task: str, number: int, signal_number: int) -> None:
        """Sends a signal to its group. Nothing if it is gone."""
        attempt = self.find(task, number)
        if attempt is not None and attempt.stage is Stage.RUNNING and signal_number in signal.valid_signals():
            attempt.killed = attempt.killed or signal_number == signal.SIGKILL  # not by the kernel, for memory
            processes.kill_group(attempt.pid, signal_number)

    # --- ending

    def reap(self) -> None:
        """Reaps every child that has ended, those of other programs' making included."""
        while (pid := _ended_child()) is not None:
            attempt = next((item for item in self._alive.values() if item.pid == pid), None)
            if attempt is not None:
                # Its pid is nobody else's as long as it is not reaped.
                processes.kill_group(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            if attempt is not None:
                attempt.peak_kib = usage.ru_maxrss
                self._ended(attempt, status)
            elif self.preloads.child_ended(pid, status) or self.board.child_ended(pid, status):
                continue
            elif self.preloads.outstanding:
                self._early_ends[pid] = status
        if not self.preloads.outstanding:
            self._early_ends.clear()

    def _ended(self, attempt: Attempt, status: int) -> None:
        attempt.stage = Stage.ENDING
        attempt.status = status
        attempt.ended_at = time.monotonic()
        self._loop.later(_KILL_PATIENCE_S, lambda: self._give_up(attempt))
        self._clean_soon(0.0)

    def _clean_soon(self, delay_s: float) -> None:
        if not self._cleaning:
            self._cleaning = True
            self._loop.later(delay_s, self._clean)

    def _clean(self) -> None:
        self._cleaning = False
        ending = [attempt for attempt in self._alive.values() if attempt.stage is Stage.ENDING]
        if not ending:
            return
        seen = processes.snapshot()
        below = processes.descendants([os.getpid()], seen)
        strays = self._strays(seen, below)
        for attempt in ending:
            left = attempt.left_behind(seen, below, strays)
            if not left and len(self._alive) == 1:
                left = {pid for pid in strays if seen[pid].alive}  # nobody else can have made them
            if left:
                processes.kill(left)
                self._clean_soon(_LOOK_AGAIN_S)
            else:
                self._finish(attempt)

    def _strays(self, seen: Mapping[int, processes.Process], below: set[int]) -> list[int]:
        """Children of the agent that are no attempt's process: orphans out of some attempt."""
        known = {attempt.pid for attempt in self._alive.values()} | self.preloads.pids | self.board.pids | self.unkilled
        for attempt in self._alive.values():
            known |= attempt.tree(seen)
        return [pid for pid in below if seen[pid].parent == os.getpid() and pid not in known]

    def _finish(self, attempt: Attempt, unkilled: str = "") -> None:
        attempt.output.take()
        exited = attempt.exited(time.monotonic(), self._here, oom_kills=memory.oom_kills(), unkilled=unkilled)
        last_words.forget(self._here, attempt.task, attempt.number)
        self._drop(attempt)
        self._say(exited)


def _ended_child() -> int | None:
    """A child that has ended and is not reaped yet."""
    try:
        facts = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return facts.si_pid if facts is not None else None
