"""Small data files for tests of streaming, and reading them."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec
from launcher.estimator.streaming.formats.framing import frame
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.formats.row_groups import encode_groups, spec_of_arrays
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.reading.dataset import read
from launcher.estimator.streaming.reading.leases import ShardLeases

ID_SPEC = FeatureSpec(columns=(Column(name="id"), Column(name="label")))


def example(**features: object) -> bytes:
    """A serialized tf.Example; a feature is a value or a list of int, float, str."""
    made = {}
    for name, given in features.items():
        values = given if isinstance(given, list) else [given]
        if isinstance(values[0], str):
            made[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() for v in values]))
        elif isinstance(values[0], float):
            made[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
        else:
            made[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    serialized: bytes = tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()
    return serialized


def write_records(path: Path, records: Sequence[bytes]) -> str:
    """A TFRecord file, gzipped if its name ends in .gz."""
    data = b"".join(map(frame, records))
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def write_ids(path: Path, ids: Sequence[int]) -> str:
    """One tf.Example a record: id, and label = id % 2."""
    return write_records(path, [example(id=i, label=i % 2) for i in ids])


def write_groups(path: Path, columns: Mapping[str, Any], *, rows: int = 10) -> str:
    return write_records(path, encode_groups(columns, spec_of_arrays(columns), rows=rows))


def id_columns(ids: Sequence[int]) -> dict[str, Any]:
    return {"id": np.array(ids), "label": np.array(ids) % 2}


def options(**changes: Any) -> ReadingOptions:
    return ReadingOptions(
        **{"spec": ID_SPEC, "format": "example", "batch_examples": 4, "seed": 7, "cores": 2} | changes
    )


def batches(
    files: Sequence[str | Shard], opts: ReadingOptions, leases: ShardLeases | None = None
) -> list[dict[str, Any]]:
    """Everything that ``read`` gives for these files."""
    shards = [Shard(path=file) if isinstance(file, str) else file for file in files]
    return list(read(lambda: leases or ShardLeases(shards), opts).as_numpy_iterator())


def ids_of(found: Sequence[Mapping[str, Any]]) -> list[int]:
    return [int(i) for batch in found for i in batch["id"]]
