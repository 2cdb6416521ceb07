"""The adjustments in real clusters: tasks that train with tf.estimator, and an agent that the test plays.

Each test names the adjustments that it needs; without any one of them it fails.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.wire.adjustments import DEFAULT
from launcher.wire.protocol import (
    Barrier,
    Begun,
    CheckpointSaved,
    Drain,
    Evaluated,
    Finished,
    Gate,
    MaxSteps,
    Ready,
    Step,
    StopTraining,
    Waiting,
)
from tests.launcher.estimator.cluster import Cluster, Zygote, cluster_of

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy, pytest.mark.timeout(240)]


@pytest.fixture
def cluster(zygote: Zygote, folder: Path) -> Iterator[Cluster]:
    with cluster_of(zygote, folder, workers=2) as cluster:
        cluster.tune = sorted(DEFAULT)
        yield cluster
        for task in cluster.pids:  # shown with a failure
            print(f"===== {task}\n{cluster.log(task)[-4000:]}")


def options(cluster: Cluster, **values: Any) -> None:
    cluster.options.update(values)


def saved_variables(cluster: Cluster) -> dict[str, float]:
    """Of the newest checkpoint: ``global_step``, and how many steps were ``applied`` to the variables."""
    return cluster.run_program("read_checkpoint.py", str(cluster.model_dir), "global_step", "applied")


def test_from_the_gate_to_the_drain(cluster: Cluster) -> None:
    """session-gate, ready-poll, worker-start, eval-delay, eval-drain, device-filters, final-save, heartbeat."""
    agent = cluster.agent
    options(cluster, batches={"chief": 5, "worker": 60}, step_s=0.01, save_steps=10, session_config=True)
    agent.greet(Gate(open=False))
    for task in ("worker:0", "worker:1", "ps:0", "chief:0", "evaluator:0"):
        cluster.start(task)

    # Nobody trains before the gate opens; a worker waits for the chief without a delay of its own.
    agent.expect("ps:0", Ready)
    agent.expect("evaluator:0", Ready)
    for task in ("chief:0", "worker:0", "worker:1"):
        agent.expect(task, Waiting, lambda message: message.what == "gate")
        assert not agent.of(task, Ready)
    for task in ("worker:0", "worker:1"):
        agent.tell(task, Gate(open=True))
        agent.expect(task, Waiting, lambda message: message.what == "session")
        cluster.expect_log(task, "Waiting for the chief to initialise")
        assert "secs before starting training" not in cluster.log(task)
    agent.greet(Gate(open=True))

    # The chief runs dry at once, and stays until the barrier while the workers train.
    assert agent.expect("chief:0", Ready) == Ready(global_step=0, kept=False)
    assert agent.expect("chief:0", Finished).local_steps == 5
    agent.expect("chief:0", Waiting, lambda message: message.what == "barrier")
    for task in ("worker:0", "worker:1"):
        assert agent.expect(task, Finished).local_steps == 60
        assert cluster.wait(task) == 0
    assert cluster.pids["chief:0"] not in cluster.zygote.ended
    agent.expect("chief:0", CheckpointSaved, lambda saved: saved.global_step > 5)
    agent.tell("chief:0", Barrier())
    assert cluster.wait("chief:0") == 0
    assert saved_variables(cluster) == {"global_step": 125, "applied": 125}
    assert agent.expect("chief:0", Step, lambda step: step.global_step == 125).local_steps == 5
    agent.expect("chief:0", CheckpointSaved, lambda saved: saved.path == str(cluster.model_dir / "model.ckpt-125"))

    # One evaluation long before start_delay_secs, no second within throttle_secs, and one more of the last checkpoint.
    early = agent.expect("evaluator:0", Evaluated)
    assert early.global_step > 0 and 300 < early.pause_s <= 600
    assert len(agent.of("evaluator:0", Evaluated)) == 1
    agent.tell("evaluator:0", Drain(global_step=125))
    assert cluster.wait("evaluator:0") == 0
    last = agent.of("evaluator:0", Evaluated)[-1]
    assert last.metrics["global_step"] == 125
    assert len(list((cluster.model_dir / "export" / "final").iterdir())) == 1
    assert "returned" in cluster.log("evaluator:0")

    # What the tasks said besides.
    step = agent.expect("worker:0", Step)
    assert step.local_steps >= 1 and step.loss == pytest.approx(4, abs=3)
    assert agent.of("worker:0", MaxSteps) == [MaxSteps(max_steps=None)]
    assert "filters ['/job:ps', '/job:worker/task:1']" in cluster.log("worker:1")
    assert "filters ['/job:ps', '/job:chief']" in cluster.log("chief:0")


def test_a_lost_ps_while_the_chief_waits(cluster: Cluster) -> None:
    """final-save recovers as training does: the workers depend on the chief. chief-rejoin keeps nothing that died."""
    agent = cluster.agent
    go = cluster.folder / "go"
    options(cluster, batches={"chief": 5, "worker": 40}, step_s=0.01, save_steps=5)
    agent.greet(Gate(open=True, variables_alive=True))
    cluster.start("ps:0")
    cluster.start("chief:0")
    agent.expect("chief:0", Waiting, lambda message: message.what == "barrier")
    agent.expect("chief:0", CheckpointSaved, lambda saved: saved.global_step == 5)

    agent.greet(Gate(open=False))
    cluster.kill("ps:0")
    cluster.wait("ps:0")
    cluster.start("ps:0", attempt=2)
    agent.expect("ps:0", Ready, attempt=2)
    agent.expect("chief:0", Waiting, lambda message: message.what == "gate")
    options(cluster, wait_file=str(go))
    cluster.start("worker:0")
    agent.greet(Gate(open=True, variables_alive=True))
    agent.expect("chief:0", Ready, lambda ready: ready == Ready(global_step=5, kept=False))
    agent.expect("worker:0", Ready)
    go.touch()
    assert agent.expect("worker:0", Finished).global_step == 45
    agent.tell("chief:0", Barrier())
    assert cluster.wait("chief:0") == 0
    assert saved_variables(cluster) == {"global_step": 45, "applied": 45}


def test_a_chief_that_dies_and_one_that_is_told_to_end(cluster: Cluster) -> None:
    """chief-rejoin and save-on-term."""
    agent = cluster.agent
    called = cluster.folder / "called"
    options(cluster, step_s=0.01, own_handler={"chief": str(called)})
    agent.greet(Gate(open=True))
    for task in ("ps:0", "chief:0", "worker:0"):
        cluster.start(task)
    agent.expect("worker:0", Step, lambda step: step.global_step > 30)
    cluster.kill("chief:0")
    assert cluster.wait("chief:0") == -signal.SIGKILL
    last = agent.of("worker:0", Step)[-1].global_step

    agent.greet(Gate(open=True, variables_alive=True))
    cluster.start("chief:0", attempt=2)
    ready = agent.expect("chief:0", Ready, attempt=2)
    assert ready.kept
    assert ready.global_step >= last
    agent.expect("chief:0", Step, lambda step: step.local_steps > 5, attempt=2)

    agent.tell("worker:0", StopTraining(reason="deadline"))
    assert agent.expect("worker:0", Finished).reason == "deadline"
    assert cluster.wait("worker:0") == 0
    cluster.kill("chief:0", signal.SIGTERM)
    finished = agent.expect("chief:0", Finished)
    assert finished.reason == "SIGTERM"
    assert cluster.wait("chief:0") == 0
    assert called.exists()
    assert "returned" in cluster.log("chief:0")
    assert saved_variables(cluster)["global_step"] == finished.global_step > last


def test_a_worker_trains_in_the_chiefs_training_or_not_at_all(cluster: Cluster) -> None:
    """session-gate: the parameter servers hold another training's variables until the chief begins this one."""
    agent, name = cluster.agent, f"{cluster.model_dir}#1"
    agent.greet(Gate(open=True, training="/other#1"))
    for task in ("ps:0", "worker:0", "worker:1"):
        cluster.start(task)
    for task in ("worker:0", "worker:1"):
        assert agent.expect(task, Begun) == Begun(training=name, model_dir=str(cluster.model_dir))
        agent.expect(task, Waiting, lambda message: message.what == "gate")
    agent.tell("worker:0", Gate(open=True, training="/other#1", over=(name,)))
    assert cluster.wait("worker:0") == 0
    assert "returned" in cluster.log("worker:0") and "has ended already" in cluster.log("worker:0")
    assert not agent.of("worker:0", Ready) and not agent.of("worker:1", Ready)
    agent.tell("worker:1", Gate(open=True, training=name))
    agent.expect("worker:1", Waiting, lambda message: message.what == "session")


def test_an_evaluator_ends_without_any_checkpoint(cluster: Cluster) -> None:
    """eval-delay, eval-drain."""
    cluster.start("evaluator:0")
    cluster.agent.expect("evaluator:0", Waiting, lambda message: message.what == "checkpoint")
    cluster.agent.tell("evaluator:0", Drain())
    assert cluster.wait("evaluator:0") == 0
    assert "returned" in cluster.log("evaluator:0")


def test_without_a_launcher_a_script_runs_as_ever(cluster: Cluster) -> None:
    """All adjustments are made, and nobody listens: the end is TensorFlow's own, by max_steps."""
    options(cluster, max_steps=20, save_steps=10, throttle_secs=1, start_delay_secs=0)
    cluster.env["TFLAUNCH_TASK_SOCKET"] = ""
    for task in ("ps:0", "chief:0", "worker:0", "evaluator:0"):
        cluster.start(task)
    for task in ("chief:0", "worker:0", "evaluator:0"):
        assert cluster.wait(task) == 0
    assert saved_variables(cluster)["global_step"] >= 20
    assert len(list((cluster.model_dir / "export" / "final").iterdir())) == 1
