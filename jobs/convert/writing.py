"""Columns of ids to the data folder of ``jobs.esmm``.

schema.json                     the features, and how many ids each may have
train/part-00000.tfrecord       row groups, shuffled within each file
train/feature_spec.json         their columns, for the tools of launcher.estimator.streaming
eval/part-00000.tfrecord        one tf.Example a row, in order: what ``evaluate`` and ``predict`` read
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from jobs.convert.text import Ints
from jobs.esmm.input.schema import LABELS, SCHEMA_FILE, Feature, Schema
from jobs.tfrecord import encode_rows
from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec
from launcher.estimator.streaming.tools.convert import write_groups, write_spec

FILES_AT_LEAST = 8
"""What little data is spread over, so that several trainers have something to do."""

_SMALLEST_FILE_ROWS = 1024
_ROWS_AT_ONCE = 16_384

Columns = Mapping[str, Ints]


class TrainFiles:
    """Row groups in files of ``rows_per_file``, shuffled within each: rows that are neighbours are often alike."""

    def __init__(self, folder: Path, names: Collection[str], *, rows_per_file: int, seed: int) -> None:
        folder.mkdir()
        self.rows = 0
        self._folder = folder
        self._spec = FeatureSpec(columns=tuple(Column(name=name) for name in (*names, *LABELS)))
        self._rows_per_file = rows_per_file
        self._random = np.random.default_rng(seed)
        self._waiting: list[Columns] = []
        self._waiting_rows = 0
        self._files = 0

    def add(self, columns: Columns) -> None:
        """Writes a file whenever there is enough for one."""
        self._waiting.append(columns)
        self._waiting_rows += len(columns[LABELS[0]])
        while self._waiting_rows >= self._rows_per_file:
            self._write(self._take(self._rows_per_file))

    def close(self) -> None:
        """Writes what is left."""
        left = self._waiting_rows
        if not left:
            return
        files = 1 if self._files else max(1, min(FILES_AT_LEAST, left // _SMALLEST_FILE_ROWS))
        for part in np.array_split(np.arange(left), files):
            self._write(self._take(len(part)))

    def _take(self, rows: int) -> Columns:
        names = self._waiting[0]
        everything = {name: np.concatenate([part[name] for part in self._waiting]) for name in names}
        self._waiting = [{name: column[rows:] for name, column in everything.items()}]
        self._waiting_rows -= rows
        return {name: column[:rows] for name, column in everything.items()}

    def _write(self, columns: Columns) -> None:
        order = self._random.permutation(len(columns[LABELS[0]]))
        path = str(self._folder / f"part-{self._files:05d}.tfrecord")
        shuffled = {column.name: columns[column.name][order] for column in self._spec.columns}
        self.rows += write_groups(path, [shuffled], self._spec)
        if not self._files:
            write_spec(path, self._spec)
        self._files += 1


class EvalFiles:
    """One tf.Example a row, in files of ``rows_per_file`` or a little more."""

    def __init__(self, folder: Path, *, rows_per_file: int) -> None:
        folder.mkdir()
        self.rows = 0
        self._folder = folder
        self._rows_per_file = rows_per_file

    def add(self, columns: Columns) -> None:
        rows = len(columns[LABELS[0]])
        path = self._folder / f"part-{self.rows // self._rows_per_file:05d}.tfrecord"
        with path.open("ab") as file:
            for start in range(0, rows, _ROWS_AT_ONCE):
                some = {name: column[start : start + _ROWS_AT_ONCE] for name, column in columns.items()}
                file.write(encode_rows(some))
        self.rows += rows


class IdRanges:
    """The least and the greatest id of each feature, from which follows how many the model is to have."""

    def __init__(self, names: Collection[str]) -> None:
        self._low = dict.fromkeys(names, np.iinfo(np.int64).max)
        self._high = dict.fromkeys(names, 0)

    def add(self, columns: Columns) -> None:
        for name in self._low:
            ids = columns[name]
            self._high[name] = max(self._high[name], int(ids.max(initial=0)))
            there = ids[ids != 0]
            self._low[name] = min(self._low[name], int(there.min(initial=self._low[name])))

    def schema(self, *, most_ids: int, hashed: Collection[str]) -> Schema:
        """``hashed`` features have ``most_ids``, since ids that are still to come may be any of them."""
        return Schema(
            features=tuple(
                Feature(
                    name=name,
                    ids=most_ids if name in hashed else fitting_ids(self._low[name], high, most_ids),
                )
                for name, high in self._high.items()
            )
        )


def fitting_ids(low: int, high: int, most: int) -> int:
    """The fewest ids, up to ``most``, so that ``id % ids`` differs for all from ``low`` to ``high``, and is never 0.

    0 means that there is none. Where that takes more than ``most``, some must share a place; where all are below it,
    they stay what they are.
    """
    if high < most:
        return high + 1
    for ids in range(high - low + 2, most + 1):
        if low % ids and low // ids == high // ids:
            return ids
    return most


def write_schema(folder: Path, schema: Schema) -> None:
    (folder / SCHEMA_FILE).write_text(json.dumps(schema.to_json(), indent=1) + "\n", "utf-8")
