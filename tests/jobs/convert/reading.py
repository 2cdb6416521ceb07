"""What the converter wrote, read back by TensorFlow's own parsers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jobs.convert.cli import main
from jobs.esmm.input.schema import LABELS, read_schema

Rows = list[dict[str, int]]


def convert(*arguments: object) -> tuple[int, str]:
    """Exit code, and what was said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main([str(argument) for argument in arguments])
    return code, said.getvalue()


def train_rows(folder: Path) -> Rows:
    """Of the row groups of train/; they are shuffled."""
    import tensorflow as tf

    rows: Rows = []
    for record in tf.data.TFRecordDataset(_files(folder / "train")).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        columns = {name: features[name].int64_list.value for name in _names(folder)}
        assert {len(values) for values in columns.values()} == {features["#rows"].int64_list.value[0]}
        rows += _rows(columns)
    return rows


def eval_rows(folder: Path) -> Rows:
    """Of the plain records of eval/, in order."""
    import tensorflow as tf

    records = list(tf.data.TFRecordDataset(_files(folder / "eval")).as_numpy_iterator())
    parsed = tf.io.parse_example(records, {name: tf.io.FixedLenFeature([], tf.int64) for name in _names(folder)})
    return _rows({name: values.numpy().tolist() for name, values in parsed.items()})


def in_some_order(rows: Rows) -> list[tuple[int, ...]]:
    return sorted(tuple(row[name] for name in sorted(row)) for row in rows)


def ids(folder: Path) -> dict[str, int]:
    return {feature.name: feature.ids for feature in read_schema(folder / "schema.json").features}


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.glob("*.tfrecord"))


def _names(folder: Path) -> tuple[str, ...]:
    return (*read_schema(folder / "schema.json").names, *LABELS)


def _rows(columns: dict[str, Sequence[int]]) -> Rows:
    names = sorted(columns)
    return [dict(zip(names, values, strict=True)) for values in np.array([columns[name] for name in names]).T.tolist()]
