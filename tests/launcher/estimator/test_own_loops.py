"""Evaluators with a loop of their own: what is known of their work, and of those that train instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.estimator.adjustments.evaluation import own_loops
from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.channel import Channel
from launcher.estimator.task import Task
from launcher.wire.protocol import TRAINING, Uses, Waiting
from tests.launcher.estimator.cluster import DEADLINE_S, Agent

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


@pytest.fixture
def evaluator(agent: Agent) -> Iterator[Task]:
    patches = Patches()
    task = Task(channel=Channel(path=str(agent.path), task="evaluator:0"), role="evaluator")
    own_loops.report_waits(patches, task)
    own_loops.notice_training(patches, task)
    yield task
    patches.undo()
    task.channel.close()


def test_a_loop_that_asks_for_the_next_checkpoint_has_done_with_the_one_before(
    agent: Agent, evaluator: Task, tmp_path: Path
) -> None:
    from jobs._tf import tf

    (tmp_path / "model.ckpt-7.index").touch()
    (tmp_path / "model.ckpt-7.data-00000-of-00001").touch()
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')
    path = str(tmp_path / "model.ckpt-7")
    assert list(tf.train.checkpoints_iterator(str(tmp_path), timeout=0)) == [path]
    assert evaluator.channel.flush(DEADLINE_S)
    agent.expect("evaluator:0", Waiting, lambda report: report.done_with == path)
    said = [(report.what, report.done_with) for report in agent.of("evaluator:0", Waiting)]
    assert said[:3] == [("checkpoint", ""), ("", ""), ("checkpoint", path)]


@pytest.mark.parametrize("trains", [True, False])
def test_a_session_of_an_evaluator_that_raises_the_global_step_trains(
    agent: Agent, evaluator: Task, trains: bool
) -> None:
    from jobs._tf import tf

    v1: Any = tf.compat.v1
    with tf.Graph().as_default():
        step = v1.train.get_or_create_global_step()
        weight = v1.get_variable("weight", initializer=1.0, use_resource=True)
        train = v1.train.GradientDescentOptimizer(0.1).minimize(weight * weight, global_step=step)
        with v1.train.MonitoredTrainingSession() as session:
            for _ in range(3):
                session.run(train if trains else weight)
    assert evaluator.channel.open()
    evaluator.channel.send(Waiting(what="end"))
    agent.expect("evaluator:0", Waiting)
    assert [report.what for report in agent.of("evaluator:0", Uses)] == ([TRAINING] if trains else [])
