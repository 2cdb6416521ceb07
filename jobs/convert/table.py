"""CSV with a header line, read by the streaming engine: the labels by their names, everything else as ids.

Whole numbers stay what they are. Texts are hashed as ``tf.strings.to_hash_bucket_fast`` does, so that a server can do
the same: ``1 + tf.strings.to_hash_bucket_fast(text, most_ids - 1)``, and 0 for an empty one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from jobs._tf import tf
from jobs.convert.bad_rows import BadRows
from jobs.convert.text import Ints, Mask
from jobs.errors import JobError
from jobs.esmm.input.schema import CLICK, CONVERSION, LABELS
from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.feature_spec import Column
from launcher.estimator.streaming.formats.framing import BadRecord
from launcher.estimator.streaming.formats.inference import infer_spec
from launcher.estimator.streaming.formats.text.lines import read_header, read_lines
from launcher.estimator.streaming.formats.text.sniffing import find_form
from launcher.estimator.streaming.tools.convert import read_columns

_ROWS_AT_ONCE = 16_384


def _say(text: str) -> None:
    sys.stderr.write(f"convert: {text}\n")


class Table:
    """What the columns of some CSV files are; the first file decides. Raises JobError or StreamingError."""

    def __init__(self, path: str, *, click: str, conversion: str | None, columns: Sequence[str] | None) -> None:
        form, _ = find_form(path)
        header = read_header(path, form=form)
        if conversion is None and CONVERSION in header:
            conversion = CONVERSION
        self._labels = {CLICK: click} | ({CONVERSION: conversion} if conversion else {})
        missing = [name for name in (*self._labels.values(), *(columns or ())) if name not in header]
        if missing:
            raise JobError(f"{path}: no column {', '.join(missing)}; there are {', '.join(header)}")
        named = [*self._labels.values(), *(columns or ())]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise JobError(f"{path}: {', '.join(twice)} is named twice; a column is one label or one feature")
        self.names = tuple(columns or (name for name in header if name not in self._labels.values()))
        self._spec = infer_spec(path, "csv", notice=_say).select((*self.names, *self._labels.values()))
        kinds = {column.name: column.kind for column in self._spec.columns}
        self._spec = replace(self._spec, columns=tuple(self._read_as(column) for column in self._spec.columns))
        wrong = [name for name in self._labels.values() if kinds[name] != "int64"]
        if wrong:
            raise JobError(f"{path}: the label {', '.join(wrong)} is not 0 or 1 in every row")
        self.hashed = frozenset(name for name in self.names if kinds[name] in ("bytes", "uint64"))
        fractions = [name for name in self.names if kinds[name] in ("float32", "float64")]
        if fractions:
            raise JobError(
                f"{path}: {', '.join(fractions)}: ids are whole numbers or text, not fractions; make classes of them, "
                "or leave them out by naming the others with --columns"
            )
        clash = sorted({*self.names} & {*LABELS})
        if clash:
            raise JobError(
                f"{path}: a feature cannot be named {' or '.join(clash)}; name labels by --click, --conversion"
            )
        lines = [len(line) for block in islice(read_lines(path, form=form), 1) for line in block.records]
        self._line_bytes = 1 + sum(lines) // len(lines)

    def _read_as(self, column: Column) -> Column:
        """Ids that are too large for int64 are hashed as texts; a label that is missing is none, and not 0."""
        if column.kind == "uint64":
            return Column(name=column.name, kind="bytes")
        return replace(column, default=None) if column.name in self._labels.values() else column

    def read(
        self, path: str, bad: BadRows, advance: Callable[[int], None], *, skip: bool, most_ids: int
    ) -> Iterator[dict[str, Ints]]:
        """Columns of ids, ``click`` and ``conversion`` (0 where there is none). Raises JobError or StreamingError."""

        left_out: list[int] = []

        def leave_out(record: BadRecord) -> None:
            left_out.append(record.record or 0)
            bad.add(record.path, line_of(record.record), record.reason)

        rows = 0
        try:
            for part in read_columns(path, self._spec, batch=_ROWS_AT_ONCE, skip=leave_out if skip else None):
                count = len(part[self._labels[CLICK]])
                good = self._good_labels(path, part, bad, first_row=rows, left_out=left_out)
                rows += count
                labels = {name: np.asarray(part[source])[good] for name, source in self._labels.items()}
                found = {name: self._ids(np.asarray(part[name])[good], name, most_ids) for name in self.names} | labels
                advance(count * self._line_bytes)
                yield found if CONVERSION in found else found | {CONVERSION: np.zeros_like(found[CLICK])}
        except BadDataError as error:
            if error.record is None:
                raise
            bad.add(error.path, line_of(error.record), error.reason)

    def _good_labels(
        self, path: str, part: Mapping[str, Any], bad: BadRows, *, first_row: int, left_out: list[int]
    ) -> Mask:
        good = np.ones(len(part[self._labels[CLICK]]), np.bool_)
        for source in self._labels.values():
            right = np.isin(part[source], (0, 1))
            for row in np.flatnonzero(good & ~right).tolist():
                record = record_of(first_row + row, left_out)
                bad.add(path, line_of(record), f"{source} is not 0 or 1", repr(int(part[source][row])))
            good &= right
        return good

    def _ids(self, values: Any, name: str, most_ids: int) -> Ints:
        return hash_texts(values, most_ids) if name in self.hashed else values


def line_of(record: int | None) -> int:
    """The line of a record, which are counted from 0 and begin below the header."""
    return 2 + (record or 0)


def record_of(row: int, left_out: Sequence[int]) -> int:
    """The record that became ``row``, when these records became none."""
    for record in sorted(left_out):
        row += record <= row
    return row


def hash_texts(values: Any, most_ids: int) -> Ints:
    """int64[rows] from bytes[rows]."""
    hashed: Ints = tf.strings.to_hash_bucket_fast(tf.constant(values, tf.string), most_ids - 1).numpy()
    return np.where(values == b"", 0, 1 + hashed)
