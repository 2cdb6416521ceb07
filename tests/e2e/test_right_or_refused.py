"""No program ends with exit code 0 and a result that is wrong or missing: it is right, or refused in words."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from tests.e2e.fake_runs import Live
from tests.e2e.running import Finished
from tests.e2e.sharing import tflaunch

HERE = Path(__file__).parent
SMALL = ("--workers", "1", "--ps", "1", "--plain", "--run-dir", "run")

pytestmark = [pytest.mark.tensorflow, pytest.mark.e2e, pytest.mark.usefixtures("shared")]


def steps_saved(folder: Path) -> list[int]:
    return sorted(int(path.stem.rpartition("-")[2]) for path in folder.glob("model.ckpt-*.index"))


@pytest.mark.legacy
def test_trainings_follow_one_another_and_anything_may_follow_them(tmp_path: Path) -> None:
    done = tflaunch("local", *SMALL, "--", "python", str(HERE / "several.py"), str(tmp_path), cwd=tmp_path)
    assert done.code == 0, done.stdout[-6000:] + done.stderr
    assert steps_saved(tmp_path / "second")[0] == 0, "the second model has nothing of the first"
    assert steps_saved(tmp_path / "second")[-1] == 80, "both rounds of both trainers are in the last checkpoint"
    for task in ("chief:0", "worker:0", "evaluator:0"):
        assert ("evaluated" if task == "worker:0" else "evaluated 80") in done.log(task)  # it waits for no save
        assert "predicted True True" in done.log(task)
    assert "exported" in done.log("chief:0")
    events = [json.loads(line) for line in (done.run_dir / "events.jsonl").read_text().splitlines()]
    evaluated = {event["checkpoint"] for event in events if event["kind"] == "evaluation_done"}
    assert f"{tmp_path}/second/model.ckpt-80" in evaluated
    assert min(steps_saved(tmp_path / "first")[-1:]) >= 60
    assert done.report is not None and done.report["notices"] == []


@pytest.mark.legacy
def test_what_is_placed_nowhere_runs_where_its_session_is(tmp_path: Path) -> None:
    """Not on a parameter server, whose name comes before a worker's."""
    program = ("python", str(HERE / "unplaced.py"), str(tmp_path / "model"))
    done = tflaunch("local", *SMALL, "--no-evaluator", "--", *program, cwd=tmp_path)
    assert done.code == 0, done.stdout[-6000:] + done.stderr
    for task in ("chief:0", "worker:0"):
        assert "here True" in done.log(task)


@pytest.mark.legacy
def test_sessions_of_the_programs_own_are_as_they_are_in_a_cluster_that_is_fixed(tmp_path: Path) -> None:
    program = ("python", str(HERE / "own_sessions.py"), str(tmp_path / "model"))
    done = tflaunch("local", *SMALL, "--no-evaluator", "--", *program, cwd=tmp_path)
    assert done.code == 0, done.stdout[-6000:] + done.stderr
    for task in ("chief:0", "worker:0"):
        assert "wrong: nothing" in done.log(task)


def refused(tmp_path: Path, mistake: str, *options: str) -> Finished:
    program = ("python", str(HERE / "refused.py"), mistake, str(tmp_path / "model"))
    return tflaunch("local", *SMALL, *options, "--", *program, cwd=tmp_path)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("main is not called", "no trainer has trained a step.*is `main` called"),
        ("empty input", "no trainer has trained a step.*input was empty"),
        ("without TF_CONFIG", "TF_CONFIG was changed or removed.*trains alone"),
        ("a folder each", "model_dir differs"),
        ("no global step", "the global step was never increased.*pass it to `minimize`"),
        ("only train", "Estimator.train alone does not train.*train_and_evaluate"),
    ],
)
def test_a_program_that_cannot_be_right_fails_in_words(mistake: str, words: str, tmp_path: Path) -> None:
    done = refused(tmp_path, mistake)
    assert done.code == 1 and done.report is not None, done.stdout[-6000:] + done.stderr
    told = done.report["cause"]["message"] + " " + done.report["cause"]["advice"]
    assert re.search(words, told, re.DOTALL), told


@pytest.mark.parametrize(
    "program", [["refused.py", "no parameter servers", "model"], ["../shapes/monitored.py", "40", "model"]]
)
def test_parameter_servers_that_a_cluster_does_not_have_are_not_waited_for(program: list[str], tmp_path: Path) -> None:
    command = ("python", str(HERE / program[0]), *program[1:])
    done = tflaunch("local", *SMALL, "--ps", "0", "--no-evaluator", "--", *command, cwd=tmp_path)
    assert done.code == 1 and done.report is not None, done.stdout[-6000:] + done.stderr
    cause = done.report["cause"]
    assert cause["kind"] == "tf_config" and "the cluster has none" in cause["message"] and "--ps 1" in cause["advice"]
    assert not any(task["restarts"] for task in done.report["tasks"])


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("never saved", "nothing was saved: checkpoints are off"),
        ("nan", "not a finite number in the evaluation: .*loss"),
    ],
)
def test_a_success_with_a_flaw_has_a_warning(mistake: str, words: str, tmp_path: Path) -> None:
    done = refused(tmp_path, mistake)
    assert done.code == 0 and done.report is not None, done.stdout[-6000:] + done.stderr
    told = [notice["message"] for notice in done.report["notices"]]
    assert any(re.search(words, message) for message in told), told
    assert re.search(f"^  warning .*{words}", done.stdout, re.MULTILINE)


def test_an_evaluation_that_never_ends_is_bounded(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        json.dumps(
            {"roles": {"ps": {}, "chief": {}, "worker": {}, "evaluator": {}}, "policy": {"evaluator_drain_s": 4}}
        )
    )
    done = refused(tmp_path, "endless evaluation", str(spec))
    assert done.code == 4 and done.report is not None, done.stdout[-6000:] + done.stderr
    assert "this evaluation never ends" in done.report["cause"]["message"]


ALONE = ("local", "--workers", "0", "--ps", "0", "--no-evaluator", "--plain", "--run-dir")


def test_a_chief_alone_is_locked_and_saves_when_it_is_interrupted(tmp_path: Path) -> None:
    model = str(tmp_path / "model")
    program = ("--", "python", str(HERE / "refused.py"), "endless training", model)
    run = Live(tmp_path, {}, argv=(*ALONE, "run", *program))
    run.until_training("chief:0")
    other = tflaunch(*ALONE, "other", *program, cwd=tmp_path, run="other")
    assert other.code == 3 and "in use by run" in other.stdout, other.stdout[-4000:]
    run.client.send_signal(signal.SIGINT)
    code, output = run.end()
    assert code == 130, output[-4000:]
    assert steps_saved(tmp_path / "model")[-1] > 0


def test_a_chief_alone_is_counted_and_done_only_once(tmp_path: Path) -> None:
    program = ("--", "python", str(HERE / "refused.py"), "none", str(tmp_path / "model"))
    first = tflaunch(*ALONE, "run", *program, cwd=tmp_path)
    assert first.code == 0, first.stdout[-4000:] + first.stderr
    assert first.task("chief:0")["local_steps"] == 40 and steps_saved(tmp_path / "model")[-1] == 40
    again = tflaunch(*ALONE, "again", *program, cwd=tmp_path, run="again")
    assert again.code == 0 and "already at step 40: nothing to train" in again.stdout, again.stdout[-4000:]
