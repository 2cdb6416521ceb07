from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from launcher.record import runs
from launcher.record.event_log import EventLog, EventReader, follow, read_events
from launcher.record.events import Noticed
from launcher.record.reachable import unreachable
from launcher.record.runs import RunFolder
from launcher.wire.roles import Role, TaskId

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)


def make(runs_dir: Path, name: str, seconds: int = 0) -> RunFolder:
    folder = RunFolder.create(runs_dir, name, NOW + timedelta(seconds=seconds))
    folder.events.touch()
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    names = [make(tmp_path / "runs", "ctr nightly/../x").run for _ in range(3)]
    assert names == [f"ctr-nightly-..-x-20260301T120000Z{end}" for end in ("", "-2", "-3")]
    assert mode(tmp_path / "runs" / names[0]) == 0o700


@pytest.mark.parametrize("name", ["", "..", "///", "\n", "ü"])
def test_any_name_makes_a_folder_inside_the_runs(tmp_path: Path, name: str) -> None:
    assert make(tmp_path, name).path.parent == tmp_path


def test_file_names(tmp_path: Path) -> None:
    folder = make(tmp_path, "a")
    log = folder.log(TaskId(Role.WORKER, 1))
    assert log.relative_to(folder.path) == Path("logs/worker-1.log")
    log.touch()
    folder.log(TaskId(Role.PS, 0)).touch()
    (folder.logs / "other.log").touch()
    assert folder.logged_tasks() == (TaskId(Role.PS, 0), TaskId(Role.WORKER, 1))


def test_find_by_name_prefix_path_or_age(tmp_path: Path) -> None:
    old, new, other = make(tmp_path, "ctr", 1), make(tmp_path, "ctr", 3), make(tmp_path, "cvr", 2)
    (tmp_path / "stray").mkdir()
    assert runs.list_runs(tmp_path) == (new, other, old)
    assert runs.find(tmp_path) == new
    assert runs.find(tmp_path, old.run) == old
    assert runs.find(tmp_path, "cv") == other
    assert runs.find(tmp_path / "nowhere", str(old.path)) == old
    runs.write_supervisor(other, runs.this_supervisor(Path("/tmp/s")))
    assert runs.find(tmp_path) == other


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("ctr", "'ctr' names 2 runs: ctr-20260301T120001Z, ctr-20260301T120000Z; write more of the name"),
        ("crv-20260301", "did you mean cvr-20260301T120002Z"),
        ("", "no run ''"),
        ("./gone", "no run folder at gone"),
    ],
)
def test_a_run_that_is_not_found_names_near_misses(tmp_path: Path, run: str, words: str) -> None:
    make(tmp_path, "ctr", 0), make(tmp_path, "ctr", 1), make(tmp_path, "cvr", 2)
    with pytest.raises(runs.RunNotFoundError) as caught:
        runs.find(tmp_path, run)
    assert words in str(caught.value)


def test_no_runs_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(runs.RunNotFoundError, match="start one with `tflaunch local`"):
        runs.find(tmp_path / "runs")


def test_live_is_the_same_process_and_no_other(tmp_path: Path) -> None:
    folder = make(tmp_path, "a")
    assert not runs.is_live(folder)
    record = runs.this_supervisor(Path("/tmp/s"))
    runs.write_supervisor(folder, record)
    assert "an older tflaunch runs it, so that it cannot be told anything" in unreachable(folder)
    assert runs.is_live(folder)
    assert runs.read_supervisor(folder) == record
    assert mode(folder.supervisor) == 0o600
    for other in (
        replace(record, start_time_ticks=record.start_time_ticks + 1),
        replace(record, boot_id="another boot"),
        replace(record, host="another-host"),
        replace(record, pid=2**22 + 1),
    ):
        runs.write_supervisor(folder, other)
        assert not runs.is_live(folder)
    folder.supervisor.write_text('{"pid": 1')
    assert not runs.is_live(folder)


def test_a_zombie_is_not_live() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert runs.start_time_ticks(child.pid) is None
    child.wait()


def test_a_private_file_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    runs.write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        runs.write_private(path, "new \ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]
    assert mode(path) == 0o600


# --- the event log -----------------------------------------------------------------------------------------------


def said(message: str) -> Noticed:
    return Noticed(severity="info", message=message)


def heard(path: Path) -> list[tuple[int, str]]:
    return [(recorded.n, recorded.event.message) for recorded in read_events(path)]  # type: ignore[attr-defined]


def test_events_are_numbered_on_across_writers(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for message in ("größe\n", "b"):
        log = EventLog(path)
        log.append(said(message), NOW)
        log.close()
    assert heard(path) == [(1, "größe\n"), (2, "b")]
    assert mode(path) == 0o600


@pytest.mark.parametrize(
    ("torn", "wanted"),
    [
        (b'{"n": 2, "at": "2026', [(1, "a"), (2, "c")]),
        (b'{"n": 2, "at": "2026-03-01T12:00:00.000Z", "kind": "noticed", "severity": "info", "message": "b"}',
         [(1, "a"), (2, "b"), (3, "c")]),
        (b"\xc3", [(1, "a"), (2, "c")]),
    ],
)  # fmt: skip
def test_a_torn_last_line_is_closed_by_the_next_writer(tmp_path: Path, torn: bytes, wanted: object) -> None:
    path = tmp_path / "events.jsonl"
    EventLog(path).append(said("a"), NOW)
    with path.open("ab") as stream:
        stream.write(torn)
    reader = EventReader(path)
    assert len(list(reader.read())) == 1
    EventLog(path).append(said("c"), NOW)
    assert heard(path) == wanted
    assert [recorded.n for recorded in reader.read()] == [n for n, _ in wanted[1:]]  # type: ignore[index]


def test_follow_takes_up_where_asked_and_ends_when_told(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    pending = iter("cd")

    def wait() -> bool:
        message = next(pending, None)
        if message:
            log.append(said(message), NOW)
        return message is not None

    log.append(said("a"), NOW)
    log.append(said("b"), NOW)
    assert [recorded.n for recorded in follow(path, 2, wait=wait)] == [2, 3, 4]


def test_kinds_of_a_newer_version_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"n": 1, "at": "2030-01-01T00:00:00Z", "kind": "from_the_future"}\n')
    EventLog(path).append(said("a"), NOW)
    assert [message for _, message in heard(path)] == ["a"]
    assert heard(tmp_path / "missing") == []


def test_what_only_has_the_names_of_a_runs_files_is_no_run(tmp_path: Path) -> None:
    """A pipe would hold up whoever lists the folder, for ever."""
    make(tmp_path, "ctr")
    for name, made in (("pipe", os.mkfifo), ("folder", os.mkdir)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").touch()
        made(tmp_path / name / "events.jsonl")
        with pytest.raises(runs.RunNotFoundError, match="no file"):
            runs.find(tmp_path, str(tmp_path / name))
    assert [folder.run for folder in runs.list_runs(tmp_path)] == ["ctr-20260301T120000Z"]


def test_a_run_is_found_as_a_shell_completes_its_name(tmp_path: Path) -> None:
    folder = make(tmp_path, "ctr")
    assert runs.find(tmp_path, f"{folder.run}/") == folder
    assert runs.find(tmp_path, f"{folder.path}/../{folder.run}") == folder


def test_an_event_that_is_nested_too_deeply_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("[" * 100_000 + "\n")
    assert list(read_events(tmp_path / "events.jsonl")) == []
