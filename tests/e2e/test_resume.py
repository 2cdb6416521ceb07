"""tflaunch resume: however the part before ended, the run goes on in its folder, and one report tells of all parts."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.cli.past.resuming import Environment, complete, missing_of
from launcher.wire.errors import UsageError
from tests.e2e.fake_runs import GOOD, Live, run_id, wait_until
from tests.e2e.running import Finished, alive, tflaunch

ROLES = {
    **GOOD,
    "chief": f"print=the second part,{GOOD['chief']}",
    "chief#1": "print=the first part,gate,ready,step=5:40,stop,saved=5,finished=5",
    "worker#1": "gate,ready,step=4:30,stop,finished=4",
}
ROLES = {name: ROLES[name] for name in ("chief#1", "worker#1", *GOOD)}  # the first that fits counts

e2e = pytest.mark.e2e


def resume(cwd: Path, *words: str, **env: str) -> Finished:
    return tflaunch("resume", "run", "--plain", *words, cwd=cwd, **env)


def kill_all(run: Live) -> None:
    """As when the machine goes down."""
    for pid in alive(run_id(run.folder)):
        os.kill(pid, signal.SIGKILL)
    os.kill(run.supervisor(), signal.SIGKILL)
    wait_until(lambda: not alive(run_id(run.folder)))


def last_run_id(folder: Path) -> str:
    """Of the last part."""
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [str(line["run_id"]) for line in lines if line["kind"] == "run_started"][-1]


HOW: dict[str, tuple[Callable[[Live], None], str]] = {
    "Ctrl-C": (lambda run: os.kill(run.client.pid, signal.SIGINT), "interrupted"),
    "supervisor killed": (lambda run: os.kill(run.supervisor(), signal.SIGKILL), "lost"),
    "all killed": (kill_all, "lost"),
}


@e2e
@pytest.mark.parametrize("how", HOW)
def test_a_run_goes_on(live: Callable[..., Live], tmp_path: Path, how: str) -> None:
    end, outcome = HOW[how]
    run = live(ROLES, "--inject", "kill worker:1 at step 9999")
    run.until_training()
    end(run)
    said = run.end()[1]
    assert f"resume    tflaunch resume {run.folder}" in said, said
    listed = tflaunch("status", "run", cwd=tmp_path).stdout
    assert outcome in listed
    done = resume(tmp_path)
    assert done.code == 0, done.stderr + done.stdout
    assert f"run {run.folder.name} goes on, part 2: 5 tasks" in done.stdout
    assert "chief:0 starting (attempt 2," in done.stdout and "asked to end" not in done.stdout
    report = done.report
    assert report is not None
    assert [part["outcome"] for part in report["parts"]] == [outcome, "succeeded"]
    assert (report["outcome"], report["global_step"]) == ("succeeded", 10)
    assert report["duration_s"] == pytest.approx(sum(part["duration_s"] for part in report["parts"]), abs=0.01)
    for task in report["tasks"]:
        assert [attempt["generation"] for attempt in task["attempts"]] == [1, 2] and task["restarts"] == 0
    assert done.task("chief:0")["examples"] == 40 + 320
    numbers = [json.loads(line)["n"] for line in (run.folder / "events.jsonl").read_text().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert done.log("chief:0") == "the first part\nthe second part\n"
    assert "the second part" in done.stdout and "the first part" not in done.stdout
    assert not alive(last_run_id(run.folder))
    again = resume(tmp_path)
    assert again.code == 2 and "run has succeeded: there is nothing to go on with" in again.stderr


@e2e
def test_a_live_run_and_an_incomplete_environment_are_refused(live: Callable[..., Live], tmp_path: Path) -> None:
    run = live(ROLES)
    run.until_training()
    live_one = resume(tmp_path)
    assert live_one.code == 2 and f"run is live; see it with: tflaunch attach {run.folder.name}" in live_one.stderr
    os.kill(run.client.pid, signal.SIGINT)
    assert run.end()[0] == 130
    plan = run.folder / "plan.json"
    body: dict[str, Any] = json.loads(plan.read_text())
    assert "PATH" in body["inherits"] and os.environ["PATH"] not in json.dumps(body)
    plan.write_text(json.dumps({**body, "inherits": ["PATH", "DATA_DIR", "SSH_TTY"]}))
    refused = resume(tmp_path)
    assert refused.code == 2 and "started with DATA_DIR in its environment" in refused.stderr
    moved = tmp_path / "elsewhere"
    run.folder.rename(moved)
    assert "move it back there" in tflaunch("resume", str(moved), cwd=tmp_path).stderr
    moved.rename(run.folder)
    events = run.folder / "events.jsonl"
    written = events.read_bytes()
    events.write_bytes(b"")
    assert "has a damaged events.jsonl" in tflaunch("resume", run.folder.name, cwd=tmp_path).stderr
    events.write_bytes(written)
    assert resume(tmp_path, "--without-env", "DATA_DIR").code == 0
    none = tflaunch("resume", cwd=tmp_path)
    assert none.code == 2 and "no run in runs that could be gone on with" in none.stderr


def test_what_is_missing_is_asked_for_by_name() -> None:
    inherits = ("A", "B", "C", "PWD", "SSH_TTY", "XDG_X", "HISTFILE")
    assert missing_of(inherits, {"A": ""}) == ["B", "C"]
    wishes = Environment(given=("B=1=2",), left_out=("C",))
    assert complete(inherits, {"A": "0"}, wishes, ask=None) == {"A": "0", "B": "1=2"}
    with pytest.raises(UsageError, match="started without it; did you mean 'DATA_DIR'"):
        complete(("DATA_DIR",), {}, Environment(left_out=("DATA_DIT",)), ask=None)
    with pytest.raises(UsageError, match="--env DATA_DIT: the run was started without it; did you mean 'DATA_DIR'"):
        complete(("DATA_DIR",), {}, Environment(given=("DATA_DIT=1",)), ask=None)
    with pytest.raises(UsageError, match="--env B: the run has stored its value"):
        complete(inherits, {}, Environment(given=("B=1",)), stored=("B",), ask=None)
    asked = {"B": "typed", "C": ""}
    assert complete(inherits, {"A": "0"}, Environment(), ask=asked.__getitem__) == {"A": "0", "B": "typed"}
    with pytest.raises(UsageError, match="started with B, C in its environment"):
        complete(inherits, {"A": "0"}, Environment(), ask=None)
    with pytest.raises(UsageError, match="there is no B in your environment"):
        complete(inherits, {}, Environment(given=("B",)), ask=None)
