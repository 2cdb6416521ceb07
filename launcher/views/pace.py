"""How often what costs much is done again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_SHARE = 200
_LONGEST_S = 4.0


class Pace:
    """As seldom as it takes to spend half a hundredth of a core, but every four seconds; ``least_s``: not oftener;
    ``free_s``: what costs less than that need not wait longer."""

    def __init__(self, *, least_s: float = 0.0, free_s: float = 0.0) -> None:
        self._least_s = self._every_s = least_s
        self._free_s = free_s
        self._at = 0.0

    def is_due(self, now: float) -> bool:
        return not 0 <= now - self._at < self._every_s  # the clock may be set back

    @contextmanager
    def measured(self, now: float) -> Iterator[None]:
        """While it is done."""
        began = time.thread_time()
        yield
        cost_s = time.thread_time() - began
        self._at = now
        self._every_s = max(self._least_s, min(_LONGEST_S, cost_s * _SHARE) if cost_s > self._free_s else 0.0)

    def hasten(self) -> None:
        """There may be more at once."""
        self._every_s = self._least_s
