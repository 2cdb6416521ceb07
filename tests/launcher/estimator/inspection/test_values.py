"""Values of two checkpoints are compared a piece at a time: as the whole would be, in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import google_crc32c
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import tensor_bundle_pb2

from launcher.estimator.inspection import bundle, checkpoints
from launcher.estimator.inspection.value_differences import difference, value_differences

v1 = tf.compat.v1
pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def save(folder: Path, change: float = 0.0, *, slices: int = 3) -> Path:
    """A checkpoint with a variable of each kind; ``change`` is added to one number of each."""
    numbers = np.arange(1000, dtype=np.float64)
    numbers[[3, 7]] = np.nan
    numbers[500] += change
    with tf.Graph().as_default(), v1.Session() as session:
        for dtype in (tf.float32, tf.float64, tf.bfloat16, tf.float16, tf.int64, tf.uint8, tf.complex64):
            values = numbers.astype(np.complex64) if dtype.is_complex else np.nan_to_num(numbers) % 200
            values = numbers if dtype in (tf.float32, tf.float64) else values
            v1.get_variable(dtype.name, initializer=tf.cast(tf.constant(values), dtype), use_resource=True)
        v1.get_variable("large", initializer=tf.constant([2**60 + int(change)], tf.int64), use_resource=True)
        v1.get_variable("words", initializer=tf.constant(["a", f"b{change}"]))
        v1.get_variable("scalar", initializer=tf.constant(float(change)), use_resource=True)
        v1.get_variable("none", shape=[0, 4], initializer=v1.zeros_initializer(), use_resource=True)
        v1.get_variable(
            "partitioned",
            [10, 3],
            initializer=v1.constant_initializer(1.0 + change),
            partitioner=v1.fixed_size_partitioner(slices),
            use_resource=True,
        )
        session.run(v1.global_variables_initializer())
        return Path(v1.train.Saver().save(session, str(folder / "model"), global_step=1))


def compared(first: Path, second: Path) -> dict[str, str]:
    models = [checkpoints.checkpoint(prefix) for prefix in (first, second)]
    return {item.name: item.after for item in value_differences(*models)}


def test_pieces_are_what_tensorflow_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "PIECE_VALUES", 7)
    prefix = save(tmp_path)
    reader, index = checkpoints.open_reader(prefix), bundle.Bundle(prefix)
    for name in ("float32", "float64", "bfloat16", "float16", "int64", "uint8", "complex64", "large", "scalar", "none"):
        places = index.places(name)
        pieces = [piece for place in places.values() for piece in place.pieces()]
        whole = reader.get_tensor(name)
        joined = np.concatenate(pieces) if pieces else np.zeros(0)
        assert np.array_equal(joined, whole.ravel(), equal_nan=name != "bfloat16")
        assert max((piece.size for piece in pieces), default=0) <= 7
    assert len(index.places("partitioned")) == 3
    assert sum(place.values for place in index.places("partitioned").values()) == 30
    with pytest.raises(ValueError, match="no tensor of numbers"):
        index.places("words")


@pytest.mark.parametrize("piece_values", [1, 7, 1000, 4 << 20])
def test_differences_are_those_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_values: int) -> None:
    monkeypatch.setattr(bundle, "PIECE_VALUES", piece_values)
    first, second = save(tmp_path / "a"), save(tmp_path / "b", 1.0)
    assert compared(first, save(tmp_path / "c")) == {}
    found = compared(first, second)
    plain = ("float32", "float64", "float16", "int64", "uint8", "complex64")
    assert {found[name] for name in plain} == {"1 of 1,000 values, by 1 at most"}
    assert found["bfloat16"].startswith("1 of 1,000 values") and found["words"] == "other values"
    assert found["large"].startswith("1 of 1 values"), "as float64 they would be the same"
    assert found["scalar"] == "1 of 1 values, by 1 at most"
    assert found["partitioned"] == "30 of 30 values, by 1 at most"
    assert compared(first, save(tmp_path / "d", 1.0, slices=2))["partitioned"] == found["partitioned"]


def test_a_file_that_ends_early_is_a_problem_and_no_difference(tmp_path: Path) -> None:
    first, second = save(tmp_path / "a"), save(tmp_path / "b", 1.0)
    data = next(second.parent.glob("model-1.data-*"))
    os.truncate(data, 100)
    models = [checkpoints.checkpoint(prefix) for prefix in (first, second)]
    assert models[1].problems and "float32" not in {item.name for item in value_differences(*models)}


def test_a_number_and_none_differ_by_nan() -> None:
    assert difference([1.0, np.nan], [np.nan, np.nan]) == "1 of 2 values, by nan at most"
    assert difference(np.array([0], np.uint8), np.array([255], np.uint8)) == "1 of 1 values, by 255 at most"


# --- large ones ------------------------------------------------------------------------------------------------------


def sparse(prefix: Path, shapes: Sequence[int], value_at: int | None = None) -> Path:
    """A checkpoint of zeros that takes no room on the disk, but for one number."""
    rows = [(b"", tensor_bundle_pb2.BundleHeaderProto(num_shards=1, version={"producer": 1}).SerializeToString())]
    offset = 0
    for number, count in enumerate(shapes):
        entry = tensor_bundle_pb2.BundleEntryProto(dtype=types_pb2.DT_FLOAT, offset=offset, size=4 * count)
        entry.shape.dim.add(size=count)
        rows.append((f"v{number}".encode(), entry.SerializeToString()))
        offset += 4 * count
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(rows))
    with prefix.with_name(f"{prefix.name}.data-00000-of-00001").open("wb") as data:
        data.truncate(offset)
        if value_at is not None:
            data.seek(value_at)
            data.write(np.float32(2.5).tobytes())
    return prefix


def varint(number: int) -> bytes:
    made = b""
    while number > 127:
        made, number = made + bytes([number & 127 | 128]), number >> 7
    return made + bytes([number])


def block(rows: Sequence[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in rows)
    return body + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def table(rows: Sequence[tuple[bytes, bytes]]) -> bytes:
    """As LevelDB has it."""
    made, handles = b"", []
    for each in (block(rows), block([]), b""):
        body = each or block([(rows[-1][0], handles[0])])
        handles.append(varint(len(made)) + varint(len(body)))
        crc = google_crc32c.value(body + b"\0")
        masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        made += body + b"\0" + masked.to_bytes(4, "little")
    return made + (handles[1] + handles[2]).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def inspected(first: Path, second: Path) -> tuple[str, int]:
    """What tflaunch says, and the most memory that it took, in MiB."""
    program = (
        "import resource, sys; from launcher.cli.main import run; code = run(sys.argv[1:]);"
        "print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "inspect", str(first), str(second)], capture_output=True, text=True, check=True
    )
    return done.stdout, int(done.stderr.split()[-1])


def test_one_number_of_many_is_found(tmp_path: Path) -> None:
    count = 6 << 20  # more than a piece
    first = sparse(tmp_path / "a" / "m-1", [count, 5])
    second = sparse(tmp_path / "b" / "m-1", [count, 5], value_at=4 * (count - 1))
    assert compared(first, second) == {"v0": f"1 of {count:,} values, by 2.5 at most"}


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_eight_gib_each_in_less_than_two(tmp_path: Path) -> None:
    shapes = [1 << 31, 1000]
    first = sparse(tmp_path / "a" / "m-1", shapes)
    second = sparse(tmp_path / "b" / "m-1", shapes, value_at=4 * (1 << 31) - 4)
    small = inspected(sparse(tmp_path / "c" / "m-1", [10]), sparse(tmp_path / "d" / "m-1", [10]))[1]
    said, most_mib = inspected(first, second)
    assert "1 of 2,147,483,648 values, by 2.5 at most" in said
    assert most_mib < 2048 and most_mib - small < 1024, (small, most_mib)
