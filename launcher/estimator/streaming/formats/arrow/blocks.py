"""Rows of which every column is a scalar of one of two types, and has its value: two blocks of memory, no objects.

Most rows are such. A record batch of Arrow has an object for each column, which a piece of it has again: for pieces of
a thousand rows these cost more than the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from launcher.estimator.streaming.formats.columns import Ints
from launcher.estimator.streaming.formats.feature_spec import FeatureSpec, stacked, unstacked

_TYPES = {"int64": pa.int64(), "float32": pa.float32()}


@dataclass(frozen=True, slots=True)
class Block:
    """``ints``: int64[columns, rows], ``floats``: float32[columns, rows], each in the order of the spec."""

    ints: Ints
    floats: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.ints.shape[1])

    @property
    def nbytes(self) -> int:
        return int(self.ints.nbytes + self.floats.nbytes)

    def cut(self, start: int, rows: int) -> Block:
        """Some of its rows, in memory of their own: what is left of a file's rows does not keep all of them."""
        stop = start + rows
        return Block(self.ints[:, start:stop].copy(), self.floats[:, start:stop].copy())

    def arrays(self, spec: FeatureSpec) -> list[pa.Array]:
        """Its columns as Arrow's, in the order of the spec."""
        made = {name: pa.array(row) for name, row in zip(stacked(spec, "ints"), self.ints, strict=True)}
        made |= {name: pa.array(row) for name, row in zip(stacked(spec, "floats"), self.floats, strict=True)}
        return [made[column.name] for column in spec.columns]


class Blocks:
    """Makes blocks of a spec's record batches, where they can be one."""

    def __init__(self, spec: FeatureSpec) -> None:
        fit = not unstacked(spec) and all(column.kind in _TYPES for column in spec.columns)
        self._ints = stacked(spec, "ints") if fit else []
        self._floats = stacked(spec, "floats") if fit else []

    def of(self, batch: pa.RecordBatch) -> Block | None:
        """None where some column is of another type, or lacks a value."""
        if not self._ints and not self._floats:
            return None
        ints = _stacked(batch, self._ints, "int64")
        floats = _stacked(batch, self._floats, "float32")
        return None if ints is None or floats is None else Block(ints, floats)


def _stacked(batch: pa.RecordBatch, names: Sequence[str], kind: str) -> np.ndarray | None:
    if not names:
        return np.empty((0, len(batch)), kind)
    arrays = [batch.column(name) for name in names]
    if any(array.type != _TYPES[kind] or array.null_count for array in arrays):
        return None
    block: np.ndarray = pa.RecordBatch.from_arrays(arrays, list(names)).to_tensor(row_major=False).to_numpy().T
    return block
