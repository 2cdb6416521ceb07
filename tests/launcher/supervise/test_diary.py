"""What the supervisor writes down: facts in events.jsonl, the rest in bounded space, and a report of all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.lifecycle import End
from launcher.record import events as ev
from launcher.record.event_log import read_events
from launcher.record.reading import RunReader, load_view
from launcher.record.report import build_report
from launcher.record.runs import RunFolder
from launcher.record.states import Outcome
from launcher.supervise.diary import Diary
from launcher.supervise.output_files import OutputFiles
from launcher.wire import protocol
from tests.launcher.record.disks import full_disk
from tests.launcher.views.console_demo import START, Story


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "ctr", START)


def kinds(folder: RunFolder) -> list[str]:
    return [json.loads(line)["kind"] for line in folder.events.read_text().splitlines()]


def test_facts_and_samples_are_apart_and_counts_exact(folder: RunFolder) -> None:
    diary, told = Diary(folder), list(Story(5, seconds=30).tell())
    counts: dict[tuple[str, int], int] = {}
    for recorded in told:
        diary.record(recorded.event)
        if isinstance(recorded.event, ev.Progressed):
            counts[recorded.event.task, recorded.event.attempt] = recorded.event.local_steps
    facts = kinds(folder)
    assert "usage_sampled" not in facts and "input_counted" not in facts
    assert facts.count("progressed") <= 2 * len(counts)
    view = load_view(folder)
    for (task, attempt), steps in counts.items():
        found = {known.task.name: known for known in view.tasks.values()}[task].numbered(attempt)
        assert found is not None and found.local_steps == steps


def test_a_run_read_afresh_and_with_its_snapshot_has_one_report(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.supervise.diary.SNAPSHOT_S", 0.0)
    diary = Diary(folder)
    for recorded in Story(5, seconds=30).tell():
        diary.record(recorded.event)
    assert folder.snapshot.exists()
    afresh = RunReader(folder, from_start=True)
    assert list(afresh.read(final=True))
    assert build_report(load_view(folder), folder) == build_report(afresh.view, folder)


def test_a_disk_that_is_full_for_a_while_loses_no_event_and_is_said(tmp_path: Path) -> None:
    with full_disk(tmp_path, 2 << 20) as disk:
        folder = RunFolder.create(disk.path, "ctr", START)
        diary, told = Diary(folder), list(Story(5, seconds=30).tell())
        for recorded in told[:40]:
            diary.record(recorded.event)
        disk.fill()
        for recorded in told[40:100]:
            diary.record(recorded.event)
        for number in range(200):  # more than the page at the end of the file has room for
            diary.warn(f"warning {number}")
        assert "warning 199" not in folder.events.read_text()
        disk.free()
        for _ in range(2):
            diary.warn("there is room again")
        found = list(read_events(folder.events))
        assert [recorded.n for recorded in found] == list(range(1, len(found) + 1))
        facts = [item.event for item in told[:100] if isinstance(item.event, ev.TaskChanged)]
        assert [item.event for item in found if isinstance(item.event, ev.TaskChanged)] == facts
        assert "warning 199" in folder.events.read_text()
        said = [item.event.message for item in found if isinstance(item.event, ev.Noticed)]
        assert any("No space left on device" in message for message in said)


def test_the_end_is_written_on_a_disk_that_stays_full(tmp_path: Path) -> None:
    with full_disk(tmp_path, 2 << 20) as disk:
        folder = RunFolder.create(disk.path, "ctr", START)
        diary, told = Diary(folder), list(Story(5, seconds=30).tell())
        disk.fill()
        for recorded in told:
            diary.record(recorded.event)
        assert diary.ended(End(outcome=Outcome.SUCCEEDED, cause=None), 7) == 0
        assert kinds(folder)[-1] == "run_ended"
        assert json.loads(folder.report.read_text())["outcome"] == "succeeded"
        view = load_view(folder)
        assert view.outcome is Outcome.SUCCEEDED
        assert any("No space left" in kept.event.message for kept in view.notices if isinstance(kept.event, ev.Noticed))
        assert not folder.reserve.exists()


def output(offset: int, data: bytes) -> protocol.Output:
    return protocol.Output(task="worker:0", attempt=1, offset=offset, size=len(data))


@pytest.mark.parametrize("pieces", [3, 300])
def test_output_on_a_full_disk_waits_or_is_counted(tmp_path: Path, pieces: int) -> None:
    """``pieces`` of 64 KiB come while there is no room: a few wait, many are too much even for that."""
    with full_disk(tmp_path, 32 << 20) as disk:
        log = disk.path / "worker-0.log"
        files, offset = OutputFiles(lambda task: disk.path / f"{task.slug}.log"), 0

        def say(line: bytes) -> None:
            nonlocal offset
            files.write(output(offset, line), line)
            offset += len(line)

        say(b"first\n")
        disk.fill()
        for number in range(pieces):
            say(f"{number:07}".encode() + b"x" * 65528 + b"\n")
        disk.free()
        say(b"last\n")
        files.close()
        lines = log.read_bytes().splitlines()
        assert lines[0] == b"first" and lines[-1] == b"last"
        numbers = [int(line[:7]) for line in lines if line.endswith(b"x")]
        assert numbers == list(range(len(numbers))) and files.received == {"worker-0.1": offset}
        missing = [line for line in lines if line.startswith(b"[tflaunch]")]
        gone = (pieces - len(numbers)) * 65536
        wanted = [f"[tflaunch] {gone} bytes of this output are missing here: No space left on device".encode()]
        assert missing == (wanted if pieces == 300 else []) and (pieces == 300) == bool(gone)
