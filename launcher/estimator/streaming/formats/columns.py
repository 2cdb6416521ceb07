"""Rows as columns in memory: numpy arrays by name, and lists of different length as values with lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Ints: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ragged:
    """A column of lists: row i has the next ``lengths[i]`` of ``values``."""

    values: Array
    lengths: Ints

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: Ints) -> Ragged:
        """The rows with these numbers."""
        lengths = self.lengths[rows]
        starts = (np.cumsum(self.lengths) - self.lengths)[rows]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Ragged(self.values[np.repeat(starts, lengths) + within], lengths)

    def cut(self, start: int, stop: int) -> Ragged:
        """The rows from ``start`` to before ``stop``."""
        first, last = int(self.lengths[:start].sum()), int(self.lengths[:stop].sum())
        return Ragged(self.values[first:last], self.lengths[start:stop])


Values: TypeAlias = "Array | Ragged"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Rows in the form in which they travel fast.

    ``ints``: int64[columns, rows], all scalar integers with lease and row number as the last two. ``floats``:
    float32[columns, rows]. ``others``: everything else by name, [rows, length], object[rows] or Ragged.
    """

    ints: Ints
    floats: npt.NDArray[np.float32]
    others: Mapping[str, Values]

    def __len__(self) -> int:
        return int(self.ints.shape[1])

    def cut(self, start: int, stop: int) -> Rows:
        """The rows from ``start`` to before ``stop``; shares memory."""
        return Rows(
            ints=self.ints[:, start:stop],
            floats=self.floats[:, start:stop],
            others={
                name: v.cut(start, stop) if isinstance(v, Ragged) else v[start:stop] for name, v in self.others.items()
            },
        )

    def take(self, rows: Ints) -> Rows:
        """The rows with these numbers."""
        return Rows(
            ints=np.take(self.ints, rows, axis=1),
            floats=np.take(self.floats, rows, axis=1),
            others={name: v.take(rows) if isinstance(v, Ragged) else v[rows] for name, v in self.others.items()},
        )


def join(parts: Sequence[Rows]) -> Rows:
    """One after the other."""
    if len(parts) == 1:
        return parts[0]
    others = {name: _join_values([part.others[name] for part in parts]) for name in parts[0].others}
    return Rows(
        ints=np.concatenate([part.ints for part in parts], axis=1),
        floats=np.concatenate([part.floats for part in parts], axis=1),
        others=others,
    )


def _join_values(parts: Sequence[Values]) -> Values:
    ragged = [part for part in parts if isinstance(part, Ragged)]
    if ragged:
        return Ragged(np.concatenate([p.values for p in ragged]), np.concatenate([p.lengths for p in ragged]))
    return np.concatenate([part for part in parts if not isinstance(part, Ragged)])
