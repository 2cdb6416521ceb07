"""Runs that are over: listed, compared, removed, with nothing else touched."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from launcher.agent.host.lock import LOCK_FILE
from launcher.cli.main import run as tflaunch
from launcher.cli.past.listing import Wishes, chosen, short_cause, table
from launcher.plan.plan_json import plan_to_json
from launcher.record import events as ev
from launcher.record import runs
from launcher.record.course.parameters import parameters_of
from launcher.record.event_log import EventLog
from launcher.record.runs import RunFolder
from launcher.wire.errors import UsageError
from tests.launcher.lifecycle.test_lifecycle import make_plan

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


def make(
    second: int, *options: str, auc: float | None = None, outcome: str = "succeeded", below: str = ""
) -> RunFolder:
    """A run of a second, with the options of its command."""
    at = NOW + timedelta(seconds=second)
    folder = RunFolder.create(Path("runs", below), "ctr", at)
    plan = {**plan_to_json(make_plan("ps:0", "chief:0", *(f"worker:{n}" for n in range(second + 1)))), "inherits": []}
    runs.write_private(folder.plan, json.dumps(plan))
    cause = None if outcome == "succeeded" else {"task": None, "message": "the disk is full; more words", "advice": "x"}
    story: list[ev.RunEvent] = [
        ev.RunStarted(
            run=folder.run,
            name="ctr",
            pid=1,
            host="h",
            command=("python", "train.py", *options),
            model_dir=None,
            run_dir=str(folder.path),
            tasks=({"task": "chief:0", "host": "a"},),
            version=f"1.{second}",
            run_id=f"{folder.run}.{second}",
        ),
        ev.CheckpointWritten(task="chief:0", global_step=100 * (second + 1), path="p"),
        *([ev.EvaluationDone(task="evaluator:0", global_step=100, metrics={"auc": auc})] if auc is not None else []),
        ev.RunEnded(outcome=outcome, exit_code=0, duration_s=60.0 + second, global_step=None, cause=cause),
    ]
    log = EventLog(folder.events)
    for event in story:
        log.append(event, at)
    log.close()
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    assert tflaunch(words) == code, capsys.readouterr()
    out = capsys.readouterr()
    return out.out, out.err


# --- ls --------------------------------------------------------------------------------------------------------------


def test_runs_are_listed_with_what_tells_them_apart(capsys: pytest.CaptureFixture[str]) -> None:
    make(0, "--lr", "0.1", "--data", "/d", auc=0.71)
    make(1, "--lr", "0.01", "--data", "/d", auc=0.74)
    make(2, "--lr", "0.5", "--data", "/d", outcome="failed", below="sweep")
    out, _ = said(capsys, "ls")
    head, second, first, third = out.splitlines()
    assert head.split() == ["run", "outcome", "ended", "took", "step", "lr", "auc"]
    assert second.split() == ["ctr-20260301T120001Z", "succeeded", "2026-03-01", "12:00:01", "1:01", "step", "200", "0.01", "0.7400"]  # fmt: skip  # noqa: E501
    assert first.split()[-2:] == ["0.1", "0.7100"]
    assert third.startswith("sweep/ctr-20260301T120002Z  failed") and third.endswith("the disk is full")
    order = [line.split()[0][-7:] for line in said(capsys, "ls", "--sort", "-auc")[0].splitlines()[1:]]
    assert order == ["120001Z", "120000Z", "120002Z"]
    kept = json.loads(said(capsys, "ls", "--where", "auc>0.72", "--where", "outcome=succeeded", "--json")[0])
    assert [row["metrics"]["auc"] for row in kept] == [0.74]
    assert kept[0]["parameters"] == {"lr": "0.01", "data": "/d"}
    assert "--where leaves none" in said(capsys, "ls", "--where", "lr=7")[1]
    assert "does not exist" in said(capsys, "ls", "nowhere", code=2)[1]
    assert "is a run itself" in said(capsys, "ls", "runs/ctr-20260301T120000Z", code=2)[1]


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_the_list_is_as_wide_as_the_terminal(width: int) -> None:
    words = "chief:0 cannot read s3://a/long/path/of/somebody/part-00001.parquet: access is denied"
    rows: list[dict[str, Any]] = [
        {**row, "folder": "/w/runs/ctr-nightly-20260301T120000Z", "outcome": "failed", "ended": "2026-03-01T12:00:01Z"}
        for row in ROWS
    ]
    rows[0]["cause"] = {"message": words}
    lines = table(rows, (), Path("/w/runs"), width)
    assert (max(map(len, lines)) <= width and "outcome" in lines[0]) or width == 30
    assert any(line.strip().startswith("chief:0 cannot read"[: width - 2]) for line in lines)
    whole = table(rows, (), Path("/w/runs"))
    assert max(map(len, whole)) > 120 and "chief:0 cannot read" in whole[1]
    assert ("auc" in lines[0]) is (width >= 60)


def test_a_plan_that_cannot_be_read_is_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = make(0, "--lr", "0.1"), make(1, "--lr", "0.2")
    one.plan.write_text("[]")
    made = json.loads(said(capsys, "compare", one.run, two.run, "--json")[0])
    assert made["spec"]["plan.json"][0] == "cannot be read" and made["command"]["lr"] == ["0.1", "0.2"]


ROWS: list[dict[str, Any]] = [
    {"run": "a", "global_step": 10, "metrics": {"auc": 0.5}, "parameters": {"lr": "0.1", "opt": "adam"}},
    {"run": "b", "global_step": 2, "metrics": None, "parameters": {"lr": "1e-3"}},
    {"run": "c", "global_step": None, "metrics": {"auc": 0.7}, "parameters": {"lr": "auto", "opt": "sgd"}},
]
for _row, _took_s in zip(ROWS, (9.0, 90.0, 8.0), strict=True):
    _row["duration_s"] = _took_s


@pytest.mark.parametrize(
    ("wishes", "left"),
    [
        (Wishes(), "abc"),
        (Wishes(sort="lr"), "bac"),
        (Wishes(sort="-step"), "abc"),
        (Wishes(sort="took"), "cab"),
        (Wishes(sort="auc"), "acb"),
        (Wishes(where=("lr=0.10",)), "a"),
        (Wishes(where=("lr<0.05",)), "b"),
        (Wishes(where=("opt != adam",)), "bc"),
        (Wishes(where=("opt>=adam", "step>=10")), "a"),
        (Wishes(where=("run=b",)), "b"),
        (Wishes(where=("took>0:09",)), "b"),
        (Wishes(where=("took==1:30",)), "b"),
        (Wishes(where=("step<1,000",)), "ab"),
    ],
)
def test_runs_are_chosen_and_sorted(wishes: Wishes, left: str) -> None:
    assert "".join(str(row["run"]) for row in chosen(ROWS, wishes)) == left


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (Wishes(where=("auc",)), "write NAME=VALUE, or with !=, <, >, <= or >="),
        (
            Wishes(where=("acu>0.5",)),
            "no run has 'acu'; did you mean 'auc'?; known are run, outcome, ended, took, step, auc, lr",
        ),
        (Wishes(where=("auc>",)), "what is it to be compared with?"),
        (Wishes(sort="-acu"), "no run has 'acu'"),
        (Wishes(metrics=("acu",)), "no run has a metric 'acu'; did you mean 'auc'?; known are auc"),
    ],
)
def test_a_wish_that_is_none_says_what_is_known(wishes: Wishes, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(ROWS, wishes)
    assert words in str(caught.value)


def test_a_cause_is_short() -> None:
    row = {"cause": {"message": "worker:1: ValueError: " + "x" * 300}, "note": None}
    assert len(short_cause(row)) == 60 and short_cause({"cause": None, "note": "on b"}) == "on b"


def test_parameters_of_a_command() -> None:
    words = ("python", "-m", "job", "--lr", "0.1", "--deep", "--name=a=b", "--", "--lr", "0.2", "x", "--last-one")
    assert parameters_of(words) == {"lr": "0.2", "deep": "true", "name": "a=b", "last_one": "true"}


# --- compare ---------------------------------------------------------------------------------------------------------


def test_two_runs_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = make(0, "--lr", "0.1", "--deep", auc=0.71), make(1, "--lr", "0.01", "--deep", auc=0.74)
    lines = said(capsys, "compare", one.run, two.run)[0].splitlines()
    rows = {tuple(line.split()) for line in lines}
    assert ("lr", "0.1", "0.01", "-0.0900") not in rows and ("lr", "0.1", "0.01") in rows
    assert not any("deep" in line for line in lines), "it is the same"
    assert {("roles.worker", "1", "2", "+1"), ("tflaunch", "1.0", "1.1"), ("data", "the", "same")} <= rows
    assert {("global_step", "100", "200", "+100"), ("auc", "0.7100", "0.7400", "+0.0300")} <= rows
    made = json.loads(said(capsys, "compare", one.run, two.run, "--json")[0])
    assert made["command"] == {"lr": ["0.1", "0.01"]} and made["metrics"] == {"auc": [0.71, 0.74]}


def test_values_of_variables_are_compared_and_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """And what only follows from the run's own folder is no difference."""
    one, two = make(0), make(0)
    for folder, value in ((one, "s3cret"), (two, "oth3r")):
        body = json.loads(folder.plan.read_text())
        for kind in body["kinds"]:
            kind["env"] = {"TOKEN": value, "PLAIN": value, "TFLAUNCH_DEFAULT_MODEL_DIR": f"{folder.path}/model"}
            kind["secret_env"] = ["TOKEN"]
        folder.plan.write_text(json.dumps(body))
    out, _ = said(capsys, "compare", one.run, two.run)
    assert out.count("(not shown)") == 2 and "DEFAULT_MODEL_DIR" not in out
    token = next(line for line in out.splitlines() if "env.TOKEN" in line)
    assert "s3cret" not in token and "oth3r" not in token


# --- rm --------------------------------------------------------------------------------------------------------------


def hold(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def test_rm_keeps_what_is_live_locked_linked_or_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.ckpt").write_text("precious")
    old, linking, locked, live, *newest = [make(second) for second in range(6)]
    (linking.path / "model").symlink_to(outside)
    (linking.path / "file").symlink_to(outside / "model.ckpt")
    (tmp_path / "runs" / "ctr-20260301T110000Z").symlink_to(outside)
    (tmp_path / "runs" / "mine").mkdir()
    (tmp_path / "runs" / "mine" / "notes").write_text("x")
    fd = hold(locked.path / "deep" / "model")
    runs.write_supervisor(live, runs.this_supervisor(tmp_path / "s"))
    before = {path.name for path in (tmp_path / "runs").iterdir()}
    out, err = said(capsys, "rm", "--keep", "2")
    os.close(fd)
    assert before - {path.name for path in (tmp_path / "runs").iterdir()} == {old.run, linking.run}
    assert f"removed {old.run} (" in out and f"{locked.run} is kept: another run trains in" in err
    assert (outside / "model.ckpt").read_text() == "precious" and len(newest) == 2
    assert said(capsys, "rm", "--keep", "2")[0].startswith(f"removed {locked.run}"), "nobody holds it any more"
    assert "it is live; end it with: tflaunch stop" in said(capsys, "rm", live.run, code=1)[1]


def test_rm_refuses_what_is_no_run_and_finds_all_before_it_removes_any(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make(0)
    assert "no run 'other'" in said(capsys, "rm", one.run, "other", code=2)[1] and one.path.exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "plan.json").write_text("{}")
    assert "it is no run that tflaunch has begun" in said(capsys, "rm", "./mine", code=1)[1]
    (tmp_path / "link").symlink_to(one.path)
    assert "links are not followed" in said(capsys, "rm", "./link", code=1)[1] and one.path.exists()
    for words in ((), (one.run, "--keep", "1")):
        assert "tflaunch rm --keep 20" in said(capsys, "rm", *words, code=2)[1]
    monkeypatch.chdir(one.path)
    assert "you are in its folder" in said(capsys, "rm", str(one.path), code=1)[1] and one.path.exists()
    monkeypatch.chdir(tmp_path)
    assert said(capsys, "rm", one.run)[0].startswith(f"removed {one.run}") and not one.path.exists()
