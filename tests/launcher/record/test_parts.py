"""A run in several parts: what the next one counts on from, and how all of them are told together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.lifecycle import Lifecycle
from launcher.lifecycle.values import Record
from launcher.record import events as ev
from launcher.record import report, snapshot
from launcher.record.course.parts import Former, former_of
from launcher.record.files.claim import claim
from launcher.record.files.log_file import LogFile
from launcher.record.runs import RunFolder
from launcher.record.sampling.ring import Ring
from launcher.record.states import TaskState
from launcher.record.view import RunView
from launcher.views.summary import summary
from launcher.wire import protocol
from launcher.wire.forms.series import Form
from launcher.wire.roles import TaskId
from tests.launcher.lifecycle.test_lifecycle import Run, make_plan
from tests.launcher.record.test_log_file import LIMIT, WORKER, folder, line, printed
from tests.launcher.record.test_view import change, folded, progress

__all__ = ["folder"]


def started(part: int, *tasks: str) -> ev.RunStarted:
    return ev.RunStarted(
        run="r",
        name="r",
        pid=1,
        host="h",
        command=("x",),
        model_dir=None,
        run_dir="/runs/r",
        tasks=tuple({"task": task, "host": "a"} for task in tasks or ("worker:0",)),
        part=part,
    )


def ended(outcome: str, duration_s: float, code: int = 0) -> ev.RunEnded:
    return ev.RunEnded(outcome=outcome, exit_code=code, duration_s=duration_s)


def three_parts() -> RunView:
    return folded(
        (0, started(1, "worker:0", "worker:1")),
        (1, ev.GenerationBound(generation=1, ports={})),
        (1, change("starting", pid=7)),
        (1, change("starting", task="worker:1", pid=8)),
        (9, progress(50, 50, examples=500)),
        (9, ev.Noticed(severity="warning", message="of the first part")),
        (10, change("stopped")),
        (10, ended("interrupted", 10.0, 130)),
        (100, started(2)),
        (101, ev.GenerationBound(generation=2, ports={})),
        (101, change("starting", attempt=2, pid=9, generation=2)),
        (105, progress(80, 30, attempt=2, examples=300)),  # and then nothing
        (200, started(3)),
        (201, change("starting", attempt=3, pid=10, generation=3)),
        (204, progress(100, 40, attempt=3, examples=400)),
        (205, change("succeeded", attempt=3, generation=3)),
        (206, ended("succeeded", 6.0)),
    )


def test_parts_are_told_one_by_one_and_together(tmp_path: Path) -> None:
    view = three_parts()
    told = report.build_report(view, RunFolder(tmp_path))
    assert [(part["part"], part["outcome"], part["duration_s"], part["global_step"]) for part in told["parts"]] == [
        (1, "interrupted", 10.0, 50),
        (2, "lost", 5.0, 80),
        (3, "succeeded", 6.0, 100),
    ]
    assert (told["outcome"], told["duration_s"], told["global_step"]) == ("succeeded", 21.0, 100)
    assert told["started"].startswith("2026-03-01T12:00:00") and told["ended"].startswith("2026-03-01T12:03:26")
    worker, other = told["tasks"]
    assert [attempt["pid"] for attempt in worker["attempts"]] == [7, 9, 10]
    assert all(attempt["ended"] for attempt in worker["attempts"])
    assert (worker["restarts"], worker["local_steps"], worker["examples"]) == (0, 120, 1200)
    assert other["state"] == TaskState.LEFT, "the second part has one worker only"
    assert "of the first part" not in summary(view, RunFolder(tmp_path)), "it is not this part's"


def test_a_part_that_goes_on_has_no_end(tmp_path: Path) -> None:
    view = folded((0, started(1)), (9, ended("failed", 9.0, 1)), (20, started(2)), (25, change("starting", attempt=2)))
    told = report.build_report(view, RunFolder(tmp_path), live=True)
    assert (told["outcome"], told["exit_code"], told["cause"]) == (None, None, None)
    assert told["parts"][1]["outcome"] is None and told["parts"][1]["ended"] is None
    assert view.elapsed_s(view.last_at + 1) == 9 + 6


def test_a_snapshot_has_the_parts(tmp_path: Path) -> None:
    view, file = three_parts(), tmp_path / "events.jsonl"
    file.write_text("\n")
    snapshot.save(tmp_path / "s", snapshot.Snapshot(view=view, offset=1, places={}))
    read = snapshot.load(tmp_path / "s", file)
    assert read is not None and read.view.parts == view.parts
    assert report.build_report(read.view, RunFolder(tmp_path)) == report.build_report(view, RunFolder(tmp_path))


def test_attempts_and_generations_count_on() -> None:
    view = three_parts()
    former = former_of(view.started, 3, view.tasks.values())
    assert former == Former(part=3, generation=3, attempts={TaskId.parse("worker:0"): 3, TaskId.parse("worker:1"): 1})
    run = Run(make_plan("ps:0", "chief:0", "worker:0"))
    run.lifecycle = Lifecycle(run.state.plan, former)
    run.state = run.lifecycle.state
    assert run.state.generation.number == run.state.first_generation == 4
    run.allocate()
    run.told(protocol.Locked(path="/model"))
    actions = run.told(protocol.Reserved(generation=4, ports={"ps:0": 1, "chief:0": 2, "worker:0": 3}))
    begun = [action.event for action in actions if isinstance(action, Record)]
    numbers = {event.task: event.attempt for event in begun if isinstance(event, ev.TaskChanged)}
    assert numbers == {"ps:0": 1, "chief:0": 1, "worker:0": 4}


# --- files that go on ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [0, 1000, 3000, 4000, 20_000])
def test_a_log_goes_on_where_the_part_before_had_ended(folder: RunFolder, lines: int) -> None:
    """As if one writer had written all of it, but for where its parts begin."""
    log = LogFile(folder.log(WORKER), LIMIT)
    for number in range(lines):
        log.add(line(number), most_waiting=0)
    log.close()
    log = LogFile(folder.log(WORKER), LIMIT)
    for number in range(lines, lines + 4000):
        log.add(line(number), most_waiting=0)
    log.close()
    found = [text for text in printed(folder) if text.startswith("line ")]
    assert len(found) == len(set(found)) and found == sorted(found)
    assert found[0] == "line 000000" and found[-1] == f"line {lines + 3999:06}"
    missing = (lines + 4000 - len(found)) * 12
    marks = [text for text in printed(folder) if "are missing here" in text]
    words = f"[tflaunch] {missing:,} bytes of this output are missing here (policy.log_limit_mib)"
    assert marks == [words] * bool(missing)


@pytest.mark.parametrize("before", [0, 3, 10, 25])
def test_a_ring_goes_on(tmp_path: Path, before: int) -> None:
    form, path = Form(value="q"), tmp_path / "ring"
    first = Ring(path, form, 10)
    for number in range(before):
        first.add((number,))
    first.close()
    second = Ring(path, form, 10)
    assert second.next == before
    for number in range(before, before + 4):
        second.add((number,))
    with path.open("rb") as stream:
        rows, after = form.read(stream)
    assert [row[0] for row in rows] == list(range(max(0, before + 4 - 10), before + 4)) and after == before + 4


def test_a_folder_is_one_processs(tmp_path: Path) -> None:
    first = claim(tmp_path)
    assert first is not None and claim(tmp_path) is None
    os.close(first)
    again = claim(tmp_path)
    assert again is not None
    os.close(again)
