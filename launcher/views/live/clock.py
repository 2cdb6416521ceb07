"""What time it is for a picture of a run."""

from __future__ import annotations


class EventClock:
    """The time of the newest thing that has come, and what has passed since by a clock that nobody sets. So a picture
    is right although the clock of the machine jumps, or another machine's writes the events."""

    def __init__(self) -> None:
        self._heard_at: float | None = None
        self._base = (0.0, 0.0)

    def now(self, heard_at: float, wall: float, steady: float) -> float:
        """``heard_at``: the time of the newest event or sample; ``wall``, ``steady``: what the clocks say. At first it
        is as late as the wall says: who comes to a silent run sees for how long."""
        if self._heard_at is None:
            self._base = (wall, steady)
        elif heard_at != self._heard_at:
            self._base = (heard_at, steady)
        self._heard_at = heard_at
        at, since = self._base
        return at + max(0.0, steady - since)
