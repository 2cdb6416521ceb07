"""Parquet: read as it is written by others and by us, in ranges of rows, and named where it is not sound."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec
from launcher.estimator.streaming.formats.framing import BadRecord
from launcher.estimator.streaming.formats.index import list_shards
from launcher.estimator.streaming.formats.inference import find_format, infer_spec
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.reading.leases import ShardLeases
from launcher.estimator.streaming.tools.cli import main
from tests.launcher.estimator.streaming.data import batches, id_columns, ids_of, options, write_groups, write_ids

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

LARGE = [0, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1]


def table(rows: int = 5) -> pa.Table:
    """A column of each type that people have."""
    numbers = np.arange(rows)
    texts = pa.array([f"文字 {i % 2}" for i in range(rows)])
    return pa.table(
        {
            "i8": pa.array(numbers % 100, pa.int8()),
            "u64": pa.array([LARGE[i % 5] for i in range(rows)], pa.uint64()),
            "flag": pa.array([bool(i % 2) for i in range(rows)]),
            "f32": pa.array(numbers / 4, pa.float32()),
            "f64": pa.array(numbers / 8, pa.float64()),
            "text": texts,
            "classes": texts.dictionary_encode(),
            "raw": pa.array([bytes([0, 255, i % 256]) for i in range(rows)], pa.binary()),
            "many": pa.array([list(range(i % 4)) for i in range(rows)], pa.list_(pa.int32())),
            "words": pa.array([[f"w{j}" for j in range(i % 3)] for i in range(rows)], pa.list_(pa.string())),
            "pair": pa.array([[i, -i] for i in range(rows)], pa.list_(pa.float32(), 2)),
            "day": pa.array(numbers.astype(np.int32), pa.date32()),
        }
    )


def rows_of(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for batch in found:
        for place in range(len(batch["_row"])):
            row = {}
            for name, values in batch.items():
                value = values[place]
                row[name] = value.tolist() if hasattr(value, "tolist") else value
            rows.append(row)
    return rows


def infer(path: Path) -> tuple[FeatureSpec, list[str]]:
    said: list[str] = []
    return infer_spec(str(path), "parquet", notice=said.append), said


@pytest.mark.parametrize("compression", ["snappy", "lz4", "zstd", "gzip", "none"])
@pytest.mark.parametrize("rows_of_group", [3, 100_000])
def test_every_type_is_read_as_it_was_written(tmp_path: Path, compression: str, rows_of_group: int) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table(10), path, compression=compression, row_group_size=rows_of_group)
    spec, said = infer(path)
    assert [text.partition(":")[0] for text in said] == ["f64", "day"]
    found = rows_of(batches([str(path)], options(format="parquet", spec=spec, shuffle_rows=0)))
    assert [row.pop("_row") for row in found] == list(range(10))
    wanted = table(10).to_pylist()
    for row, was in zip(found, wanted, strict=True):
        assert row.pop("_lease") == 0
        assert (row.pop("text").decode(), row.pop("classes").decode()) == (was.pop("text"), was.pop("classes"))
        assert [word.decode() for word in row.pop("words")] == was.pop("words")
        assert row.pop("u64") % 2**64 == was.pop("u64")
        assert row.pop("day") == (was.pop("day") - table().column("day")[0].as_py()).days
        assert row == {**was, "flag": int(was["flag"])}


def test_columns_are_chosen_and_shuffled_rows_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(id_columns(range(20_000)) | {"other": ["x"] * 20_000}), path, row_group_size=7_000)
    found = ids_of(batches([str(path)], options(format="parquet", batch_examples=512, shuffle_rows=4096)))
    assert sorted(found) == list(range(20_000)) and found != sorted(found)
    moved = np.abs(np.array(found) - np.arange(20_000))
    assert np.median(moved) > 1000


@pytest.mark.parametrize("groups", [[10], [3, 3, 3, 3], [1] * 17, [100, 1, 1, 50], [9, 10, 11]])
def test_shards_are_bounded_ranges_that_hold_each_row_once(tmp_path: Path, groups: list[int]) -> None:
    path, at = tmp_path / "a.parquet", 0
    with pq.ParquetWriter(path, pa.schema({"id": pa.int64(), "label": pa.int64()})) as writer:
        for rows in groups:
            writer.write_table(pa.table({k: pa.array(v) for k, v in id_columns(range(at, at + rows)).items()}))
            at += rows
    shards = list_shards([str(path)], slice_records=10)
    assert all(shard.records is None or 0 < shard.records <= 10 for shard in shards)
    leases = ShardLeases(shards)
    found = batches([], options(format="parquet"), leases)
    assert sorted(ids_of(found)) == list(range(at)) == sorted(int(row) for batch in found for row in batch["_row"])
    assert sum(leases.rows.values()) == at and len(leases.rows) == len(shards)


def test_convert_there_and_back_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out, back = tmp_path / "a.parquet", tmp_path / "groups", tmp_path / "back"
    pq.write_table(table(30), source)
    assert main(["convert", str(source), "--out", str(out)]) == 0
    assert find_format(str(out / "a.tfrecord")) == "row_groups"
    assert main(["convert", str(out), "--out", str(back), "--to", "parquet", "--rows", "7"]) == 0
    assert main(["verify", str(back)]) == 0
    capsys.readouterr()
    heads = []
    for path in (source, out / "a.tfrecord", back / "a.parquet"):
        assert main(["count", str(path)]) == 0
        assert capsys.readouterr().out.split()[0] == "30"
        assert main(["head", "--json", "-n", "30", str(path)]) == 0
        heads.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert heads[0] == heads[1] == heads[2]
    assert [row["u64"] for row in heads[0]][:5] == LARGE
    assert pq.ParquetFile(back / "a.parquet").metadata.num_row_groups == 5


def test_a_default_stands_for_what_is_missing_and_without_one_the_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [0, 1, None, 3], "label": pa.array([1, None, 1, 0], pa.float32())}), path)
    spec, said = infer(path)
    assert [column.default for column in spec.columns] == [0, 0]
    assert "id: 1 of 4 values are missing" in said[0] and "label: 1 of 4" in said[1]
    assert ids_of(batches([str(path)], options(format="parquet", spec=spec, shuffle_rows=0))) == [0, 1, 0, 3]

    strict = FeatureSpec(columns=(Column(name="id"), Column(name="label", kind="float32", default=-1)))
    with pytest.raises(tf.errors.OpError, match=f"{path}: record 2: column 'id' has no value; give it a default"):
        batches([str(path)], options(format="parquet", spec=strict))
    told: list[BadRecord] = []
    leases = ShardLeases([Shard(path=str(path))])
    skipping = options(format="parquet", spec=strict, on_bad_record="skip", on_skipped=told.append)
    assert sorted(ids_of(batches([], skipping, leases))) == [0, 1, 3]
    assert [bad.record for bad in told] == [2] and leases.rows == {0: 3}


def damaged(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[-40:]
    elif how == "footer":
        data[-200:-8] = bytes([255]) * 192
    elif how == "page":
        data[len(data) // 4] ^= 1
    else:
        data[:4] = b"text"
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("cut", "its footer cannot be read"),
        ("footer", "its footer cannot be read"),
        ("page", "record 0: cannot be read further: .*(CRC|checksum)"),
        ("start", "at byte 0: this is not a Parquet file"),
    ],
)
def test_damage_is_one_error_that_names_the_file(
    tmp_path: Path, how: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, good = tmp_path / "a.parquet", tmp_path / "b.parquet"
    columns = pa.table({k: pa.array(v) for k, v in id_columns(range(1000)).items()})
    for each in (path, good):
        pq.write_table(columns, each, write_page_checksum=True, compression="none", use_dictionary=False)
    damaged(path, how)
    with pytest.raises(tf.errors.OpError, match=f"BadDataError: {path}: {says}"):
        batches([str(path)], options(format="parquet"))
    told: list[BadRecord] = []
    skipping = options(format="parquet", on_bad_record="skip", on_skipped=told.append)
    assert len(ids_of(batches([str(path), str(good)], skipping))) == 1000 and len(told) == 1
    assert main(["verify", str(good)]) == 0
    if how != "start":
        assert main(["verify", str(path)]) == 1
        assert f"{path}: {says.partition('.*')[0]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ({"id": ["a"], "label": [1]}, "column 'id' is string in this file; the feature spec says int64"),
        ({"id": [0.5], "label": [1]}, "column 'id' is double in this file"),
        ({"id": [1]}, "it has no column 'label'; it has id"),
    ],
)
def test_a_file_with_other_columns_is_named(tmp_path: Path, column: dict[str, Any], says: str) -> None:
    pq.write_table(pa.table({k: pa.array(v) for k, v in id_columns(range(3)).items()}), tmp_path / "a.parquet")
    pq.write_table(pa.table(column), tmp_path / "b.parquet")
    with pytest.raises(tf.errors.OpError, match=f"{tmp_path}/b.parquet: {says}"):
        batches([str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")], options(format="parquet", shuffle_rows=0))


def test_each_format_says_when_it_is_given_the_other(tmp_path: Path) -> None:
    parquet = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [1], "label": [1]}), parquet)
    with pytest.raises(tf.errors.OpError, match="this is a Parquet file, but it is read as TFRecord"):
        batches([str(parquet)], options(format="example"))
    with pytest.raises(tf.errors.OpError, match="this is a Parquet file, but it is read as CSV"):
        batches([str(parquet)], options(format="csv"))
    with pytest.raises(tf.errors.OpError, match="this is not a Parquet file"):
        batches([write_ids(tmp_path / "a.tfrecord", range(3))], options(format="parquet"))
    renamed = parquet.rename(tmp_path / "a.data")
    assert find_format(str(renamed)) == "parquet"
    assert find_format(write_groups(tmp_path / "g.tfrecord", id_columns(range(3)))) == "row_groups"


def test_a_file_without_rows_is_sound_and_gives_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As an empty partition has it; without any row group, and with one of no rows."""
    rows = table().select(["i8"])
    pq.write_table(rows, tmp_path / "a.parquet")
    pq.write_table(rows.slice(0, 0), tmp_path / "b.parquet")
    with pq.ParquetWriter(tmp_path / "c.parquet", rows.schema) as writer:
        writer.write_table(rows.slice(0, 0))
    spec = FeatureSpec(columns=(Column(name="i8"),))
    paths = [str(tmp_path / f"{name}.parquet") for name in "abc"]
    read = batches(paths, options(spec=spec, format="parquet", shuffle_rows=0))
    assert np.concatenate([np.asarray(batch["i8"]).ravel() for batch in read]).tolist() == [0, 1, 2, 3, 4]
    assert main(["verify", str(tmp_path)]) == 0
    assert "5 examples in 3 files are sound" in capsys.readouterr().err


def test_several_files_make_one_spec(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{name}.parquet") for name in "abc"]
    pq.write_table(pa.table({"x": pa.array([1, 2], pa.int32()), "y": [1, 2]}), paths[0])
    pq.write_table(pa.table({"x": [0.5, None], "y": pa.array([2**64 - 1, 1], pa.uint64())}), paths[1])
    said: list[str] = []
    spec = infer_spec(paths[:2], "parquet", notice=said.append)
    assert [(c.name, c.kind, c.default) for c in spec.columns] == [("x", "float32", 0), ("y", "uint64", None)]
    found = rows_of(batches(paths[:2], options(format="parquet", spec=spec, shuffle_rows=0)))
    assert [(row["x"], row["y"]) for row in found] == [(1, 1), (2, 2), (0.5, -1), (0, 1)]
    pq.write_table(pa.table({"x": ["text"], "y": [1]}), paths[2])
    with pytest.raises(Exception, match=f"{paths[2]}: column 'x' is of another type"):
        infer_spec(paths, "parquet")


def test_pyarrow_is_in_no_process_that_forks() -> None:
    """Its threads do not survive a fork."""
    program = (
        "import sys\n"
        "import launcher.estimator, launcher.estimator.streaming as streaming\n"
        "import launcher.estimator.streaming.stream, launcher.estimator.streaming.reading.dataset\n"
        "streaming.read, streaming.write_groups, streaming.infer_spec\n"
        "sys.exit('pyarrow' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
