"""Numbers of rows, kept as the runs in which they follow each other: mostly few, however many rows there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from launcher.estimator.streaming.formats.columns import Ints

_STRETCH_BITS = 20


@dataclass(frozen=True, slots=True, eq=False)
class RowSet:
    """``starts`` and ``stops``: int64[runs], ascending; no run touches the next."""

    starts: Ints
    stops: Ints

    @classmethod
    def of(cls, numbers: Ints) -> RowSet:
        """Those numbers, ascending, each once."""
        ends = np.flatnonzero(np.diff(numbers) != 1)
        return cls(numbers[np.r_[0, ends + 1]], numbers[np.r_[ends, -1]] + 1) if len(numbers) else NO_ROWS

    @classmethod
    def from_steps(cls, steps: Sequence[int]) -> RowSet:
        """What ``steps`` gave."""
        edges = np.cumsum(np.array(steps, np.int64))
        return cls(edges[::2], edges[1::2])

    def steps(self) -> list[int]:
        """From 0 to the first run, to its end, to the next run, and so on."""
        edges = np.stack([self.starts, self.stops], axis=1).reshape(-1)
        return [int(step) for step in np.diff(edges, prepend=0)]

    def __len__(self) -> int:
        return int((self.stops - self.starts).sum())

    def __or__(self, other: RowSet) -> RowSet:
        starts = np.concatenate([self.starts, other.starts])
        order = np.argsort(starts, kind="stable")
        starts, stops = starts[order], np.concatenate([self.stops, other.stops])[order]
        reached = np.maximum.accumulate(stops)
        begins = np.flatnonzero(np.r_[True, starts[1:] > reached[:-1]]) if len(starts) else order
        return RowSet(starts[begins], reached[np.r_[begins[1:] - 1, -1]] if len(starts) else reached)

    def has(self, numbers: Ints) -> npt.NDArray[np.bool_]:
        """Which of them are in it."""
        if not len(self.starts):
            return np.zeros(len(numbers), bool)
        run = np.searchsorted(self.starts, numbers, side="right") - 1
        inside: npt.NDArray[np.bool_] = (run >= 0) & (numbers < self.stops[run])
        return inside


NO_ROWS = RowSet(np.zeros(0, np.int64), np.zeros(0, np.int64))


class Marks:
    """Numbers of rows that come in any order, some at a time: a byte for each up to the largest, in every million in
    which there are any."""

    def __init__(self) -> None:
        self._stretches: dict[int, npt.NDArray[np.bool_]] = {}

    def add(self, numbers: Ints) -> None:
        places = numbers >> _STRETCH_BITS
        if len(places) and places.min() == places.max():
            self._mark(int(places[0]), numbers)
            return
        for place in np.unique(places).tolist():
            self._mark(place, numbers[places == place])

    def _mark(self, place: int, numbers: Ints) -> None:
        within = numbers - (place << _STRETCH_BITS)
        marks = self._stretches.get(place, np.zeros(0, bool))
        missing = int(within.max()) + 1 - len(marks)
        if missing > 0:
            marks = np.concatenate([marks, np.zeros(max(missing, len(marks)), bool)])
        marks[within] = True
        self._stretches[place] = marks

    def rows(self) -> RowSet:
        """Those that have come."""
        found = [np.flatnonzero(marks) + (place << _STRETCH_BITS) for place, marks in sorted(self._stretches.items())]
        return RowSet.of(np.concatenate(found)) if found else NO_ROWS
