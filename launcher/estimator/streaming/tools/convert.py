"""CSV, or TFRecord with a tf.Example a record, to row groups, with the feature spec beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.formats.columns import Rows, Values
from launcher.estimator.streaming.formats.feature_spec import FeatureSpec, spec_path, to_json
from launcher.estimator.streaming.formats.framing import BadRecord
from launcher.estimator.streaming.formats.inference import find_format, find_spec
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.formats.parser import scalar_names
from launcher.estimator.streaming.formats.row_groups import ROWS_PER_GROUP, encode_groups
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.reading.engine import Engine
from launcher.estimator.streaming.reading.leases import ShardLeases

WAIT_S = 1.0
GROUPS_AT_ONCE = 8

Advance = Callable[[int], None]


def write_groups(
    path: str, parts: Iterable[Mapping[str, Values]], spec: FeatureSpec, *, rows: int = ROWS_PER_GROUP
) -> int:
    """Columns, part after part, as a TFRecord file of row groups, gzipped if its name ends in ``.gz``; gives the rows.

    The last group of each part may be smaller. The file appears when it is complete.
    """
    draft = f"{path}.tmp"
    total = 0
    try:
        with tf.io.TFRecordWriter(draft, "GZIP" if path.endswith(".gz") else "") as writer:
            for part in parts:
                total += len(part[spec.columns[0].name])
                for group in encode_groups(part, spec, rows=rows):
                    writer.write(group)
        tf.io.gfile.rename(draft, path, overwrite=True)
    except BaseException:
        if tf.io.gfile.exists(draft):
            tf.io.gfile.remove(draft)
        raise
    return total


def write_spec(data_path: str, spec: FeatureSpec) -> str:
    """Writes the feature spec beside a data file; gives its path."""
    place = spec_path(data_path)
    with tf.io.gfile.GFile(f"{place}.tmp", "w") as file:
        file.write(to_json(spec))
    tf.io.gfile.rename(f"{place}.tmp", place, overwrite=True)
    return place


def convert_file(
    source: str,
    target: str,
    *,
    spec: FeatureSpec | None = None,
    rows: int = ROWS_PER_GROUP,
    skip: Callable[[BadRecord], None] | None = None,
    advance: Advance = lambda done: None,
) -> int:
    """One file to one file of row groups; gives the rows. ``spec``: None to infer it from the source.

    ``skip``: told each bad record, which is left out; None to raise BadDataError. ``advance``: told rows as they are
    written.
    """
    spec = spec or find_spec(source, find_format(source))
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
    """Rows as columns by name, in the spec's order."""
    scalars: dict[str, Any] = dict(zip(scalar_names(spec, "int64"), rows.ints, strict=False))
    scalars |= dict(zip(scalar_names(spec, "float32"), rows.floats, strict=True))
    return {c.name: scalars[c.name] if c.name in scalars else rows.others[c.name] for c in spec.columns}


def target_of(source: str, folder: str) -> str:
    """Where a source's row groups go: its name, as ``.tfrecord``, in ``folder``."""
    name = source.rpartition("/")[2].removesuffix(".gz")
    stem = name.removesuffix(".csv") if name.endswith(".csv") else name
    target: str = tf.io.gfile.join(folder, stem if ".tfrecord" in stem else f"{stem}.tfrecord")
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
