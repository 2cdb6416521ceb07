from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from launcher.estimator.streaming.formats import index as index_module
from launcher.estimator.streaming.formats.index import MAX_OFFSETS, list_shards, slice_file
from launcher.estimator.streaming.formats.shards import Shard, together_of
from tests.launcher.estimator.streaming.data import batches, ids_of, options, write_ids

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_index_is_made_once_and_anew_when_the_file_changes(tmp_path: Path) -> None:
    path = write_ids(tmp_path / "a.tfrecord", range(50))
    kept = tmp_path / ".a.tfrecord.index"
    first = slice_file(path, 20)
    written = kept.stat().st_mtime_ns
    assert slice_file(path, 20) == first
    assert kept.stat().st_mtime_ns == written
    times = os.stat(path).st_mtime_ns  # noqa: PTH116
    write_ids(tmp_path / "a.tfrecord", [300 + i for i in range(50)])
    os.utime(path, ns=(times, times))
    shards = slice_file(path, 20)
    assert ids_of(batches(shards, options(shuffle_rows=0))) == [300 + i for i in range(50)]
    assert kept.stat().st_mtime_ns != written


def test_a_damaged_index_is_made_anew(tmp_path: Path) -> None:
    path = write_ids(tmp_path / "a.tfrecord", range(50))
    first = slice_file(path, 20)
    for text in ("", "{}", "[1]", json.dumps({"version": 1})):
        (tmp_path / ".a.tfrecord.index").write_text(text)
        assert slice_file(path, 20) == first


def test_the_index_goes_to_the_cache_where_the_folder_is_no_place_for_it(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_ids(tmp_path / "a.tfrecord", range(50))
    (tmp_path / ".a.tfrecord.index").mkdir()  # not writable as a file, for root either
    (tmp_path / ".a.tfrecord.index" / "x").touch()
    first = slice_file(path, 20)
    assert len(list((cache / "tflaunch" / "index").iterdir())) == 1
    monkeypatch.setattr(index_module, "make_index", lambda *_: pytest.fail("it was not kept"))
    assert slice_file(path, 20) == first


def test_many_records_are_noted_sparsely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "MAX_OFFSETS", 16)
    path = write_ids(tmp_path / "a.tfrecord", range(100))
    shards = slice_file(path, 7)
    kept = json.loads((tmp_path / ".a.tfrecord.index").read_text())
    assert (kept["stride"], len(kept["offsets"]) <= 16 < MAX_OFFSETS) == (8, True)
    assert ids_of(batches(shards, options(shuffle_rows=0))) == list(range(100))


@pytest.mark.parametrize("name", ["a.tfrecord.gz", "a.csv", "cut.tfrecord", "small.tfrecord", "empty.tfrecord"])
def test_what_cannot_be_cut_stays_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_ids(path, range(20 if name.startswith("small") else 100))
    if name == "a.csv":
        path.write_text("id\n" + "1\n" * 100)
    if name.startswith(("cut", "empty")):
        path.write_bytes(path.read_bytes()[: -3 if name.startswith("cut") else 0])
    assert list_shards([str(path)], slice_records=20) == (Shard(path=str(path)),)


@pytest.mark.parametrize(
    ("records", "slice_records", "together"),
    [(1_000, 5, 5), (2_560, 5, 5), (2_561, 5, 10), (100_000, 5, 200), (1_000_000, 5, 1_020), (10**7, 2_000, 2_000)],
)
def test_a_file_is_not_cut_into_thousands_of_small_slices(records: int, slice_records: int, together: int) -> None:
    assert together_of(records, slice_records) == together


def test_no_record_is_lost_between_larger_slices(tmp_path: Path) -> None:
    path = write_ids(tmp_path / "a.tfrecord", range(1_100))
    shards = list_shards([path], slice_records=2)
    assert [(shard.first_record, shard.records) for shard in shards[-2:]] == [(1_092, 4), (1_096, 4)]
    assert len({shard.byte_offset for shard in shards}) == len(shards) == 275
