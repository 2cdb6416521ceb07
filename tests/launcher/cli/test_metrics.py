"""What ``tflaunch metrics`` prints, of a run of now and of one whose samples still lie among its events."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path

import pytest

from launcher.cli.main import run
from launcher.record.event_log import EventLog
from launcher.record.events import Progressed
from launcher.record.runs import RunFolder
from launcher.record.sampling.sampler import SAMPLED, Sampler
from tests.launcher.views.console_demo import START, Story


@pytest.fixture(params=["now", "before"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    made = RunFolder.create(tmp_path / "runs", "ctr", START)
    log, sampler = EventLog(made.events), Sampler(made.samples)
    for recorded in Story(5, seconds=30).tell():
        if request.param == "now" and isinstance(recorded.event, SAMPLED):
            list(sampler.take(recorded.event, recorded.at.timestamp()))
        else:
            log.append(recorded.event, recorded.at)
    return made


def test_csv_has_every_sample_of_every_task(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metrics", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["task"] for row in rows} >= {"ps:0", "chief:0", "worker:0"}
    chief = [row for row in rows if row["task"] == "chief:0"]
    steps = [int(row["global_step"]) for row in chief if row["global_step"]]
    assert len(steps) > 5 and steps == sorted(steps) and any(row["cpu"] for row in chief)
    assert chief[0]["at"].startswith(f"{START:%Y-%m-%d}") and chief[0]["at"].endswith("Z")


def test_one_task_as_a_table_of_few_rows(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metrics", folder.run, "--task", "chief:0"]) == 0
    out = capsys.readouterr().out
    assert "chief:0" in out and "steps/s" in out and "worker:0" not in out and len(out.splitlines()) <= 23
    assert run(["metrics", "--task", "worker:99"]) == 2
    assert "no task 'worker:99'" in capsys.readouterr().err


def test_a_fact_that_repeats_a_sample_is_one_row(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metrics", "--task", "chief:0", "--csv"]) == 0
    before = capsys.readouterr().out
    last = list(csv.DictReader(io.StringIO(before)))[-1]
    fact = Progressed(
        task="chief:0", attempt=int(last["attempt"]), global_step=int(last["global_step"]),
        local_steps=int(last["local_steps"]), reports=3,
    )  # fmt: skip
    EventLog(folder.events).append(fact, START + timedelta(days=1))
    assert run(["metrics", "--task", "chief:0", "--csv"]) == 0
    assert capsys.readouterr().out == before
