"""What happens to rows that cannot be read: the first ends the conversion, or they are left out and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from jobs.convert.text import Ints, Mask
from jobs.errors import JobError

MOST_SHOWN = 20


class BadRows:
    """``skip``: leave them out, ``say`` the first twenty, and count all; else raise JobError at the first."""

    def __init__(self, *, skip: bool, say: Callable[[str], object]) -> None:
        self.counts: Counter[str] = Counter()
        self._skip = skip
        self._say = say

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, path: str, line: int, reason: str, detail: str = "") -> None:
        """One row. ``reason`` is counted; ``detail`` is of this row. Raises JobError."""
        what = f"{path}:{line}: {reason}{': ' + detail if detail else ''}"
        if not self._skip:
            raise JobError(f"{what}; mend it, or leave such rows out with --on-bad-record skip")
        self.counts[reason] += 1
        if self.total <= MOST_SHOWN:
            self._say(f"skipped: {what}\n")
        elif self.total == MOST_SHOWN + 1:
            self._say("skipped: more of them, which are counted only\n")

    def summary(self) -> str:
        """Such as ``; 3 rows were skipped (2 no click of 0 or 1, 1 …)``; empty where there was none."""
        if not self.total:
            return ""
        kinds = ", ".join(f"{count} {reason}" for reason, count in self.counts.most_common())
        return f"; {self.total} rows were skipped ({kinds})"


class Faults:
    """The first fault of each line of a block."""

    def __init__(self, lines: int) -> None:
        self.good: Mask = np.ones(lines, np.bool_)
        self._found: dict[int, tuple[str, str]] = {}

    def mark(self, lines: Ints, reason: str, details: Sequence[str] = ()) -> None:
        """``details``: what to say of each line besides. Only the first fault of a line counts."""
        for position in np.flatnonzero(self.good[lines]).tolist():
            line = int(lines[position])
            if self.good[line]:
                self.good[line] = False
                self._found[line] = (reason, details[position] if details else "")

    def report(self, to: BadRows, path: str, first_line: int) -> None:
        """In the order of lines. Raises JobError."""
        for line in sorted(self._found):
            reason, detail = self._found[line]
            to.add(path, first_line + line, reason, detail)
