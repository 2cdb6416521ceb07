"""Fault drills: what a user may order to go wrong (``--inject``), read into values.

    kill TASK at step N          kill TASK after 5s
    pause TASK for 20s at step N pause TASK for 20s after 5s
    exit TASK with 3 at step N   exit TASK with 3 after 5s

TASK is a task such as ``worker:1``. A step is the global step, at or soon after which it happens: trainers report it as
they come to it, and go on meanwhile. Seconds count from when the task was first ready. Each drill is carried out once,
as soon as its task runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from launcher.wire.roles import TaskId

_SECONDS = r"(\d{1,9}(?:\.\d{1,6})?)\s*s"
_ORDER = re.compile(
    rf"(?P<verb>kill|pause|exit)\s+(?P<task>\S+)"
    rf"(?:\s+for\s+(?P<for>{_SECONDS}))?(?:\s+with\s+(?P<code>\d{{1,3}}))?"
    rf"\s+(?:at\s+step\s+(?P<step>\d{{1,12}})|after\s+(?P<after>{_SECONDS}))",
    re.ASCII,
)
HELP = "write 'kill worker:1 at step 200', 'pause ps:0 for 20s after 5s' or 'exit chief:0 with 3 at step 100'"


@dataclass(frozen=True, slots=True)
class AtStep:
    """As soon as the global step has reached ``step``."""

    step: int

    def __str__(self) -> str:
        return f"at step {self.step}"


@dataclass(frozen=True, slots=True)
class AfterSeconds:
    """So long after the task was first ready."""

    seconds: float

    def __str__(self) -> str:
        return f"after {_digits(self.seconds)}s"


Moment = AtStep | AfterSeconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """SIGKILL to the task's process group."""

    task: TaskId
    when: Moment

    def __str__(self) -> str:
        return f"kill {self.task} {self.when}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """SIGSTOP to the task's process group, SIGCONT after ``for_s``."""

    task: TaskId
    when: Moment
    for_s: float

    def __str__(self) -> str:
        return f"pause {self.task} for {_digits(self.for_s)}s {self.when}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exit:
    """The task ends itself with this exit code (needs the in-task library)."""

    task: TaskId
    when: Moment
    code: int

    def __str__(self) -> str:
        return f"exit {self.task} with {self.code} {self.when}"


Drill = Kill | Pause | Exit


def parse(text: str) -> Drill:
    """The drill that ``text`` orders; raises ValueError that says how to write one."""
    match = _ORDER.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a fault drill: {text[:80]!r}; {HELP}")
    task = TaskId.parse(match["task"])
    when: Moment = AtStep(int(match["step"])) if match["step"] else AfterSeconds(_seconds(match["after"]))
    verb, for_s, code = match["verb"], match["for"], match["code"]
    if verb == "kill" and not for_s and not code:
        return Kill(task=task, when=when)
    if verb == "pause" and for_s and not code:
        return Pause(task=task, when=when, for_s=_seconds(for_s))
    if verb == "exit" and code and not for_s and int(code) <= 255:
        return Exit(task=task, when=when, code=int(code))
    raise ValueError(f"{_MISFIT[verb]}; {HELP}")


_MISFIT = {
    "kill": "'kill' takes neither 'for' nor 'with'",
    "pause": "'pause' needs 'for' and its seconds, and no 'with'",
    "exit": "'exit' needs 'with' and an exit code from 0 to 255, and no 'for'",
}


def _seconds(text: str) -> float:
    return float(text.rstrip("s").strip())


def _digits(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def steps_of(inject: Iterable[str]) -> tuple[int, ...]:
    """The global steps at which something is to happen, in order: trainers report those at once."""
    moments = {parse(text).when for text in inject}
    return tuple(sorted(moment.step for moment in moments if isinstance(moment, AtStep)))


def notes(inject: Iterable[str], *, reports: bool) -> tuple[str, ...]:
    """What to say of drills that cannot be carried out, since tasks do not report to the launcher."""
    return () if reports else tuple(filter(None, (_unheard(parse(text)) for text in inject)))


def _unheard(drill: Drill) -> str:
    without = "without the adjustment heartbeat, which needs a Python command,"
    if isinstance(drill.when, AtStep):
        return f"the drill '{drill}' is never carried out: {without} nobody says at which step the training is"
    if isinstance(drill, Exit):
        return f"the drill '{drill}' is never carried out: {without} a task cannot be told to exit; use kill"
    return ""


def checked(text: str) -> str:
    """The text of a drill; raises what ``parse`` does."""
    parse(text)
    return text
