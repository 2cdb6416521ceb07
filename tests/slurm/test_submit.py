"""``tflaunch submit``, and the other commands on the login node."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml

from tests.e2e.running import tflaunch, tflaunch_argv
from tests.hosts.running import ENDLESS, GOOD
from tests.slurm.lab import Lab, until
from tests.slurm.running import Submit, ask, spec, until_gone


def test_a_good_run(slurm: Lab, submitted: Submit) -> None:
    run = submitted(spec())
    assert run.end() == "COMPLETED", run.said
    assert (run.report["outcome"], run.report["global_step"]) == ("succeeded", 10), run.said
    until_gone(slurm)


def test_the_login_node_sees_and_steers_it(slurm: Lab, submitted: Submit) -> None:
    run = submitted(spec({**ENDLESS, "evaluator": "ready,drain"}))
    run.until_training()
    state = json.loads(ask("status", run, "--json"))
    assert (state["outcome"], state["note"]) == (None, f"Slurm job {run.job}: running")
    assert {task["state"] for task in state["tasks"] if task["task"].startswith("worker")} == {"training"}
    ask("restart", run, "worker:1")
    run.until("task_changed", task="worker:1", attempt=2, state="training")
    assert "INTERRUPTED" in ask("stop", run).upper()
    assert run.report["outcome"] == "interrupted"
    until_gone(slurm)
    assert json.loads(ask("status", run, "--json"))["outcome"] == "interrupted"


def test_it_is_followed_to_its_end(slurm: Lab, submitted: Submit) -> None:
    """From before it begins."""
    run = submitted(spec({**GOOD, "worker": f"print=hello,{GOOD['worker']}"}))
    assert "succeeded after" in ask("attach", run, "--plain")
    again = submitted(spec({**GOOD, "worker": f"print=hello,{GOOD['worker']}"}), run="again")
    assert "hello" in ask("logs", again, "worker:0", "--follow")
    assert again.end() == "COMPLETED"


def test_a_job_that_waits_is_seen_and_stopped(slurm: Lab, submitted: Submit) -> None:
    other = slurm.run("sbatch", "--parsable", "-N3", "--exclusive", "--wrap", "sleep 600").strip()
    until(lambda: slurm.job(other)["JobState"] == "RUNNING", "the other job", slurm.words)
    run = submitted(spec())
    state = json.loads(ask("status", run, "--json"))
    assert state["outcome"] is None
    assert state["note"].startswith(f"Slurm job {run.job}: waits (")
    assert "is cancelled" in ask("stop", run)
    assert run.end() == "CANCELLED"


def test_values_are_nowhere_but_in_the_folder(slurm: Lab, submitted: Submit) -> None:
    """Neither in the script, nor in what Slurm knows, nor in the environment of the job."""
    words = {**GOOD, "chief": f"env=SHOWN,env=MINE,{GOOD['chief']}"}
    run = submitted(spec(words), "--env", "TOKEN", "--env", "SHOWN=1", TOKEN="s3cr3t", MINE="0wn")
    known = slurm.run("scontrol", "show", "job", "-d", run.job)
    assert run.end() == "COMPLETED", run.said
    assert [json.loads(line) for line in run.log("chief:0").splitlines()] == [["SHOWN", "1"], ["MINE", None]]
    holding = {path for path in run.folder.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()}
    assert holding == {run.folder / "plan.json"}
    assert stat.S_IMODE((run.folder / "plan.json").stat().st_mode) == 0o600
    assert "s3cr3t" not in known + run.said


def test_plan_shows_the_script(slurm: Lab, submitted: Submit) -> None:
    keys = {"nodes": 3, "time": "90m", "partition": "main", "extra": ["--exclusive"]}
    run = submitted(spec(engine={"slurm": keys}))
    script = (run.folder / "submit" / "job.sbatch").read_text()
    shown = slurm.run(*tflaunch_argv("plan", "spec.yaml", "--run-dir", "run"), cwd=run.cwd)
    assert script in shown
    assert "Slurm says: Job" in shown
    assert slurm.job(run.job)["TimeLimit"] == "01:30:00"
    assert run.end() == "COMPLETED", run.said


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"partition": "none"}, "invalid partition"),
        ({"nodes": 4}, "node configuration is not available"),
        ({"partition": "short", "time": "8h"}, "would wait for ever"),
    ],
)
def test_what_slurm_refuses_is_said_in_a_line(keys: dict[str, object], words: str, slurm: Lab, place: Path) -> None:
    (place / "spec.yaml").write_text(yaml.safe_dump(spec(engine={"slurm": {"nodes": 3, **keys}})))
    done = tflaunch("submit", "spec.yaml", "--run-dir", "run", cwd=place, **slurm.environ)
    assert done.code == 3
    assert words in done.stderr.lower()
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not (place / "run").exists()
    assert slurm.jobs() == []


def test_without_slurm_a_line_says_so(place: Path, slurm: Lab) -> None:
    (place / "spec.yaml").write_text(yaml.safe_dump(spec()))
    done = tflaunch("submit", "spec.yaml", "--run-dir", "run", cwd=place, PATH="/nowhere")
    assert (done.code, len(done.stderr.splitlines())) == (3, 1), done.stderr
    assert "sbatch cannot be started" in done.stderr
    outside = tflaunch("run", "spec.yaml", "--run-dir", "run", cwd=place)
    assert (outside.code, len(outside.stderr.splitlines())) == (2, 1), outside.stderr
    assert "submit one with tflaunch submit" in outside.stderr


def test_a_job_that_is_over_gives_no_nodes(slurm: Lab, place: Path) -> None:
    """Its environment is still there, in a shell that salloc has left."""
    job = slurm.run("sbatch", "--parsable", "-N3", "--wrap", "true").strip()
    until(lambda: not slurm.jobs(), "its end")
    (place / "spec.yaml").write_text(yaml.safe_dump(spec()))
    inside = {**slurm.environ, "SLURM_JOB_ID": job, "SLURM_JOB_NODELIST": "n[1-3]"}
    done = tflaunch("run", "spec.yaml", "--plain", "--run-dir", "run", cwd=place, **inside)
    assert done.code == 3, done.stdout + done.stderr
    assert f"Slurm job {job} is COMPLETED" in done.stdout
