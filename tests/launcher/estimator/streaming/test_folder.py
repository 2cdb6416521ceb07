"""A watched folder: what is fed, in which order, and what survives a restart."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.estimator.streaming.errors import SourceError
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.queue.folder import (
    File,
    FolderFeeder,
    StrayError,
    Watching,
    is_complete,
    list_folder,
    read_mark,
)
from launcher.estimator.streaming.queue.queue import Queue, decode, encode

S = 1_000_000_000


class Folder:
    """A folder and a clock that the test moves. ``appear`` is the moment of the rename."""

    def __init__(self) -> None:
        self.now = 1_000 * S
        self.files: dict[str, File] = {}
        self.broken = False
        self.queue = Queue(token="t")
        self.fed: list[str] = []

    def add(self, name: str, *, modified: float | None = None, appeared: float | None = None, size: int = 1) -> None:
        appeared_ns = self.now if appeared is None else int(appeared * S)
        modified_ns = appeared_ns if modified is None else int(modified * S)
        self.files[name] = File(name=name, modified_ns=modified_ns, appeared_ns=appeared_ns, size=size)

    def feeder(self, **options: float) -> FolderFeeder:
        how = Watching(window=3, **options)  # type: ignore[arg-type]
        return FolderFeeder("/in", how, listing=self.list, clock_ns=lambda: self.now)

    def list(self, folder: str) -> list[File]:
        if self.broken:
            raise OSError("stale file handle")
        return list(self.files.values())

    def run(self, feeder: FolderFeeder, seconds: float = 5.0) -> list[str]:
        """Contacts twice a second, everything that is fed trained at once; what was fed meanwhile."""
        before = len(self.fed)
        for _ in range(int(seconds * 2)):
            self.now += S // 2
            feeder.look()
            self.queue = decode(encode(feeder.feed(self.queue)))
            self.fed += [Path(ticket.shard.path).name for ticket in self.queue.pending]
            self.queue = replace(self.queue, pending=())
        return self.fed[before:]


@pytest.fixture
def folder() -> Folder:
    return Folder()


def test_what_is_there_comes_oldest_first_and_what_appears_follows(folder: Folder) -> None:
    for number in (3, 1, 4, 2, 5):
        folder.add(f"{number}.tfrecord", modified=number, appeared=500 - number)
    feeder = folder.feeder()
    assert folder.run(feeder) == [f"{n}.tfrecord" for n in (1, 2, 3, 4, 5)]
    folder.add("0.tfrecord", modified=0.5)  # appears late, with an old time of change
    folder.add("6.tfrecord")
    assert folder.run(feeder) == ["0.tfrecord", "6.tfrecord"]
    assert folder.run(feeder) == []


def test_another_chief_goes_on_where_the_queue_is(folder: Folder) -> None:
    for number in range(9):
        folder.add(f"{number}.tfrecord", modified=number, appeared=100 + (number * 7) % 9)
    first = folder.run(folder.feeder(), seconds=1)
    assert 0 < len(first) < 9
    folder.add("late.tfrecord", modified=2)
    rest = folder.run(folder.feeder())
    assert first + rest == [f"{n}.tfrecord" for n in range(9)] + ["late.tfrecord"]
    folder.add("more.tfrecord", modified=1)
    assert folder.run(folder.feeder()) == ["more.tfrecord"]


def test_after_a_rollback_what_followed_is_fed_again(folder: Folder) -> None:
    folder.add("a.tfrecord")
    folder.run(folder.feeder())
    saved = folder.queue
    folder.add("b.tfrecord")
    folder.run(folder.feeder())
    folder.queue = saved
    assert folder.run(folder.feeder()) == ["b.tfrecord"]


def test_a_file_that_changes_between_two_scans_waits(folder: Folder) -> None:
    feeder = folder.feeder()
    folder.run(feeder)
    for size in range(4):
        folder.add("growing.tfrecord", size=size)
        folder.add("settled.tfrecord", appeared=folder.now / S + 0.1, modified=9)
        assert folder.run(feeder, seconds=0.5) == []
    assert folder.run(feeder, seconds=2) == ["settled.tfrecord", "growing.tfrecord"]


def test_a_chmod_feeds_nothing_again_and_a_replaced_file_is_new(folder: Folder) -> None:
    folder.add("a.tfrecord", modified=5)
    feeder = folder.feeder()
    folder.run(feeder)
    folder.add("a.tfrecord", modified=5)  # appears anew, is the same
    assert folder.run(feeder) == []
    folder.add("a.tfrecord", modified=6)
    assert folder.run(feeder) == ["a.tfrecord"]


def test_a_folder_that_cannot_be_listed_for_a_while_feeds_nothing_again(folder: Folder) -> None:
    folder.add("a.tfrecord")
    feeder = folder.feeder()
    folder.run(feeder)
    folder.broken = True
    assert folder.run(feeder) == []
    folder.broken = False
    assert folder.run(feeder) == []
    folder.broken = True
    another = folder.feeder()
    assert folder.run(another) == []
    folder.broken = False
    assert folder.run(another) == []


def test_memory_stays_bounded_when_trained_files_are_removed(folder: Folder) -> None:
    feeder = folder.feeder()
    for number in range(200):
        folder.add(f"{number}.tfrecord")
        folder.run(feeder, seconds=1.5)
        if number >= 3:
            del folder.files[f"{number - 3}.tfrecord"]
    assert folder.fed == [f"{n}.tfrecord" for n in range(200)]
    assert len(feeder._seen) < 10 and feeder.waiting < 10
    assert len(encode(folder.queue)) < 1000
    assert read_mark(folder.queue.bookmark).at[1] == "199.tfrecord"


def test_idleness_ends_the_input_until_the_next_run(folder: Folder) -> None:
    folder.add("a.tfrecord")
    feeder = folder.feeder(idle_s=10)
    folder.run(feeder, seconds=5)
    assert not folder.queue.ended
    folder.run(feeder, seconds=10)
    assert folder.queue.is_over and folder.queue.reason == "nothing has come for 10 s"
    folder.add("b.tfrecord")
    assert folder.run(feeder) == [] and folder.queue.is_over
    assert folder.run(folder.feeder(idle_s=10)) == ["b.tfrecord"]


@pytest.mark.parametrize("name", ["a.tfrecord", "a.tfrecord.gz", "a.csv", "part.tfrecord-00001-of-00008"])
def test_names_of_data(name: str) -> None:
    assert is_complete(name)


@pytest.mark.parametrize("name", [".a.tfrecord", "_a.tfrecord", "a.tfrecord.tmp", "a.tfrecord.part", "README"])
def test_names_that_are_passed_over(name: str) -> None:
    assert not is_complete(name)


def test_a_real_folder_is_listed_with_the_moment_of_the_rename(tmp_path: Path) -> None:
    (tmp_path / ".new").write_text("x")
    os.utime(tmp_path / ".new", (5, 5))
    assert list_folder(str(tmp_path)) == []
    (tmp_path / ".new").rename(tmp_path / "a.tfrecord")
    (file,) = list_folder(str(tmp_path))
    assert (file.name, file.modified_ns, file.size) == ("a.tfrecord", 5 * S, 1)
    assert file.appeared_ns > 1_000_000 * S
    with pytest.raises(OSError):
        list_folder(str(tmp_path / "missing"))


def test_what_is_no_data_by_its_name_is_named_once_and_passed_over(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.tfrecord", "notes.txt", "c.tfrecord.tmp", "_SUCCESS", ".d", "feature_spec.json"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    said: list[str] = []
    now = [10**19]
    feeder = FolderFeeder(str(tmp_path), Watching(), clock_ns=lambda: now[0], notice=said.append)
    for _ in range(3):
        now[0] += S
        feeder.look()
    queue = feeder.feed(Queue(token="t"))
    assert sorted(Path(ticket.shard.path).name for ticket in queue.pending) == ["a.parquet", "b.tfrecord"]
    assert said == [f"{tmp_path}/notes.txt is passed over: its name is not that of data"]


def test_a_file_of_another_format_is_a_stray_and_may_end_the_training(tmp_path: Path) -> None:
    for number, name in enumerate(("a.parquet", "b.parquet", "c.parquet")):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (number, number))

    def cut(path: str) -> tuple[Shard, ...]:
        if path.endswith("b.parquet"):
            raise StrayError("it is CSV")
        return (Shard(path=path, records=1), Shard(path=path, first_record=1, records=1))

    def feed(how: Watching) -> tuple[list[str], list[str]]:
        said: list[str] = []
        now = [10**19]
        feeder = FolderFeeder(str(tmp_path), how, clock_ns=lambda: now[0], notice=said.append)
        for _ in range(3):
            now[0] += S
            feeder.look()
        queue = feeder.feed(feeder.feed(Queue(token="t")))
        return [Path(ticket.shard.path).name for ticket in queue.pending], said

    fed, said = feed(Watching(cut=cut))
    assert fed == ["a.parquet", "a.parquet", "c.parquet", "c.parquet"]
    assert said == [f"{tmp_path}/b.parquet is passed over: it is CSV"]
    with pytest.raises(SourceError, match=r"b.parquet is no data: it is CSV; on_stray='skip' passes over"):
        feed(Watching(cut=cut, on_stray="fail"))
    (tmp_path / "b.parquet").unlink()
    (tmp_path / "notes.txt").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"notes.txt is no data: its name is not that of data"):
        feed(Watching(on_stray="fail"))
