"""Serialized records to rows, many at a time, by TensorFlow's own parser in a session of its own.

A session, and not eager execution, because it works under any TF_CONFIG, with and without eager mode, and beside an
Estimator's session; and not the graph of the dataset, because there nobody can say which record was at fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from launcher.estimator.streaming.formats.columns import Array, Ints, Ragged, Rows, Values
from launcher.estimator.streaming.formats.feature_spec import (
    ROWS,
    Column,
    FeatureSpec,
    example_feature,
    lengths_name,
    stacked,
    unstacked,
)

ROW_BITS = 20
"""Bits of a row's number that say which row of its record it is, in row groups."""

DTYPES = {"int64": tf.int64, "uint64": tf.int64, "float32": tf.float32, "float64": tf.float64, "bytes": tf.string}
"""Of the tensors in a batch."""
_IN_EXAMPLES = DTYPES | {"float64": tf.float32}


_NO_EXAMPLE = "it is no tf.Example"


@dataclass(frozen=True, slots=True)
class Bad:
    """A record (in Parquet: a row) that cannot be parsed, by its lease and its number in the file."""

    lease: int
    number: int
    reason: str


class UnreadableError(Exception):
    """At least one of several records cannot be parsed; the text says why.

    ``bad``: which, where the parser knows; ``rest`` are the rows of the others then.
    """

    def __init__(self, reason: str, *, bad: Sequence[Bad] = (), rest: Rows | None = None) -> None:
        super().__init__(reason)
        self.bad = bad
        self.rest = rest


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Records on their way: object[n] of bytes, int64[n] lease and record number of each."""

    records: Array
    leases: Ints
    numbers: Ints

    def cut(self, start: int, stop: int) -> Batch:
        return Batch(records=self.records[start:stop], leases=self.leases[start:stop], numbers=self.numbers[start:stop])

    def take(self, places: Ints) -> Batch:
        return Batch(records=self.records[places], leases=self.leases[places], numbers=self.numbers[places])


class Parser(Protocol):
    """Thread-safe."""

    def parse(self, batch: Batch) -> Rows:
        """The rows of a batch, in its order. Raises UnreadableError."""
        ...

    def close(self) -> None: ...


class ExampleParser:
    """One tf.Example a record."""

    def __init__(self, spec: FeatureSpec, *, threads: int) -> None:
        self._spec = spec
        self._session = _Session({c.name: _feature(c) for c in spec.columns}, spec, threads)

    def parse(self, batch: Batch) -> Rows:
        fetched = self._session.run(batch.records)
        others: dict[str, Values] = dict(fetched.others)
        for column in unstacked(self._spec):
            if column.length is None:
                others[column.name] = Ragged(fetched.others[column.name], fetched.lengths[column.name])
        return _rows(fetched, others, batch.leases, batch.numbers, len(batch.records))

    def close(self) -> None:
        self._session.close()


class RowGroupParser:
    """A row group a record: one list per column."""

    def __init__(self, spec: FeatureSpec, *, threads: int) -> None:
        self._spec = spec
        flat = {c.name: tf.io.RaggedFeature(_IN_EXAMPLES[c.kind]) for c in spec.columns}
        flat |= {lengths_name(c.name): tf.io.RaggedFeature(tf.int64) for c in spec.columns if c.length is None}
        self._session = _Session(flat | {ROWS: tf.io.FixedLenFeature([], tf.int64)}, spec, threads)

    def parse(self, batch: Batch) -> Rows:
        fetched = self._session.run(batch.records)
        rows = fetched.rows
        if ((rows < 0) | (rows >= 1 << ROW_BITS)).any():
            raise UnreadableError(f"a row group has 0 to {(1 << ROW_BITS) - 1} rows, not {int(rows.max())}")
        others: dict[str, Values] = {}
        for column in self._spec.columns:
            self._check(column, fetched, rows)
        for column in unstacked(self._spec):
            values = fetched.others[column.name]
            if column.length is None:
                others[column.name] = Ragged(values, fetched.others[lengths_name(column.name)])
            else:
                others[column.name] = values if column.length == 1 else values.reshape(-1, column.length)
        total = int(rows.sum())
        within = np.arange(total) - np.repeat(np.cumsum(rows) - rows, rows)
        numbers = np.repeat(batch.numbers << ROW_BITS, rows) + within
        return _rows(fetched, others, np.repeat(batch.leases, rows), numbers, total)

    def _check(self, column: Column, fetched: _Fetched, rows: Ints) -> None:
        have = fetched.lengths[column.name]
        if column.length is None:
            per_row = fetched.lengths[lengths_name(column.name)]
            _demand(column.name, per_row, rows)
            values, stops = fetched.others[lengths_name(column.name)], np.cumsum(per_row)
            if (values < 0).any():
                raise UnreadableError(f"feature {column.name!r}: a row has a negative number of values")
            sums = np.concatenate([[0], np.cumsum(values)])
            _demand(column.name, have, sums[stops] - sums[stops - per_row])
        else:
            _demand(column.name, have, rows * column.length)

    def close(self) -> None:
        self._session.close()


def _demand(name: str, have: Ints, wanted: Ints) -> None:
    if not np.array_equal(have, wanted):
        at = int(np.flatnonzero(have != wanted)[0])
        raise UnreadableError(f"feature {name!r} has {have[at]} values where the row group's rows need {wanted[at]}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fetched:
    """``ints``, ``floats``: the scalar columns, stacked. ``lengths``: values by record, of lists."""

    ints: Ints
    floats: Array
    others: Mapping[str, Array]
    lengths: Mapping[str, Ints]
    rows: Ints


class _Session:
    """Feeds records to one parse_example."""

    def __init__(self, features: Mapping[str, Any], spec: FeatureSpec, threads: int) -> None:
        v1 = tf.compat.v1
        self._graph = tf.Graph()
        with self._graph.as_default(), tf.device("/CPU:0"):
            self._records = v1.placeholder(tf.string, [None])
            parsed = tf.io.parse_example(self._records, dict(features))
            flat = {name: value.values if _is_ragged(value) else value for name, value in parsed.items()}
            flat |= {c.name: tf.cast(flat[c.name], tf.float64) for c in spec.columns if c.kind == "float64"}
            ints, floats = stacked(spec, "ints"), stacked(spec, "floats")
            rest = [name for name in flat if name not in {*ints, *floats, ROWS}]
            lists = {name: value.row_lengths() for name, value in parsed.items() if _is_ragged(value)}
            self._lengths_of = list(lists)
            self._fetches: dict[str, Any] = {
                "ints": tf.stack([flat[name] for name in ints]) if ints else None,
                "floats": tf.stack([flat[name] for name in floats]) if floats else None,
                "others": {name: flat[name] for name in rest},
                "lengths": tf.stack(list(lists.values())) if lists else None,
                "rows": flat.get(ROWS),
            }
            self._fetches = {name: fetch for name, fetch in self._fetches.items() if fetch is not None}
        config = v1.ConfigProto(
            intra_op_parallelism_threads=threads,
            inter_op_parallelism_threads=threads,
            use_per_session_threads=True,
            device_count={"GPU": 0},
        )
        self._session = v1.Session(graph=self._graph, config=config)
        self._run = self._session.run

    def run(self, records: Array) -> _Fetched:
        """Raises UnreadableError."""
        try:
            got = self._run(self._fetches, {self._records: records})
        except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
            raise UnreadableError(_reason(error.message)) from None
        except UnicodeDecodeError:  # TensorFlow quotes the record in its message, whatever bytes it has
            raise UnreadableError(_NO_EXAMPLE) from None
        count = len(records)
        return _Fetched(
            ints=got.get("ints", np.zeros((0, _width(got, count)), np.int64)),
            floats=got.get("floats", np.zeros((0, _width(got, count)), np.float32)),
            others=got["others"],
            lengths=dict(zip(self._lengths_of, got.get("lengths", ()), strict=True)),
            rows=got.get("rows", np.zeros(0, np.int64)),
        )

    def close(self) -> None:
        self._session.close()


def _feature(column: Column) -> Any:
    return tf.io.RaggedFeature(_IN_EXAMPLES[column.kind]) if column.length is None else example_feature(column)


def _is_ragged(value: Any) -> bool:
    return isinstance(value, tf.RaggedTensor)


def _width(got: Mapping[str, Any], records: int) -> int:
    """Rows where a kind of scalar has no column."""
    return int(got["rows"].sum()) if "rows" in got else records


def _rows(fetched: _Fetched, others: Mapping[str, Values], leases: Ints, numbers: Ints, total: int) -> Rows:
    ints = np.empty((len(fetched.ints) + 2, total), np.int64)
    ints[:-2] = fetched.ints
    ints[-2], ints[-1] = leases, numbers
    return Rows(ints=ints, floats=fetched.floats, others=others)


def _reason(message: str) -> str:
    """The line of TensorFlow's message that says what is wrong with a record."""
    for line in message.splitlines():
        if "required but could not be found" in line:
            return f"it has no feature {_quoted(line)}, which the feature spec asks for"
        if "Data types don't match" in line or "Data type mismatch" in line or "Expected type" in line:
            return f"feature {_quoted(line)} has another type than the feature spec says"
        if "Could not parse example" in line:
            return _NO_EXAMPLE
        if "Shapes of all inputs must match" in line:
            return "its columns have different numbers of values"
        if "Number of" in line or "values != expected" in line:
            return f"feature {_quoted(line)} has another number of values than the feature spec says"
    return message.strip().splitlines()[0] if message.strip() else "it cannot be parsed"


def _quoted(line: str) -> str:
    """The feature that a message of the parser names."""
    found = re.search(r"Feature: (.*?) \(data type|Key: (.*?)(?:, Index:|\.  )", line)
    return repr(found[1] or found[2]) if found else "(unnamed)"
