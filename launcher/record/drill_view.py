"""What became of the fault drills of a run: one entry each, whether it was carried out or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.record.events import DrillFired, DrillOver

_HEAD = ("fault", "at step", "detected", "recovered", "steps lost")


@dataclass(slots=True)
class DrillView:
    """``fired_at``: seconds since the epoch, None if it was not carried out; ``over``: what it caused."""

    fault: str
    fired_at: float | None = None
    fired: DrillFired | None = None
    over: DrillOver | None = None

    @property
    def detected_s(self) -> float | None:
        return self.over.detected_s if self.over else None

    @property
    def recovered_s(self) -> float | None:
        return self.over.recovered_s if self.over else None

    @property
    def steps_lost(self) -> int | None:
        return self.over.steps_rolled_back if self.over and self.over.recovered_s is not None else None


def table(drills: Sequence[DrillView]) -> list[str]:
    """A line of heads and one for each drill, in columns; nothing for no drills."""
    if not drills:
        return []
    rows = [_HEAD, *(_cells(drill) for drill in drills)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _cells(drill: DrillView) -> tuple[str, ...]:
    if drill.fired is None:
        return (drill.fault, "not done", "-", "-", "-")
    step = drill.fired.global_step
    recovered = "never" if drill.recovered_s is None else f"{drill.recovered_s:.1f} s"
    return (
        drill.fault,
        "-" if step is None else f"{step:,}",
        "-" if drill.detected_s is None else f"{drill.detected_s:.2f} s",
        recovered if drill.over else "-",
        "-" if drill.steps_lost is None else f"{drill.steps_lost:,}",
    )
