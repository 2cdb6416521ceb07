"""Runs in which nothing goes on: what is said about them, with tasks without TensorFlow."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import freezer
from tests.e2e.fake_runs import Live
from tests.e2e.running import Finished
from tests.e2e.sharing import tflaunch

SCRIPT = str(Path(__file__).parent / "fake_cluster.py")
GOOD = {
    "ps": "listen,ready,hang",
    "chief": "gate,ready,step=10:320,finished=10,barrier,saved=10",
    "worker": "gate,ready,step=9:288,finished=9",
    "evaluator": "ready,drain",
}

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("shared")]


def run(cwd: Path, roles: dict[str, str], policy: str, *options: str) -> Finished:
    (cwd / "spec.yaml").write_text(
        f"roles: {{ps: {{}}, chief: {{}}, worker: {{count: 1}}, evaluator: {{}}}}\npolicy: {{{policy}}}\n"
    )
    words = [f"{role}={text}" for role, text in {**GOOD, **roles}.items()]
    arguments = ("local", "spec.yaml", "--no-preload", "--plain", "--run-dir", "run", *options)
    return tflaunch(*arguments, "--", "python", SCRIPT, *words, cwd=cwd)


def test_the_line_at_which_the_trainers_stand(tmp_path: Path) -> None:
    stuck = "gate,ready,step=3,hang"
    done = run(tmp_path, {"chief": stuck, "worker": stuck}, "hang_timeout_s: 2, grace_s: 2")
    assert done.code == 4 and done.report is not None, done.stdout + done.stderr
    cause = done.report["cause"]
    assert (cause["kind"], cause["task"]) == ("hang", "chief:0")
    assert "the global step has stood at 3 for 2 s" in cause["message"] and "time.sleep(3600)" in cause["message"]
    assert cause["message"].endswith(" (the same: worker:0)")
    for task in ("ps-0", "chief-0", "worker-0", "evaluator-0"):
        assert "fake_task.py" in (tmp_path / "run" / "stacks" / f"{task}.txt").read_text()


def test_a_server_that_is_paused(tmp_path: Path) -> None:
    steps = "gate,ready,step=3,waiting=session,stop"
    policy = "hang_timeout_s: 2, grace_s: 2"
    done = run(tmp_path, {"chief": steps, "worker": steps}, policy, "--inject", "pause ps:0 for 60s at step 3")
    assert done.code == 4 and done.report is not None, done.stdout + done.stderr
    cause = done.report["cause"]
    assert (cause["kind"], cause["task"]) == ("hang", "ps:0")
    assert "which is paused" in cause["message"] or "ps:0 is paused" in cause["message"]
    assert "kill -CONT" in cause["advice"]


def test_a_server_that_never_listens(tmp_path: Path) -> None:
    done = run(tmp_path, {"ps": "print=warming up,hang"}, "start_timeout_s: 8, grace_s: 2")
    assert done.code == 4 and done.report is not None, done.stdout + done.stderr
    cause = done.report["cause"]
    assert (cause["kind"], cause["task"]) == ("timeout", "ps:0")
    assert "is alive but has not listened for" in cause["message"] and "time.sleep(3600)" in cause["message"]
    assert "its last line was: warming up" in cause["message"]


def test_a_stuck_worker_is_left_behind_and_said_to_be(tmp_path: Path) -> None:
    done = run(tmp_path, {"worker": "gate,ready,step=9,hang"}, "hang_timeout_s: 2, grace_s: 2")
    assert done.code == 0 and done.report is not None, done.stdout + done.stderr
    notices = " ".join(notice["message"] for notice in done.report["notices"])
    assert "worker:0 has not trained for" in notices and "it is at" in notices and "time.sleep(3600)" in notices


def test_a_chief_that_never_saves_behind_the_barrier_is_timed(tmp_path: Path) -> None:
    done = run(tmp_path, {"chief": "gate,ready,step=10,finished=10,barrier,hang"}, "hang_timeout_s: 2, grace_s: 2")
    assert done.code == 4 and done.report is not None, done.stdout + done.stderr
    assert (done.report["cause"]["kind"], done.report["cause"]["task"]) == ("hang", "chief:0")


FROZEN = {
    **GOOD,
    "chief": "gate,ready,steps-until=go,finished=100000,barrier,saved=100000",  # does not hang, however long we take
    "worker": "gate,ready,step=9,hang",
}


@pytest.fixture
def frozen(live: Callable[..., Live], tmp_path: Path) -> Iterator[Live]:
    """A run in which worker:0 cannot be killed."""
    if why := freezer.missing():
        pytest.skip(why)
    (tmp_path / "spec.yaml").write_text(
        "roles: {ps: {}, chief: {}, worker: {count: 1}, evaluator: {}}\npolicy: {hang_timeout_s: 2, grace_s: 2}\n"
    )
    run = live(FROZEN, argv=("local", "spec.yaml", "--no-preload", "--plain", "--run-dir", "run"))
    run.until_training("chief:0", "worker:0")
    with freezer.Freezer() as group:
        group.freeze([run.pid("worker:0")])
        yield run


def test_a_worker_that_cannot_be_killed_keeps_nobody_from_saving(frozen: Live, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    code, out = frozen.end()
    assert code == 0, out
    assert "worker:0 on local was killed in vain: process" in out and "is counted as gone" in out
    assert frozen.report()["global_step"] == 100_000


def test_a_second_interrupt_ends_a_run_with_a_task_that_cannot_be_killed(frozen: Live) -> None:
    frozen.client.send_signal(signal.SIGINT)
    frozen.wait_for("stop_requested", how="interrupt")
    frozen.client.send_signal(signal.SIGINT)
    code, out = frozen.end()
    assert code == 130 and "worker:0 on local was killed in vain: process" in out, out
