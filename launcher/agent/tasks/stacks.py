"""What a process is doing: its state as the kernel has it, and the Python stacks of all its threads.

Only a process that has asked for it (``last_words.watch``) gets the signal for the stacks: it would end any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from launcher.agent.inside import last_words
from launcher.agent.system import blocked, processes
from launcher.agent.system.loop import Loop
from launcher.agent.tasks.attempt import Attempt, Stage
from launcher.agent.tasks.task_runner import TaskRunner
from launcher.wire import protocol

_LOOK_EVERY_S = 0.05
_LOOKS = 40
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in .+$')


class StackTaker:
    """Takes the stacks of attempts when it is told to."""

    def __init__(self, loop: Loop, say: Callable[[protocol.Message], None], attempts: TaskRunner, home: Path) -> None:
        self._loop = loop
        self._say = say
        self._attempts = attempts
        self._home = home

    def take(self, command: protocol.TakeStacks) -> None:
        """Answers with ``Stacks``, at once or when the process has written them."""
        attempt = self._attempts.find(command.task, command.attempt)
        if attempt is None or attempt.stage is not Stage.RUNNING:
            self._say(protocol.Stacks(task=command.task, attempt=command.attempt))
            return
        process = processes.read(attempt.pid)
        files = blocked.files(attempt.pid)
        if process is None or process.state in "TtZX" or not _listens(attempt.pid):
            self._answer(attempt, "", files)
            return
        last_words.take_stacks(self._home, attempt.task, attempt.number)
        processes.kill([attempt.pid], protocol.STACKS_SIGNAL)
        self._loop.later(_LOOK_EVERY_S, lambda: self._look(attempt, "", files, _LOOKS))

    def _look(self, attempt: Attempt, seen: str, files: frozenset[str], looks: int) -> None:
        text = seen + last_words.take_stacks(self._home, attempt.task, attempt.number)
        if looks and (not text or text != seen):
            self._loop.later(_LOOK_EVERY_S, lambda: self._look(attempt, text, files, looks - 1))
        else:
            self._answer(attempt, text, files)

    def _answer(self, attempt: Attempt, text: str, files: frozenset[str]) -> None:
        """``files``: seen a moment ago; what is only read quickly is not among them now."""
        process = processes.read(attempt.pid)
        lines = [line for line in attempt.output.tail().splitlines() if line.strip()]
        self._say(
            protocol.Stacks(
                task=attempt.task.name,
                attempt=attempt.number,
                pid=attempt.pid,
                state=process.state if process is not None else "",
                text=_with_source(text),
                files=tuple(sorted(files & blocked.files(attempt.pid))),
                last_lines=tuple(lines[-5:]),
                raised=last_words.take_raised(self._home, attempt.task, attempt.number),
            )
        )


def _listens(pid: int) -> bool:
    """Whether the process catches the signal (SigCgt, see proc(5))."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (protocol.STACKS_SIGNAL - 1) & 1)


def _with_source(text: str) -> str:
    """The stacks with the line of code below each frame, as far as its file is here."""
    import linecache  # seldom needed, and slow to import

    lines: list[str] = []
    for line in text.splitlines():
        lines.append(line)
        if match := _FRAME.match(line):
            source = linecache.getline(match[1], int(match[2])).strip()
            lines += [f"    {source}"] * bool(source)
    linecache.clearcache()
    return "\n".join(lines)
