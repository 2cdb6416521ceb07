from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from launcher.record import events as ev
from launcher.record import reading, report, runs
from launcher.record.event_log import EventLog, read_events
from launcher.record.runs import RunFolder
from launcher.record.view import RunView
from launcher.views.summary import summary
from tests.launcher.views.console_demo import START, Story

GOLDEN = Path(__file__).parent / "golden_report.json"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "ctr", START)


def story(folder: RunFolder, events: int | None = None) -> RunView:
    """The view of the first so many events, read back from the folder."""
    log = EventLog(folder.events)
    for recorded in list(Story(5, seconds=30).tell())[:events]:
        log.append(recorded.event, recorded.at)
    log.close()
    return reading.load_view(folder)


def golden(folder: RunFolder, body: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(body).replace(str(folder.path), "RUN_DIR"))  # type: ignore[no-any-return]


def test_the_report_of_a_failed_run(folder: RunFolder) -> None:
    """``GOLDEN.write_text(json.dumps(made, indent=2) + "\\n")`` makes the file anew."""
    made = golden(folder, report.write_report(story(folder), folder))
    assert made == json.loads(GOLDEN.read_text())
    written = folder.report.read_text()
    assert golden(folder, json.loads(written)) == made
    assert stat.S_IMODE(folder.report.stat().st_mode) == 0o600


def test_the_report_has_what_it_promises(folder: RunFolder) -> None:
    made = report.build_report(story(folder), folder)
    promised = ("outcome", "exit_code", "duration_s", "global_step", "cause", "tasks", "recoveries", "input", "metrics")
    assert set(promised) <= set(made)
    for task in made["tasks"]:
        assert {"task", "state", "attempts", "global_step", "local_steps", "examples"} <= set(task)
        for attempt in task["attempts"]:
            assert {"started", "ended", "exit", "signal"} <= set(attempt)


@pytest.mark.parametrize("torn", [b"", b'{"n": 101, "at": "2026-03-01T12:0'])
def test_a_run_whose_supervisor_was_killed_is_lost_and_explained(folder: RunFolder, torn: bytes) -> None:
    story(folder, 100)
    with folder.events.open("ab") as stream:
        stream.write(torn)
    made = report.build_report(reading.load_view(folder), folder)
    assert (made["outcome"], made["exit_code"]) == ("lost", None)
    assert made["cause"]["kind"] == "lost" and "pid 4242" in made["cause"]["message"]
    assert made["global_step"] > 0 and made["duration_s"] > 10
    assert {task["task"]: task["state"] for task in made["tasks"]}["chief:0"] == "training"
    assert made["tasks"][0]["attempts"][0]["ended"] is None


def test_nothing_known_makes_a_report_too(folder: RunFolder) -> None:
    made = report.write_report(RunView(), folder)
    assert (made["outcome"], made["run"], made["started"], made["tasks"]) == ("lost", folder.run, None, [])


def test_tasks_of_a_lost_run_are_lost_with_it(folder: RunFolder) -> None:
    story(folder, 100)
    tasks = report.status_of(folder)["tasks"]
    assert {(task["state"], task["pid"]) for task in tasks} == {("lost", None)}  # type: ignore[union-attr, index, call-overload]


def test_a_run_that_never_began_has_no_date(folder: RunFolder) -> None:
    status = report.status_of(folder)
    assert (status["run"], status["outcome"], status["started"], status["ended"]) == (folder.run, "lost", None, None)


def test_a_live_run_has_no_outcome_yet(folder: RunFolder) -> None:
    story(folder, 100)
    assert report.status_of(folder)["outcome"] == "lost"
    runs.write_supervisor(folder, runs.this_supervisor(Path("/tmp/s")))
    status = report.status_of(folder)
    assert status["outcome"] is None
    assert status["tasks"][1] == {  # type: ignore[index, call-overload]
        "task": "chief:0", "host": "node01", "pid": 20011, "state": "training", "uses": None, "restarts": 0,
        "global_step": reading.load_view(folder).ordered()[1].global_step, "examples": _examples(folder),
    }  # fmt: skip
    view = reading.load_view(folder)
    assert report.build_report(view, folder, live=True)["cause"] is None


def _examples(folder: RunFolder) -> int:
    return max(
        recorded.event.examples or 0
        for recorded in read_events(folder.events)
        if isinstance(recorded.event, ev.Progressed) and recorded.event.task == "chief:0"
    )


def test_json_has_no_nan(folder: RunFolder) -> None:
    view = RunView()
    nan = ev.EvaluationDone(task="evaluator:0", global_step=1, metrics={"auc": float("nan"), "loss": float("inf")})
    view.apply(ev.Recorded(n=1, at=START, event=nan))
    report.write_report(view, folder)
    assert json.loads(folder.report.read_text())["metrics"] == {"global_step": 1, "auc": None, "loss": None}


def test_counted_input_goes_before_what_tasks_say(folder: RunFolder) -> None:
    view = story(folder, 100)
    said = report.build_report(view, folder)["input"]
    assert said["examples"] > 0 and said["duplicates"] is None
    view.apply(ev.Recorded(n=101, at=START, event=ev.InputCounted(examples=7, duplicates=2, skipped=1)))
    counted = report.build_report(view, folder)["input"]
    assert (counted["examples"], counted["duplicates"], counted["skipped"]) == (7, 2, 1)
    assert counted["progress"] is None and counted["reread"] == 0


def test_the_summary_of_a_failure_names_cause_lines_and_advice(folder: RunFolder) -> None:
    text = summary(story(folder), folder)
    assert "\x1b" not in text
    for words in (
        "ctr-nightly failed",
        "cause     ps:0 raised ValueError: a shape must not change (model.py:12 in build)",
        "| ValueError: a shape changed",
        "to do     read the traceback",
        "metrics   ctr_auc 0.664",
        "tensorboard --logdir /mnt/models/ctr",
        str(folder.logs),
    ):
        assert words in text
    assert summary(story(folder), folder, color=True).startswith("\x1b[1;31mctr-nightly failed\x1b[0m")


def test_the_summary_folds_what_followed(folder: RunFolder) -> None:
    view = RunView()
    cause = {"task": "ps:0", "host": "a", "message": "boom \x1b[2J", "advice": ""}
    events: list[ev.RunEvent] = [
        ev.TaskChanged(task=f"worker:{n}", attempt=1, state="failed", host="a") for n in range(6)
    ]
    events += [ev.Noticed(severity="warning", message=f"the agent of {host} died") for host in "abcdb"]
    events.append(ev.Noticed(severity="info", message="nothing much"))
    events.append(ev.RunEnded(outcome="failed", exit_code=1, duration_s=3.0, cause=cause))
    for n, event in enumerate(events, 1):
        view.apply(ev.Recorded(n=n, at=START, event=event))
    text = summary(view, folder)
    assert "followed  6 failures: worker:0, worker:1, worker:2, worker:3 and 2 more" in text
    assert "warning   the agent of d died\n            and 1 before" in text and "nothing much" not in text
    assert "\x1b" not in text


def test_the_summary_of_a_success_finds_the_newest_exports(folder: RunFolder, tmp_path: Path) -> None:
    for path in ("export/best/1700000001", "export/best/1700000002", "export/best/temp-1700000003", "export/empty"):
        (tmp_path / path).mkdir(parents=True)
    view = RunView()
    started = ev.RunStarted(
        run="r", name="ctr", pid=1, host="a", command=(), model_dir=str(tmp_path), run_dir="/r", tasks=()
    )
    ended = ev.RunEnded(outcome="succeeded", exit_code=0, duration_s=75.0, global_step=2000)
    for n, event in enumerate((started, ended), 1):
        view.apply(ev.Recorded(n=n, at=START, event=event))
    text = summary(view, folder)
    assert text.startswith("ctr succeeded  1:15, global step 2,000\n")
    assert f"exports   {tmp_path}/export/best/1700000002\n" in text
    assert "cause" not in text
