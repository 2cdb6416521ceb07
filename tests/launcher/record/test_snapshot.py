"""Whoever looks at a run reads what is new: the snapshot and the tail tell the same as all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.record import report, snapshot
from launcher.record.event_log import EventLog
from launcher.record.reading import RunReader, load_view
from launcher.record.runs import RunFolder
from launcher.record.view import RunView
from launcher.views.live.frame import Size, frame
from tests.launcher.views.console_demo import START, Story


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "ctr", START)


def written(folder: RunFolder, covered: int) -> None:
    """A run whose snapshot covers its first so many events."""
    view, log = RunView(), EventLog(folder.events)
    for recorded in Story(5, seconds=30).tell():
        view.apply(log.append(recorded.event, recorded.at))
        if recorded.n == covered:
            snapshot.save(folder.snapshot, snapshot.Snapshot(view=view, offset=log.size, places={}))
    log.close()


def afresh(folder: RunFolder) -> RunView:
    reader = RunReader(folder, from_start=True)
    assert list(reader.read(final=True))
    return reader.view


@pytest.mark.parametrize("covered", [1, 20, 100, 150])
def test_snapshot_and_tail_tell_the_same_as_all_of_it(folder: RunFolder, covered: int) -> None:
    written(folder, covered)
    read, whole = load_view(folder), afresh(folder)
    assert report.build_report(read, folder) == report.build_report(whole, folder)
    assert report.status_json(read) == report.status_json(whole)
    size = Size(width=120, height=40)
    assert frame(read, size, whole.last_at) == frame(whole, size, whole.last_at)


def test_what_the_snapshot_covers_is_not_read(folder: RunFolder) -> None:
    written(folder, 100)
    found = snapshot.load(folder.snapshot, folder.events)
    assert found is not None and found.view.n == 100
    data = bytearray(folder.events.read_bytes())
    data[: found.offset - 1] = b"?" * (found.offset - 1)
    whole = report.build_report(afresh_copy(folder), folder)
    folder.events.write_bytes(data)
    assert report.build_report(load_view(folder), folder) == whole


def afresh_copy(folder: RunFolder) -> RunView:
    return afresh(folder)


def damages(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield from (b"", b"\n", data[:-1], data[: len(data) // 2], data[:-2] + b"x}", b"{}\n{}", b"\xff" * 100)
    yield data.replace(b'"form": 1', b'"form": 2', 1)
    yield data.replace(b'"offset": ', b'"offset": 9', 1)
    yield data.replace(b'"offset": ', b'"offset": -', 1)


def test_a_damaged_snapshot_is_passed_over(folder: RunFolder) -> None:
    written(folder, 100)
    whole = report.build_report(afresh(folder), folder)
    for damage in damages(folder.snapshot):
        folder.snapshot.write_bytes(damage)
        assert snapshot.load(folder.snapshot, folder.events) is None, damage[:80]
        assert report.build_report(load_view(folder), folder) == whole
    folder.snapshot.unlink()
    assert report.build_report(load_view(folder), folder) == whole
