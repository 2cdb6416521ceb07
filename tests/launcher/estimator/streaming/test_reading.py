from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from launcher.estimator.streaming.formats.columns import Ragged
from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec
from launcher.estimator.streaming.formats.parser import ROW_BITS
from launcher.estimator.streaming.formats.row_sets import RowSet
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.reading.dataset import read
from launcher.estimator.streaming.reading.leases import Lease, Pause, ShardLeases
from tests.launcher.estimator.streaming.data import (
    batches,
    example,
    id_columns,
    ids_of,
    options,
    write_groups,
    write_ids,
    write_records,
)

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


@pytest.fixture(params=["example", "example.gz", "row_groups", "csv"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, list[str]]:
    """Format, and five files of unequal size with the ids 0 to 99, in order."""
    parts = [range(3), range(3, 40), range(40, 41), range(41, 90), range(90, 100)]
    paths = []
    for number, ids in enumerate(parts):
        path = tmp_path / f"{number}.tfrecord"
        if request.param == "csv":
            path = tmp_path / f"{number}.csv"
            path.write_text("label,id\n" + "".join(f"{i % 2},{i}\n" for i in ids))
        elif request.param == "row_groups":
            write_groups(path, id_columns(ids))
        else:
            path = Path(write_ids(tmp_path / f"{number}.tfrecord{request.param[7:]}", ids))
        paths.append(str(path))
    return request.param.partition(".")[0], paths


def test_unshuffled_rows_come_in_order_in_full_batches(files: tuple[str, list[str]]) -> None:
    format_, paths = files
    leases = ShardLeases([Shard(path=path) for path in paths])
    found = batches(paths, options(format=format_, shuffle_rows=0, batch_examples=8), leases)
    assert ids_of(found) == list(range(100))
    assert [len(batch["id"]) for batch in found] == [8] * 12 + [4]
    assert all((batch["label"] == batch["id"] % 2).all() for batch in found)
    assert leases.rows == {0: 3, 1: 37, 2: 1, 3: 49, 4: 10}


def test_shuffled_rows_come_once_with_their_lease_and_place(files: tuple[str, list[str]]) -> None:
    format_, paths = files
    opts = options(format=format_, shuffle_rows=30, batch_examples=8)
    found = batches(paths, opts)
    ids = ids_of(found)
    assert sorted(ids) == list(range(100))
    assert ids != sorted(ids)
    assert ids == ids_of(batches(paths, opts)), "the same seed gives the same order"
    assert ids != ids_of(batches(paths, options(format=format_, shuffle_rows=30, batch_examples=8, seed=8)))
    starts = np.array([0, 3, 40, 41, 90])
    for batch in found:
        rows = (
            batch["_row"] if format_ != "row_groups" else (batch["_row"] >> 20) * 10 + (batch["_row"] & (1 << 20) - 1)
        )
        assert (starts[batch["_lease"]] + rows == batch["id"]).all()


@pytest.mark.parametrize("as_groups", [False, True])
@pytest.mark.parametrize("shuffle_rows", [0, 16])
def test_every_kind_of_feature_arrives(tmp_path: Path, as_groups: bool, shuffle_rows: int) -> None:
    lengths = np.arange(50) % 3
    texts = [f"é{i}" for i in range(50)]
    lists = [[100 * i + j for j in range(i % 3)] for i in range(50)]
    if as_groups:
        columns = {
            "id": np.arange(50),
            "price": np.arange(50, dtype=np.float32) / 2,
            "text": np.array([t.encode() for t in texts], object),
            "pair": np.arange(100).reshape(50, 2),
            "tags": Ragged(np.array([v for values in lists for v in values]), lengths),
            "words": Ragged(np.array([b"w%d" % i for i in range(50) for _ in range(i % 3)], object), lengths),
        }
        path = write_groups(tmp_path / "a.tfrecord", columns)
    else:
        records = []
        for i in range(50):
            features = {"id": i, "price": i / 2, "text": texts[i], "pair": [2 * i, 2 * i + 1]}
            features |= {"tags": lists[i], "words": [f"w{i}"] * (i % 3)} if lists[i] else {}
            records.append(example(**features))
        path = write_records(tmp_path / "a.tfrecord", records)
    spec = FeatureSpec(
        columns=(
            Column(name="text", kind="bytes"),
            Column(name="tags", length=None),
            Column(name="id"),
            Column(name="words", kind="bytes", length=None),
            Column(name="pair", length=2),
            Column(name="price", kind="float32"),
        )
    )
    format_: Literal["row_groups", "example"] = "row_groups" if as_groups else "example"
    found = batches([path], options(spec=spec, format=format_, shuffle_rows=shuffle_rows))
    assert sorted(ids_of(found)) == list(range(50))
    for batch in found:
        for at, i in enumerate(batch["id"]):
            assert batch["price"][at] == i / 2
            assert batch["text"][at].decode() == texts[i]
            assert batch["pair"][at].tolist() == [2 * i, 2 * i + 1]
            assert list(batch["tags"][at]) == lists[i]
            assert list(batch["words"][at]) == [b"w%d" % i] * (i % 3)


def test_slices_are_read_by_offset(tmp_path: Path) -> None:
    from launcher.estimator.streaming.formats.index import list_shards

    path = write_ids(tmp_path / "a.tfrecord", range(100))
    shards = list_shards([path], slice_records=30)
    assert [shard.records for shard in shards] == [30, 30, 30, 10]
    found = batches([shards[2], shards[0]], options(shuffle_rows=0))
    assert ids_of(found) == [*range(60, 90), *range(30)]
    assert [row for batch in found for row in batch["_row"]] == [*range(60, 90), *range(30)]


class Halting:
    """Hands out one shard, then has nothing until ``go`` is set, then another, then is over."""

    def __init__(self, first: str, second: str) -> None:
        self.go = threading.Event()
        self.left = [first, second]
        self.rows: dict[int, int] = {}

    def take(self, *, opened: int = 0) -> Lease | Literal[Pause.NOTHING_NOW] | None:
        if len(self.left) == 1 and not self.go.wait(0.05):
            return Pause.NOTHING_NOW
        return Lease(id=len(self.left), shard=Shard(path=self.left.pop(0))) if self.left else None

    def ended(self, lease: int, rows: int) -> None:
        self.rows[lease] = rows


@pytest.mark.parametrize("shuffle_rows", [0, 1000])
def test_what_is_held_comes_out_when_nothing_more_is_leased(tmp_path: Path, shuffle_rows: int) -> None:
    first, second = write_ids(tmp_path / "a.tfrecord", range(6)), write_ids(tmp_path / "b.tfrecord", range(6, 8))
    leases = Halting(first, second)
    iterator = read(lambda: leases, options(shuffle_rows=shuffle_rows)).as_numpy_iterator()
    early = [next(iterator), next(iterator)]
    assert sorted(ids_of(early)) == list(range(6))
    assert leases.rows == {2: 6}
    leases.go.set()
    assert sorted(ids_of(list(iterator))) == [6, 7]


class Idle:
    """Never has anything."""

    def take(self, *, opened: int = 0) -> Literal[Pause.NOTHING_NOW]:
        threading.Event().wait(0.05)
        return Pause.NOTHING_NOW

    def ended(self, lease: int, rows: int) -> None:
        raise AssertionError


def test_a_session_that_waits_for_input_can_be_closed() -> None:
    before = {thread.name for thread in threading.enumerate()}
    with tf.Graph().as_default():
        tensors = tf.compat.v1.data.make_one_shot_iterator(read(Idle, options())).get_next()
        config = tf.compat.v1.ConfigProto(operation_timeout_in_ms=1500)
        with tf.compat.v1.Session(config=config) as session, pytest.raises(tf.errors.DeadlineExceededError):
            session.run(tensors["id"])
    deadline = threading.Event()
    for _ in range(200):
        if "streaming-read" not in {thread.name for thread in threading.enumerate()} - before:
            return
        deadline.wait(0.05)
    raise AssertionError("the engine outlived its session")


def test_nobody_waits_for_a_lease_while_there_is_something_to_read(tmp_path: Path) -> None:
    path = write_ids(tmp_path / "a.tfrecord", range(6))

    said = []

    class Waits(ShardLeases):
        def take(self, *, opened: int = 0) -> Lease | Literal[Pause.NOTHING_NOW] | None:
            said.append(opened)
            return super().take()

    leases = Waits([Shard(path=path)])
    rows = list(read(lambda: leases, options(open_files=4, shuffle_rows=10)).as_numpy_iterator())
    assert sorted(ids_of(rows)) == list(range(6))
    assert said == [0, 1]


def test_rows_do_not_linger(tmp_path: Path) -> None:
    """A shard that goes on and on: its rows come out long before the shuffle buffer is full."""
    path = write_ids(tmp_path / "a.tfrecord", range(300))

    class Slow(ShardLeases):
        def take(self, *, opened: int = 0) -> Lease | Literal[Pause.NOTHING_NOW] | None:
            threading.Event().wait(0.02)
            return super().take()

    leases = Slow([Shard(path=path)] * 20)
    iterator = read(lambda: leases, options(shuffle_rows=10_000_000, linger_s=0.0, open_files=1)).as_numpy_iterator()
    next(iterator)
    assert len(leases.rows) < 20


TRAINED = np.array([*range(3), *range(200, 550), 599])


@pytest.mark.parametrize("format_", ["example", "csv", "parquet", "row_groups"])
@pytest.mark.parametrize("shuffle_rows", [0, 100])
def test_rows_that_are_trained_are_left_out(tmp_path: Path, format_: Any, shuffle_rows: int) -> None:
    columns, path, trained = id_columns(range(600)), tmp_path / "a", TRAINED
    if format_ == "parquet":
        pq.write_table(pa.table(columns), path)
    elif format_ == "csv":
        path.write_text("id,label\n" + "".join(f"{i},{i % 2}\n" for i in range(600)))
    elif format_ == "example":
        write_ids(path, range(600))
    else:
        write_groups(path, columns, rows=50)
        trained = (TRAINED // 50 << ROW_BITS) + TRAINED % 50
    leases = ShardLeases([])
    leases._leases = iter([Lease(id=3, shard=Shard(path=str(path)), trained=RowSet.of(trained))])
    found = batches([], options(format=format_, shuffle_rows=shuffle_rows), leases)
    assert sorted(ids_of(found)) == sorted(set(range(600)) - set(TRAINED.tolist()))
    assert leases.rows == {3: 600 - len(TRAINED)}


def test_an_epoch_is_read_and_comes_out_before_the_next(tmp_path: Path) -> None:
    """Though four shards at once may be open, and most of the first epoch waits in the shuffle buffer."""
    paths = [write_ids(tmp_path / f"{part}.tfrecord", range(100 * part, 100 * part + 100)) for part in range(6)]
    leases = ShardLeases([])
    leases._leases = iter([Lease(id=n, shard=Shard(path=p), epoch=n // 3) for n, p in enumerate(paths)])
    ids = ids_of(batches([], options(shuffle_rows=250), leases))
    for epoch in range(2):
        mine = ids[300 * epoch : 300 * epoch + 300]
        assert sorted(mine) == list(range(300 * epoch, 300 * epoch + 300)) and mine != sorted(mine)
