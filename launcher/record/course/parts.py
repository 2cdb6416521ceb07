"""The parts of a run: how it went each time that it was started. One that is resumed goes on in the same folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from launcher.record.events import RunEnded, RunStarted
from launcher.record.states import Outcome
from launcher.record.task_view import TaskView
from launcher.wire.protocol import JsonValue
from launcher.wire.roles import TaskId


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part that is over; ``lost`` if it never said how it ended. Times in seconds since the epoch."""

    number: int
    started_at: float
    ended_at: float
    duration_s: float
    outcome: str
    exit_code: int | None = None
    global_step: int | None = None
    version: str = ""
    cause: Mapping[str, JsonValue] | None = None


def part_of(started: RunStarted, started_at: float, last_at: float, ended: RunEnded | None, step: int | None) -> Part:
    """The part that began with ``started`` and was last heard of at ``last_at``."""
    lasted_s = ended.duration_s if ended is not None else max(0.0, last_at - started_at)
    return Part(
        number=started.part,
        started_at=started_at,
        ended_at=last_at if last_at >= started_at else started_at + lasted_s,
        duration_s=lasted_s,
        outcome=ended.outcome if ended is not None else Outcome.LOST.value,
        exit_code=ended.exit_code if ended is not None else None,
        global_step=step,
        version=started.version,
        cause=ended.cause if ended is not None else None,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Former:
    """From where the next part of a run counts on: the number of the last part, of its last generation, and of the
    last attempt of each task. Of a run that has not begun: zeros."""

    part: int = 0
    generation: int = 0
    attempts: Mapping[TaskId, int] = field(default_factory=dict)


NOTHING_BEFORE = Former()


def former_of(started: RunStarted | None, generation: int, tasks: Iterable[TaskView]) -> Former:
    """``started``: the beginning of the last part, None if there was none."""
    if started is None:
        return NOTHING_BEFORE
    attempts = {task.task: max((each.number for each in task.attempts), default=0) for task in tasks}
    return Former(part=started.part, generation=generation, attempts=attempts)
