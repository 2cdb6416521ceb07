"""Data of any format to row groups or Parquet, with the feature spec beside them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.formats.columns import Ragged, Rows, Values
from launcher.estimator.streaming.formats.feature_spec import FeatureSpec, spec_path, stacked, to_json
from launcher.estimator.streaming.formats.framing import BadRecord
from launcher.estimator.streaming.formats.inference import find_format, find_spec
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.formats.row_groups import ROWS_PER_GROUP, encode_groups
from launcher.estimator.streaming.formats.shards import Shard, partitions_of
from launcher.estimator.streaming.formats.storage.remote import system_of
from launcher.estimator.streaming.formats.storage.unpacking import PACKED
from launcher.estimator.streaming.reading.engine import Engine
from launcher.estimator.streaming.reading.leases import ShardLeases

WAIT_S = 1.0
GROUPS_AT_ONCE = 8
PARQUET_ROWS = 65_536

Advance = Callable[[int], None]


def write_groups(
    path: str, parts: Iterable[Mapping[str, Values]], spec: FeatureSpec, *, rows: int = ROWS_PER_GROUP
) -> int:
    """Columns, part after part, as a TFRecord file of row groups, gzipped if its name ends in ``.gz``; gives the rows.

    The last group of each part may be smaller. The file appears when it is complete.
    """

    def write(draft: str) -> int:
        total = 0
        with tf.io.TFRecordWriter(draft, "GZIP" if path.endswith(".gz") else "") as writer:
            for part in parts:
                total += len(part[spec.columns[0].name])
                for group in encode_groups(part, spec, rows=rows):
                    writer.write(group)
        return total

    return _whole(path, write)


def write_parquet(
    path: str, parts: Iterable[Mapping[str, Values]], spec: FeatureSpec, *, rows: int = PARQUET_ROWS
) -> int:
    """As :func:`write_groups`, a local Parquet file with row groups of ``rows``."""
    from launcher.estimator.streaming.formats.arrow.writing import write_parquet_rows

    return _whole(path, lambda draft: write_parquet_rows(draft, parts, spec, rows=rows))


def _whole(path: str, write: Callable[[str], int]) -> int:
    """The file appears when it is complete, or not at all."""
    draft = f"{path}.tmp"
    try:
        total = write(draft)
        tf.io.gfile.rename(draft, path, overwrite=True)
    except BaseException:
        if tf.io.gfile.exists(draft):
            tf.io.gfile.remove(draft)
        raise
    return total


def write_spec(data_path: str, spec: FeatureSpec) -> str:
    """Writes the feature spec beside a data file; gives its path."""
    place = spec_path(data_path)
    system_of(place).write(place, to_json(spec))
    return place


def convert_file(
    source: str,
    target: str,
    *,
    spec: FeatureSpec | None = None,
    rows: int | None = None,
    skip: Callable[[BadRecord], None] | None = None,
    advance: Advance = lambda done: None,
) -> int:
    """One file to one file of row groups, or of Parquet where its name ends in ``.parquet``; gives the rows.

    ``rows``: of a group, None for what suits the format. ``spec``: None to infer it from the source.

    ``skip``: told each bad record, which is left out; None to raise BadDataError. ``advance``: told rows as they are
    written.
    """
    spec = spec or find_spec(source, find_format(source))
    if target.endswith(".parquet"):
        rows = rows or PARQUET_ROWS
        parts = read_columns(source, spec, batch=rows, skip=skip)
        return write_parquet(target, _watched(parts, spec, advance), spec, rows=rows)
    rows = rows or ROWS_PER_GROUP
    parts = read_columns(source, spec, batch=rows * GROUPS_AT_ONCE, skip=skip)
    return write_groups(target, _watched(parts, spec, advance), spec, rows=rows)


def read_columns(
    source: str, spec: FeatureSpec, *, batch: int, skip: Callable[[BadRecord], None] | None = None
) -> Generator[dict[str, Values], None, None]:
    """The rows of a file in order, as columns of up to ``batch`` rows. Raises BadDataError."""
    options = ReadingOptions(
        spec=spec,
        format=find_format(source),
        batch_examples=batch,
        shuffle_rows=0,
        cores=len(os.sched_getaffinity(0)),
        on_bad_record="skip" if skip else "fail",
        on_skipped=skip or (lambda bad: None),
    )
    engine = Engine(ShardLeases([Shard(path=source)]), options)
    try:
        while not engine.is_over:
            found = engine.next_rows(WAIT_S)
            for start in range(0, 0 if found is None else len(found), batch):
                assert found is not None
                yield columns_of(found.cut(start, start + batch), spec)
    finally:
        engine.close()


def columns_of(rows: Rows, spec: FeatureSpec) -> dict[str, Values]:
    """Rows as columns by name, in the spec's order; uint64 as such."""
    scalars: dict[str, Any] = dict(zip(stacked(spec, "ints"), rows.ints, strict=False))
    scalars |= dict(zip(stacked(spec, "floats"), rows.floats, strict=True))
    found = {c.name: scalars[c.name] if c.name in scalars else rows.others[c.name] for c in spec.columns}
    return {c.name: _unsigned(found[c.name]) if c.kind == "uint64" else found[c.name] for c in spec.columns}


def _unsigned(values: Values) -> Values:
    if isinstance(values, Ragged):
        return Ragged(values.values.view(np.uint64), values.lengths)
    return values.view(np.uint64)


def target_of(source: str, folder: str, *, to: Literal["row_groups", "parquet"] = "row_groups") -> str:
    """Where a source's rows go: its name, as ``.tfrecord`` or ``.parquet``, in ``folder``, after its partitions."""
    folders = (f"{key}={value}." for key, value in partitions_of(source).items())
    name = "".join(folders) + re.sub(PACKED, "", source.rpartition("/")[2])
    stem = re.sub(r"\.(csv|tsv|parquet)$", "", name)
    if to == "parquet":
        stem = re.sub(r"\.tfrecords?$", "", stem)
    suffix = ".parquet" if to == "parquet" else "" if ".tfrecord" in stem else ".tfrecord"
    target: str = tf.io.gfile.join(folder, f"{stem}{suffix}")
    return target


def check_targets(sources: Iterable[str], targets: Iterable[str]) -> None:
    """Raises StreamingError where two sources would go to one file, or a source onto itself."""
    seen: dict[str, str] = {}
    for source, target in zip(sources, targets, strict=True):
        if target in seen or os.path.abspath(target) == os.path.abspath(source):  # noqa: PTH100  may be a URL
            other = seen.get(target, "itself")
            raise StreamingError(f"{source} and {other} would both be written to {target}; choose another --out")
        seen[target] = source


def _watched(parts: Iterable[dict[str, Values]], spec: FeatureSpec, advance: Advance) -> Iterator[dict[str, Values]]:
    for part in parts:
        yield part
        advance(len(part[spec.columns[0].name]))
