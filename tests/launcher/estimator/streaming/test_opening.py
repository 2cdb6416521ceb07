"""One call on whatever is there: format and types are found, and a canned Estimator trains on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from launcher.estimator.compat import install
from launcher.estimator.streaming import Folder, Stream
from launcher.estimator.streaming.errors import SourceError, StreamingError
from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec, from_json, to_json
from launcher.estimator.streaming.queue import queue as queues
from launcher.estimator.streaming.tools.cli import main
from tests.launcher.estimator.streaming import newcomer
from tests.launcher.estimator.streaming.data import batches, example, write_ids, write_records

install()
pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[4]


def first_batch(stream: Stream, tmp_path: Path) -> Any:
    with tf.Graph().as_default():
        return stream.input_fn(tf.estimator.RunConfig(model_dir=str(tmp_path / "model")))


def test_labels_are_a_tensor_a_dict_or_refused(tmp_path: Path) -> None:
    path = write_ids(tmp_path / "a.tfrecord", range(9))
    features, label = first_batch(Stream(path, labels="label"), tmp_path)
    assert set(features) == {"id"} and label.dtype == tf.int64
    features, labels = first_batch(Stream(path, labels=["label"]), tmp_path)
    assert set(features) == {"id"} and set(labels) == {"label"}
    assert set(first_batch(Stream(path), tmp_path)) == {"id", "label"}
    with pytest.raises(SourceError, match="no column 'click' to learn from; it has id, label"):
        first_batch(Stream(path, labels="click"), tmp_path)
    with pytest.raises(StreamingError, match="batch_examples: say that to what reads"):
        Stream(path, lambda leases: None, batch_examples=3)


def test_what_is_found_is_written_beside_the_data_and_obeyed(tmp_path: Path) -> None:
    write_records(tmp_path / "a.tfrecord", [example(x=i, many=list(range(i))) for i in range(1, 4)])
    stream = Stream(Folder(path=str(tmp_path)), batch_examples=2, shuffle_rows=0)
    assert stream.reading.batch_examples == 2 and stream.reading.format == "example"
    beside = tmp_path / "feature_spec.json"
    assert from_json(beside.read_text(), "") == stream.spec
    assert isinstance(first_batch(stream, tmp_path)["many"], tf.sparse.SparseTensor)
    beside.write_text(to_json(FeatureSpec(columns=(Column(name="x", hash=10),))))
    assert Stream(str(tmp_path)).spec.columns == (Column(name="x", hash=10),)


def test_feature_columns_are_classes_or_numbers() -> None:
    spec = FeatureSpec(
        columns=(
            Column(name="text", kind="bytes"),
            Column(name="id", hash=50),
            Column(name="large", kind="uint64", vocabulary=(2**64 - 1, 3)),
            Column(name="x", kind="float32"),
            Column(name="pair", kind="float32", length=2),
            Column(name="list", length=None),
            Column(name="click"),
        )
    )
    linear, deep = spec.feature_columns(without=["click"])
    assert [column.name for column in linear] == ["text", "id", "large", "x", "pair"] and len(deep) == 5
    assert [column.num_buckets for column in linear[:3]] == [10_000, 50, 3]
    assert linear[2].vocabulary_list == (-1, 3) and linear[4].shape == (2,)
    assert set(spec.parsing(without=["click"])) == {"text", "id", "large", "x", "pair", "list"}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"type": "float32", "length": 1, "hash": 5}, "hash 5"),
        ({"type": "int64", "length": 1, "hash": 5, "vocabulary": [1]}, "hash 5"),
        ({"type": "int64", "length": 1, "vocabulary": ["a"]}, "'a' in its vocabulary is no int64"),
        ({"type": "int64", "length": 1, "defualt": 1}, "no such key: defualt"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(StreamingError, match=says):
        from_json(json.dumps({"columns": {"x": entry}}), "feature_spec.json")


@pytest.mark.parametrize("rows", [3000, pytest.param(200_000, marks=pytest.mark.soak)])
def test_the_newcomers_file_and_its_twin_are_read_back_as_they_were(tmp_path: Path, rows: int) -> None:
    found = newcomer.rows(rows)
    for path in newcomer.write(tmp_path, found):
        stream = Stream(str(path.parent), labels="click", batch_examples=500, shuffle_rows=0)
        kinds = {column.name: (column.kind, column.default) for column in stream.spec.columns}
        assert kinds == {
            "user": ("uint64", None),
            "city": ("bytes", None),
            "age": ("int64", 0),
            "price": ("float32", 0),
            "title": ("bytes", None),
            "click": ("int64", None),
        }
        read = batches([str(path)], stream.reading)
        columns = {name: [value for batch in read for value in batch[name]] for name in kinds}
        back = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        assert len(back) == len(found)
        for row, was in zip(back, found, strict=True):
            assert int(row["user"]) % 2**64 == was["user"]
            assert (row["city"].decode(), row["title"].decode()) == (was["city"], was["title"])
            assert (row["age"], row["price"], row["click"]) == (was["age"] or 0, was["price"] or 0, was["click"])


def test_the_example_trains_a_canned_estimator_on_it(tmp_path: Path, twin: str = "parquet") -> None:
    """In one process; ``tests/e2e/test_streaming.py`` does so on a cluster, with CSV."""
    newcomer.write(tmp_path / "train", newcomer.rows(2000))
    newcomer.write(tmp_path / "eval", newcomer.rows(200, seed=1))
    model = tmp_path / "model"
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "table.py", tmp_path / "train" / twin, tmp_path / "eval" / twin],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"TF_CONFIG": json.dumps({"model_dir": str(model)})},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    trained = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(model))).get_tensor("streaming/queue")
    assert queues.decode(trained).counts.examples == 3 * 2000
    assert list((model / "eval").iterdir())


@pytest.mark.parametrize("format", ["parquet", "csv", "tfrecord"])
def test_the_names_of_folders_are_columns(tmp_path: Path, format: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same names of files in several folders, as Hive and Spark write them."""
    none = "__HIVE_DEFAULT_PARTITION__"
    days = {"dt=2026-01-01/hour=3": [1, 2], "dt=2026-01-02/hour=11": [3], f"dt=2026-01-02/hour={none}": [4]}
    for folder, ids in days.items():
        path = tmp_path / "in" / folder / f"part-0.{format}"
        path.parent.mkdir(parents=True)
        if format == "parquet":
            pq.write_table(pa.table({"id": ids}), path)
        elif format == "csv":
            path.write_text("id\n" + "".join(f"{i}\n" for i in ids))
        else:
            write_records(path, [example(id=i) for i in ids])
    stream = Stream(str(tmp_path / "in"), batch_examples=3)
    wanted = [(1, b"2026-01-01", 3), (2, b"2026-01-01", 3), (3, b"2026-01-02", 11), (4, b"2026-01-02", 0)]
    kinds = [(c.name, c.kind, c.default, c.partition) for c in stream.spec.columns]
    assert kinds == [("id", "int64", None, False), ("dt", "bytes", None, True), ("hour", "int64", 0, True)]
    assert (tmp_path / "in" / "feature_spec.json").exists()
    found = batches([str(path) for path in sorted((tmp_path / "in").rglob(f"*.{format}"))], stream.reading)
    assert sorted(row for b in found for row in zip(b["id"], b["dt"], b["hour"], strict=True)) == wanted

    assert main(["convert", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--to", "parquet"]) == 0
    capsys.readouterr()
    assert main(["head", "--json", str(tmp_path / "out")]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted((row["id"], row["dt"].encode(), row["hour"]) for row in rows) == wanted

    stray = tmp_path / "in" / f"part-1.{format}"
    stray.write_bytes(next((tmp_path / "in").rglob(f"part-0.{format}")).read_bytes())
    with pytest.raises(tf.errors.OpError, match=f"{stray}: no folder says dt="):
        batches([str(stray)], stream.reading)
