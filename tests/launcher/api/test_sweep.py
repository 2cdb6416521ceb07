"""Sweeps, with a cluster of fake tasks whose chief's end depends on a value."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher import Trial, sweep
from launcher.views.sweep_table import Row, order
from launcher.wire.errors import UsageError
from tests.e2e.fake_runs import run_id, wait_until
from tests.e2e.running import alive, environment, tflaunch

FAKE = str(Path(__file__).parents[2] / "e2e" / "fake_cluster.py")


ALONE: dict[str, Any] = {"ps": 0, "workers": 0, "evaluator": False}


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*more: str) -> list[str]:
    """A chief that does three steps and ends as ``{end}`` says."""
    return [FAKE, "chief=gate,ready,step=3,finished=3,exit={end}", *more]


def outcomes(trials: list[Trial]) -> list[str]:
    return [trial.state for trial in trials]


def test_every_combination_is_a_run_and_one_that_fails_ends_nothing() -> None:
    seen: set[int] = set()
    trials = sweep(
        command(),
        grid={"end": [0, 1], "lr": ["0.1", "a b/c"]},
        parallel=2,
        restarts=0,
        ps=0,
        workers=0,
        evaluator=False,
        on_change=lambda now: seen.add(sum(trial.state == "running" for trial in now)),
    )
    assert outcomes(trials) == ["succeeded", "succeeded", "failed", "failed"]
    assert max(seen) == 2
    assert [trial.values for trial in trials][1] == {"end": "0", "lr": "a b/c"}
    assert trials[1].folder == Path("sweep/002-end=0,lr=a-b-c")
    plan = json.loads((trials[1].folder / "plan.json").read_text())
    assert plan["tasks"][0]["argv"][-2:] == ["--lr", "a b/c"]
    assert trials[0].global_step == 3
    assert trials[2].result is not None and trials[2].result.cause is not None


def test_what_is_done_is_not_run_again(cwd: Path) -> None:
    marks = cwd / "marks"
    marks.mkdir()
    script = cwd / "train.py"
    script.write_text(
        """import os, sys, time
n = sys.argv[sys.argv.index("--n") + 1]
mark = f"marks/{n}"
open(mark, "a").write("x")
if n == "3" and os.path.getsize(mark) == 1:
    time.sleep(600)
sys.exit(n == "5")
"""
    )
    argv = [sys.executable, "-m", "launcher", "sweep", "--grid", "n=0,1,2,3,4,5,6,7", "--restarts", "0"]
    argv += ["--ps", "0", "--workers", "0", "--no-evaluator", "--json", "--", "python", "train.py"]
    env = {"TFLAUNCH_NO_PRELOAD": "1"}
    first = subprocess.Popen(argv, cwd=cwd, env=environment(**env), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: first.poll() is not None or ((marks / "3").exists() and (marks / "3").read_text() == "x"))
        assert first.poll() is None
        first.send_signal(signal.SIGINT)
        said = first.communicate()[1].decode()
    finally:
        first.kill()
    assert first.returncode == 130, said
    assert "the same command goes on" in said
    wait_until(lambda: not alive(run_id(cwd / "sweep" / "004-n=3")))
    done = tflaunch(*argv[3:], cwd=cwd, **env)
    assert done.code == 1, done.stderr
    rows = json.loads(done.stdout)
    assert [row["outcome"] for row in rows] == [*["succeeded"] * 5, "failed", *["succeeded"] * 2]
    assert [len((marks / str(n)).read_text()) for n in range(8)] == [1, 1, 1, 2, 1, 1, 1, 1]
    assert rows[3]["run_dir"].endswith("004-n=3+2")
    again = tflaunch(*argv[3:], cwd=cwd, **env)
    assert json.loads(again.stdout) == rows
    assert [len((marks / str(n)).read_text()) for n in range(8)] == [1, 1, 1, 2, 1, 1, 1, 1]


def test_trials_that_train_in_one_folder_are_refused() -> None:
    with pytest.raises(UsageError, match="trials 1 and 2 train in one folder"):
        sweep(command("--model_dir", "here"), grid={"end": [0], "lr": [1, 2]}, ps=0, workers=0, evaluator=False)
    trials = sweep(
        command(), grid={"end": [0], "lr": [1, 2]}, folder="b", model_dir="m", ps=0, workers=0, evaluator=False
    )
    assert [trial.result.report["model_dir"] for trial in trials if trial.result] == [
        os.path.abspath("m/001"),  # noqa: PTH100
        os.path.abspath("m/002"),  # noqa: PTH100
    ]


@pytest.mark.parametrize(
    ("grid", "more", "words"),
    [
        ({"l r": [1]}, {}, "'l r' is no name"),
        ({"trial": [1]}, {}, "'trial' is no name"),
        ({"lr": []}, {}, "lr: one value or more"),
        ({"lr": [1, "1"]}, {}, "each of them once"),
        ({"lr": [1]}, {"parallel": 0}, "1 or more"),
        ({"lr": [1]}, {"workers": -1}, "--workers"),
    ],
)
def test_bad_input(grid: dict[str, list[object]], more: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        sweep(command(), grid=grid, **more)  # type: ignore[arg-type]


def test_a_folder_of_another_sweep_is_not_taken() -> None:
    sweep(command(), grid={"end": [0]}, ps=0, workers=0, evaluator=False)
    with pytest.raises(UsageError, match="holds another sweep"):
        sweep(command(), grid={"end": [1]}, ps=0, workers=0, evaluator=False)


def test_two_at_once_in_one_folder_are_refused(cwd: Path) -> None:
    said: list[str] = []

    def again(_: object) -> None:
        if not said:
            with pytest.raises(UsageError) as caught:
                sweep(command(), grid={"end": [0]}, **ALONE)
            said.append(str(caught.value))

    assert outcomes(sweep(command(), grid={"end": [0]}, on_change=again, **ALONE)) == ["succeeded"]
    assert said == ["sweep: this sweep runs already; wait for it, or name another folder"]


def test_a_file_is_no_folder_for_a_sweep(cwd: Path) -> None:
    (cwd / "taken").touch()
    with pytest.raises(UsageError, match=r"taken: no sweep can be kept there: .*; name another folder"):
        sweep(command(), grid={"end": [0]}, folder="taken", **ALONE)


def test_seeds_and_the_commands_of_specs(cwd: Path) -> None:
    (cwd / "spec.yaml").write_text(json.dumps({"command": command(), "roles": {"chief": {"count": 1}}}))
    trials = sweep(spec="spec.yaml", grid={"end": [0]}, seed_repeats=2)
    assert [trial.values for trial in trials] == [{"end": "0", "seed": "0"}, {"end": "0", "seed": "1"}]
    assert outcomes(trials) == ["succeeded"] * 2


def test_the_best_comes_first() -> None:
    def row(number: int, **metrics: float) -> Row:
        return Row(number=number, values={}, state="", global_step=None, metrics=metrics, duration_s=None, problem="")

    rows = [row(1), row(2, auc=0.6, loss=2.0), row(3, auc=0.7, loss=3.0), row(4, auc=float("nan"))]
    assert [each.number for each in order(rows, "auc")] == [3, 2, 1, 4]
    assert [each.number for each in order(rows, "loss")] == [2, 3, 1, 4]
    assert [each.number for each in order(rows, "-auc")] == [2, 3, 1, 4]


@pytest.mark.parametrize(
    ("words", "grid", "flags", "said"),
    [
        ("train.py", {"lr": [1]}, {}, "list of words"),
        ([FAKE], {"lr": "0.1"}, {}, "lr: a list of values"),
        ([FAKE], {"lr": 0.1}, {}, "lr: a list of values"),
        ([FAKE], {"lr": [1]}, {"run_dir": "mine"}, "run_dir"),
    ],
)
def test_what_is_no_list_and_a_single_folder_are_refused(words: Any, grid: Any, flags: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sweep(words, grid=grid, **flags)
    assert not Path("sweep").exists()


def test_the_folder_is_where_the_sweep_was_started_whatever_cwd_is(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    trials = sweep(command(), grid={"end": [0]}, cwd=tmp_path / "elsewhere", ps=0, workers=0, evaluator=False)
    assert outcomes(trials) == ["succeeded"]
    assert (tmp_path / "sweep" / "001-end=0" / "report.json").exists()


@pytest.mark.parametrize("more", [["--grid", "end=1"], ["--env", "NOT_SET_ANYWHERE"]])
def test_a_grid_given_twice_and_a_missing_variable_are_refused(more: list[str], tmp_path: Path) -> None:
    done = tflaunch("sweep", "--grid", "end=0", *more, "--", FAKE, cwd=tmp_path)
    assert done.code == 2
    assert more[1].partition("=")[0] in done.stderr
