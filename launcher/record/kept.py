"""What the view of a run keeps besides its tasks: hosts, and events with their times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from launcher.record import events as ev
from launcher.wire.protocol import JsonValue, PreloadStage
from launcher.wire.roles import TaskId


@dataclass(slots=True)
class HostView:
    name: str
    state: str = ""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    message: str = ""
    heard_at: float = 0.0  # when word of its tasks came last


@dataclass(frozen=True, slots=True)
class At:
    """An event that is kept, with its time."""

    at: float
    event: ev.RunEvent


def task_named(text: object) -> TaskId | None:
    """The task of that name; None if it is none."""
    try:
        return TaskId.parse(str(text))
    except ValueError:
        return None


def is_news(event: ev.RunEvent) -> bool:
    """Whether it is worth a line in a picture of the run."""
    if isinstance(event, ev.PreloadChanged):
        return event.state == PreloadStage.DIED
    return isinstance(event, _NEWS)


_NEWS = (
    ev.BoardChanged,
    ev.Noticed,
    ev.HostChanged,
    ev.Recovered,
    ev.TasksMoved,
    ev.MoveOver,
    ev.Scaled,
    ev.DrillFired,
    ev.StopRequested,
)
