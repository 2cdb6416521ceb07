"""``s3://``, against moto's server on loopback: files, folders, globs, lists, a watched folder, what is not there."""

from __future__ import annotations

import gzip
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from launcher.estimator.streaming import Stream
from launcher.estimator.streaming.errors import BadDataError, SourceError
from launcher.estimator.streaming.formats.index import list_shards
from launcher.estimator.streaming.formats.storage.files import first_bytes
from launcher.estimator.streaming.formats.storage.sources import list_files
from launcher.estimator.streaming.queue.folder import list_folder
from launcher.estimator.streaming.tools.cli import main
from tests.launcher.estimator.streaming.data import batches, example, ids_of, write_records

START_S = 60.0
KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fs.S3FileSystem]:
    """The bucket ``data`` on a server of its own, to which this process's variables lead."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        address = f"127.0.0.1:{found.getsockname()[1]}"
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", address.rpartition(":")[2]]
    with (tmp_path_factory.mktemp("s3") / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": f"http://{address}"}).items():
            patch.setenv(name, value)
        try:
            ends_at = time.monotonic() + START_S
            while not answers(address):
                assert time.monotonic() < ends_at and process.poll() is None
            made = fs.S3FileSystem(endpoint_override=address, scheme="http", allow_bucket_creation=True)
            made.create_dir("data")
            yield made
        finally:
            process.terminate()
            process.wait(30)


def answers(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        time.sleep(0.05)
        return False
    return True


def put(bucket: fs.S3FileSystem, key: str, data: bytes) -> None:
    with bucket.open_output_stream(f"data/{key}", compression=None) as file:
        file.write(data)


def parquet(ids: range) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": list(ids), "text": [f"文{i}" for i in ids]}), sink, row_group_size=7)
    return sink.getvalue()


def test_partitions_of_parquet_are_trained_in_ranges(bucket: fs.S3FileSystem) -> None:
    for day in range(3):
        put(bucket, f"train/dt=2026-01-0{day + 1}/part-0.parquet", parquet(range(day * 50, day * 50 + 50)))
    put(bucket, "train/_temporary/part-0.parquet", b"nothing")
    stream = Stream("s3://data/train", batch_examples=16)
    assert [column.name for column in stream.spec.columns] == ["id", "text", "dt"]
    assert bucket.get_file_info("data/train/feature_spec.json").size > 0
    shards = list_shards(["s3://data/train"], slice_records=20)
    assert len(shards) == 12  # of two row groups each
    found = batches(list(shards), stream.reading)
    rows = sorted((int(i), dt) for batch in found for i, dt in zip(batch["id"], batch["dt"], strict=True))
    assert rows == [(i, f"2026-01-0{i // 50 + 1}".encode()) for i in range(150)]


def test_globs_lists_and_other_formats(bucket: fs.S3FileSystem, tmp_path: Path) -> None:
    records = write_records(tmp_path / "a.tfrecord", [example(id=i) for i in range(5)])
    put(bucket, "more/a.tfrecord", Path(records).read_bytes())
    put(bucket, "more/deep/b.csv.gz", gzip.compress(b"id\n5\n6\n"))
    assert list_files(["s3://data/more/*"]) == ("s3://data/more/a.tfrecord",)
    assert list_files(["s3://data/more/**/*.gz"]) == ("s3://data/more/deep/b.csv.gz",)
    (tmp_path / "list.txt").write_text("s3://data/more/deep\n")
    put(bucket, "more/list.txt", b"a.tfrecord\n")
    for name, wanted in ((f"@{tmp_path}/list.txt", [5, 6]), ("@s3://data/more/list.txt", [0, 1, 2, 3, 4])):
        stream = Stream(name, batch_examples=2)
        assert sorted(ids_of(batches(list_files([name]), stream.reading))) == wanted


def test_a_watched_folder_is_listed(bucket: fs.S3FileSystem) -> None:
    put(bucket, "in/1.parquet", parquet(range(3)))
    put(bucket, "in/notes.txt", b"x")
    strays: list[str] = []
    (file,) = list_folder("s3://data/in", strays.append)
    assert (file.name, strays) == ("1.parquet", ["notes.txt"]) and file.size > 0 and file.appeared_ns > 0


def test_the_commands_read_it(bucket: fs.S3FileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(bucket, "tools/a.parquet", parquet(range(10)))
    assert main(["convert", "s3://data/tools", "--out", str(tmp_path / "out"), "--to", "parquet"]) == 0
    for place in ("s3://data/tools/a.parquet", str(tmp_path / "out" / "a.parquet")):
        assert main(["verify", place]) == 0
        capsys.readouterr()
        assert main(["count", place]) == 0
        assert capsys.readouterr().out.split()[0] == "10"


def test_what_is_not_there_is_named(bucket: fs.S3FileSystem) -> None:
    with pytest.raises(SourceError, match="s3://data/none: there is no such file or folder"):
        list_files(["s3://data/none"])
    with pytest.raises(BadDataError, match=r"s3://data/none.parquet: cannot be opened"):
        first_bytes("s3://data/none.parquet")
    assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
