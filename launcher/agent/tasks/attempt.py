"""One attempt of a task, as the agent sees it, and which processes belong to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path

from launcher.agent.inside import last_words
from launcher.agent.system import memory, processes
from launcher.agent.system.processes import Process
from launcher.agent.tasks.output import OutputFile
from launcher.wire import protocol
from launcher.wire.roles import TaskId


class Stage(Enum):
    """How far an attempt is. Its number is used by nobody else until it is gone."""

    ASKED = "asked"  # a preloaded interpreter is to fork it; there may be no process yet
    RUNNING = "running"
    ENDING = "ending"  # its process has ended, others of its family may still live


class Attempt:
    """What is known of it. ``ended_at``: when its process ended (monotonic seconds); ``family``: start times by pid of
    the processes below its own that were ever seen; ``title``: what a fork is shown as, which its own forks inherit;
    ``oom_kills``: those that were counted while it certainly lived on."""

    def __init__(self, start: protocol.Start, output: OutputFile, oom_kills: int, *, title: str = "") -> None:
        self.start = start
        self.title = title
        self.task = TaskId.parse(start.task)
        self.number = start.attempt
        self.output = output
        self.oom_kills = oom_kills
        self.stage = Stage.ASKED
        self.pid = 0
        self.status = 0
        self.ended_at = 0.0
        self.peak_kib = 0
        self.family: dict[int, int] = {}
        self.stopped = False
        self.killed = False
        self.resisted_s = 0.0
        self.stop_grace_s: float | None = None
        self.cpu_ticks: dict[int, int] = {}

    @property
    def key(self) -> tuple[str, int]:
        return self.task.name, self.number

    def tree(self, seen: Mapping[int, Process]) -> set[int]:
        """Its living processes as far as they descend from it, or did when they were last looked at."""
        roots = {pid for pid, ticks in self.family.items() if pid in seen and seen[pid].started_ticks == ticks}
        if self.stage is Stage.RUNNING:
            roots.add(self.pid)
        return {pid for pid in roots | processes.descendants(roots, seen) if pid in seen and seen[pid].alive}

    def members(self, seen: Mapping[int, Process]) -> set[int]:
        """Its tree, and who is in its process's session or group, which outlive a parent between."""
        mates = {pid for pid, one in seen.items() if self.pid and self.pid in (one.group, one.session)}
        return self.tree(seen) | mates

    def remember(self, seen: Mapping[int, Process]) -> set[int]:
        """Notes who is below it now, for the time when its orphans have another parent; returns its tree."""
        tree = self.tree(seen)
        self.family = {pid: seen[pid].started_ticks for pid in tree if pid != self.pid}
        return tree

    def left_behind(self, seen: Mapping[int, Process], below_agent: set[int], strays: Iterable[int]) -> set[int]:
        """What still lives of it after its own process has ended: its group, its session, everybody that was seen below
        it, and those among ``strays`` that bear its name."""
        mates = {pid for pid in below_agent if self.pid and self.pid in (seen[pid].group, seen[pid].session)}
        marked = {pid for pid in strays if self._is_marked(pid)}
        roots = mates | marked | self.tree(seen)
        return {pid for pid in roots | processes.descendants(roots, seen) if pid in seen and seen[pid].alive}

    def _is_marked(self, pid: int) -> bool:
        """By its environment; that of a fork is the preloaded interpreter's, but its title is the task's."""
        if self.title and processes.command(pid) == self.title:
            return True
        mark = processes.environment(pid)
        return (
            mark.get(protocol.TASK_VARIABLE.encode()) == self.task.name.encode()
            and mark.get(protocol.ATTEMPT_VARIABLE.encode()) == b"%d" % self.number
        )

    def exited(self, now: float, home: Path, *, oom_kills: int, unkilled: str = "") -> protocol.Exited:
        """The event of its end. Out of memory: a KILL that is not ours while the kernel has killed for memory."""
        code = os.waitstatus_to_exitcode(self.status)
        failed = code != 0 and not self.stopped
        tail, excerpt = self.output.tail(), self.output.excerpt() if failed else ""
        crash = last_words.take_crash(home, self.task, self.number) if code < 0 else ""
        if crash:
            self.output.append(crash)
        return protocol.Exited(
            task=self.task.name,
            attempt=self.number,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            stopped=self.stopped,
            out_of_memory=code == -9 and not self.killed and oom_kills > self.oom_kills,
            output_bytes=self.output.size,
            tail=tail,
            since_s=round(now - self.ended_at, 3),
            excerpt=excerpt,
            raised=last_words.take_raised(home, self.task, self.number) if code != 0 else "",
            crash=crash,
            facts=self._facts(),
            unkilled=unkilled,
            resisted_s=self.resisted_s,
        )

    def _facts(self) -> dict[str, protocol.JsonValue]:
        """What it used at most, and what it was allowed."""
        facts = {
            "peak_mib": self.peak_kib // 1024,
            "address_space_mib": memory.address_space_mib(),
            "memory_limit_mib": memory.limit_mib(),
        }
        return {name: value for name, value in facts.items() if value}
