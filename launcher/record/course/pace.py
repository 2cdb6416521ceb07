"""How fast the global step of a run grows, and how long what is left of it takes."""

from __future__ import annotations

from launcher.record.rates import Rate

ETA_WINDOW_S = 60.0
STEP_EVERY_S = 0.2  # at most so often the global step is put down for its rate


class Pace:
    """Times in seconds since the epoch."""

    def __init__(self) -> None:
        self.rates = Rate(), Rate(ETA_WINDOW_S)
        self._stepped_at = 0.0

    def is_due(self, at: float) -> bool:
        """Whether it is worth while to look at the step again: with many trainers there is a report every few
        milliseconds."""
        return not 0 <= at - self._stepped_at < STEP_EVERY_S

    def stepped(self, at: float, step: int) -> None:
        """The global step was seen to be there."""
        self._stepped_at = at
        for rate in self.rates:
            rate.add(at, step)

    def clear(self) -> None:
        """It begins anew."""
        for rate in self.rates:
            rate.clear()

    def steps_per_s(self, now: float) -> float | None:
        return self.rates[0].per_s(now)

    def left_s(self, now: float, last_at: float, steps: int) -> float | None:
        """Seconds from ``now`` until so many more steps are done than at ``last_at``; None when that cannot be said."""
        rate = self.rates[1].per_s(now)
        return max(0.0, steps / rate - max(0.0, now - last_at)) if rate else None
