"""Fault drills in whole runs: the faults are real, and so is what they cause."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fake_runs import ENDLESS, GOOD, Live, local, wait_until
from tests.e2e.running import tflaunch

CANNED = Path(__file__).parent / "canned.py"

pytestmark = pytest.mark.e2e


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def drills(report: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    assert report is not None
    return {str(drill["fault"]): drill for drill in report["drills"]}


def test_each_drill_is_carried_out_and_accounted_for(tmp_path: Path) -> None:
    roles = {
        **GOOD,
        "ps#1": "listen,ready,obey",
        "worker:1#1": "gate,ready,step=1,hang",
        "chief": f"gate,ready,step=5:160,wait-file={tmp_path}/up,step=10:320,finished=10,barrier,saved=10",
        "worker:1": f"gate,ready,step=9:288,touch={tmp_path}/up,finished=9",
    }
    faults = ("kill worker:1 at step 5", "exit ps:0 with 3 after 0s", "kill evaluator:0 at step 500")
    order = {pattern: roles[pattern] for pattern in sorted(roles, key=lambda pattern: "#" not in pattern)}
    order = {pattern: order[pattern] for pattern in sorted(order, key=lambda pattern: ":" not in pattern)}
    done = local(tmp_path, *(word for fault in faults for word in ("--inject", fault)), roles=order)
    assert done.code == 0, done.stdout + done.stderr
    told = drills(done.report)
    killed, left, never = (told[fault] for fault in faults)
    assert [attempt["signal"] for attempt in done.task("worker:1")["attempts"]] == [9, None]
    assert done.task("ps:0")["attempts"][0]["exit"] == 3
    assert killed["global_step"] >= 5 and killed["detected_after_s"] >= 0 and killed["recovered_after_s"] > 0
    assert left["at"] is not None and left["detected_after_s"] >= 0
    assert (never["at"], never["task"], never["recovered_after_s"]) == (None, "evaluator:0", None)
    assert done.report is not None and "was not carried out" in str(done.report["notices"])
    assert "drills    fault" in done.stdout and "not done" in done.stdout


def test_a_paused_task_stands_still_and_goes_on(live: Callable[..., Live]) -> None:
    run = live(ENDLESS | {"evaluator": "ready,drain"}, "--inject", "pause worker:1 for 3600s after 0s")
    run.wait_for("drill_fired")
    wait_until(lambda: state_of(run.pid("worker:1")) in ("T", ""))
    assert state_of(run.pid("worker:1")), "it has ended"
    run.client.send_signal(signal.SIGINT)
    assert run.end()[0] == 130
    run.wait_until_gone()
    states = {task["task"]: task["state"] for task in run.report()["tasks"]}  # type: ignore[attr-defined]
    assert states["worker:1"] == "succeeded", "it heard the word to stop"


@pytest.mark.parametrize("victim", ["supervisor", "client"])
def test_a_paused_task_is_not_left_behind(live: Callable[..., Live], victim: str) -> None:
    run = live(ENDLESS, "--inject", "pause chief:0 for 3600s at step 1")
    run.wait_for("drill_fired")
    os.kill({"supervisor": run.supervisor(), "client": run.client.pid}[victim], signal.SIGKILL)
    run.end()
    run.wait_until_gone()


@pytest.mark.tensorflow
def test_drills_on_a_real_cluster(tmp_path: Path) -> None:
    """Every role dies while it trains, one after the other, as a script that knows nothing of it."""
    spec = tmp_path / "drilled.yaml"
    faults = (
        "kill ps:0 at step 300",
        "pause worker:0 for 0.5s at step 500",
        "exit chief:0 with 3 at step 700",
        "kill worker:0 at step 1100",
    )
    spec.write_text(
        "roles: {ps: {}, chief: {}, worker: {}, evaluator: {}}\ninject:\n" + "".join(f"- {f}\n" for f in faults)
    )
    command = ("--", "python", str(CANNED), "--steps", "1500", "--model_dir", str(tmp_path / "model"))
    done = tflaunch("local", str(spec), "--plain", "--run-dir", "run", *command, cwd=tmp_path)
    assert done.code == 0, done.stdout + done.stderr
    told = drills(done.report)
    assert all(told[fault]["at"] is not None for fault in faults), told
    assert all(told[fault]["recovered_after_s"] is not None for fault in faults), told
    assert told["kill ps:0 at step 300"]["steps_lost"] > 0
    assert told["exit chief:0 with 3 at step 700"]["steps_lost"] == 0, "a chief that comes back keeps what is alive"
    assert done.report is not None and done.report["metrics"]["global_step"] >= 1500
    assert {item["task"] for item in done.report["recoveries"]} == {"worker:0", "chief:0", "ps:0"}
