"""Random tables through CSV, row groups and Parquet, and back: equal, or refused in words."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.formats.arrow.types import MISSING
from launcher.estimator.streaming.formats.columns import Ragged, Values
from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec, signed
from launcher.estimator.streaming.formats.framing import frame
from launcher.estimator.streaming.formats.inference import find_format, infer_spec
from launcher.estimator.streaming.formats.text.form import TextForm
from launcher.estimator.streaming.tools.convert import convert_file, read_columns, write_groups, write_parquet

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]
EXAMPLES = int(os.environ.get("TFLAUNCH_EXAMPLES", "15"))

INT64, UINT64 = st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1)
VALUES: dict[str, Any] = {
    "int64": INT64,
    "uint64": UINT64,
    "float32": st.floats(width=32, allow_nan=False),
    "bytes": st.binary(max_size=12),
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def tables(draw: st.DrawFn) -> tuple[FeatureSpec, dict[str, Values], int]:
    rows = draw(st.integers(1, 30))
    columns, values = [], {}
    for number in range(draw(st.integers(1, 4))):
        kind, length = draw(st.sampled_from(sorted(VALUES))), draw(st.sampled_from([1, 1, 3, None]))
        column = Column(name=f"c{number}", kind=kind, length=length)
        lengths = [draw(st.integers(0, 3)) if length is None else length for _ in range(rows)]
        flat = draw(st.lists(VALUES[kind], min_size=sum(lengths), max_size=sum(lengths)))
        array = np.array(flat, object if kind == "bytes" else kind)
        columns.append(column)
        if length is None:
            values[column.name] = Ragged(array, np.array(lengths, np.int64))
        else:
            values[column.name] = array if length == 1 else array.reshape(rows, length)
    return FeatureSpec(columns=tuple(columns)), values, rows


def plain(values: Values) -> list[Any]:
    if isinstance(values, Ragged):
        return [values.lengths.tolist(), values.values.tolist()]
    found: list[Any] = values.tolist()
    return found


def read(path: str, spec: FeatureSpec) -> dict[str, list[Any]]:
    (found,) = list(read_columns(path, spec, batch=100))
    return {name: plain(values) for name, values in found.items()}


def write_examples(path: str, spec: FeatureSpec, values: dict[str, Values], rows: int) -> None:
    """One tf.Example a row."""
    columns = {name: plain_rows(column) for name, column in values.items()}
    kinds = {column.name: column.kind for column in spec.columns}
    Path(path).write_bytes(
        b"".join(frame(example(kinds, {name: column[row] for name, column in columns.items()})) for row in range(rows))
    )


def example(kinds: dict[str, str], row: dict[str, list[Any]]) -> bytes:
    made = tf.train.Example()
    for name, found in row.items():
        feature = made.features.feature[name]
        if kinds[name] == "bytes":
            feature.bytes_list.value.extend(found)
        elif kinds[name] == "float32":
            feature.float_list.value.extend(found)
        else:
            feature.int64_list.value.extend(map(signed, found))
    serialized: bytes = made.SerializeToString()
    return serialized


def plain_rows(values: Values) -> list[list[Any]]:
    if isinstance(values, Ragged):
        return [values.cut(row, row + 1).values.tolist() for row in range(len(values))]
    return [value if isinstance(value, list) else [value] for value in values.tolist()]  # numbers of Python


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_tfrecord_and_parquet_keep_what_they_are_given(given: tuple[FeatureSpec, dict[str, Values], int]) -> None:
    spec, values, rows = given
    wanted = {name: plain(column) for name, column in values.items()}
    with tempfile.TemporaryDirectory() as folder:
        groups, parquet, back = (f"{folder}/{name}" for name in ("a.tfrecord", "b.parquet", "c.tfrecord"))
        assert write_groups(groups, [values], spec, rows=7) == rows
        assert read(groups, spec) == wanted
        assert convert_file(groups, parquet, spec=spec, rows=5) == rows
        assert find_format(parquet) == "parquet" and read(parquet, spec) == wanted
        inferred = {column.name: (column.kind, column.length) for column in infer_spec(parquet, "parquet").columns}
        assert inferred == {column.name: (column.kind, column.length) for column in spec.columns}
        assert convert_file(parquet, back, spec=spec) == rows and read(back, spec) == wanted
        assert write_parquet(parquet, [values], spec) == rows and read(parquet, spec) == wanted
        write_examples(back, spec, values, rows)
        assert read(back, spec) == wanted


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(INT64 | UINT64, TEXTS, st.none() | st.integers(0, 99)), min_size=1, max_size=30))
def test_csv_is_read_as_it_was_written_or_refused(rows: list[tuple[int, str, int | None]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("number", "text", "gap"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(text.getvalue().encode())
        try:
            spec = infer_spec(str(path), "csv", notice=lambda text: None)
            found = read(str(path), spec)
        except StreamingError as error:
            assert str(path) in str(error)
            return
        kinds = {column.name: column.kind for column in spec.columns}
        for name, values in zip(found, zip(*rows, strict=True), strict=True):
            for value, was in zip(found[name], values, strict=True):
                if kinds[name] == "bytes":
                    assert value.decode() == ("" if was is None else str(was))
                elif isinstance(was, str):
                    assert value == pytest.approx(0.0 if was in MISSING else float(was), rel=1e-6, nan_ok=True)
                else:
                    assert value == (was or 0)


ITEMS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="|\ufeff"), min_size=1, max_size=5)
FORMS = st.builds(
    TextForm,
    delimiter=st.sampled_from(",\t;|"),
    quote=st.sampled_from(['"', "'"]),
    encoding=st.sampled_from(["utf-8", "utf-16", "gb18030"]),
)


@st.composite
def texts_of_rows(draw: st.DrawFn) -> tuple[FeatureSpec, list[list[Any]]]:
    """A table for CSV, and its rows: numbers, texts, lists of either in one text, gaps."""
    form, rows = draw(FORMS), draw(st.integers(1, 20))
    columns = [
        Column(name="whole", default=draw(INT64)),
        Column(name="large", kind="uint64"),
        Column(name="number", kind="float32"),
        Column(name="text", kind="bytes"),
        Column(name="many", length=None, split="|"),
        Column(name="words", kind="bytes", length=2, split="|"),
    ]
    kinds: dict[str, Any] = {
        "whole": st.none() | INT64,
        "large": UINT64,
        "number": VALUES["float32"],
        "text": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=8),
        "many": st.lists(INT64, max_size=3),
        "words": st.lists(ITEMS, min_size=2, max_size=2),
    }
    found = [[draw(kinds[column.name]) for column in columns] for _ in range(rows)]
    names = tuple(column.name for column in columns)
    form = replace(form, header=draw(st.sampled_from([(), names])))
    return FeatureSpec(columns=tuple(columns), text=form), found


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts_of_rows(), st.sampled_from(["\n", "\r\n"]))
def test_csv_of_any_layout_is_read_as_it_was_written_and_converted(
    given: tuple[FeatureSpec, list[list[Any]]], end: str
) -> None:
    spec, rows = given
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, lineterminator=end, delimiter=spec.text.delimiter, quotechar=spec.text.quote, quoting=csv.QUOTE_NONNUMERIC
    )
    if not spec.text.header:
        writer.writerow([column.name for column in spec.columns])
    writer.writerows([["|".join(map(str, v)) if isinstance(v, list) else v for v in row] for row in rows])
    wanted = {
        "whole": [spec.columns[0].default if row[0] is None else row[0] for row in rows],
        "large": [row[1] for row in rows],
        "number": [row[2] for row in rows],
        "text": [row[3].encode() for row in rows],
        "many": [[len(row[4]) for row in rows], [value for row in rows for value in row[4]]],
        "words": [[word.encode() for word in row[5]] for row in rows],
    }
    with tempfile.TemporaryDirectory() as folder:
        path, parquet, groups = f"{folder}/a.csv", f"{folder}/b.parquet", f"{folder}/c.tfrecord"
        Path(path).write_bytes(text.getvalue().encode(spec.text.encoding))
        assert read(path, spec) == wanted
        assert convert_file(path, parquet, spec=spec) == len(rows) and read(parquet, spec.as_files()) == wanted
        assert convert_file(path, groups, spec=spec) == len(rows) and read(groups, spec.as_files()) == wanted
