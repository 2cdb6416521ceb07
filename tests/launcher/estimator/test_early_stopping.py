"""Early stopping in one process, and in clusters that no launcher looks after."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.estimator import UnknownMetricError
from launcher.estimator import task as tasks
from launcher.estimator.adjustments import adjust
from tests.launcher.estimator.cluster import Cluster, Zygote, cluster_of
from tests.launcher.estimator.small_models import embedding, eval_input_fn, input_fn, model, serving_input_fn

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    adjust.undo()


def train(model_dir: Path, metric: str = "size", name: str | None = None, **rule: Any) -> tuple[Any, Any]:
    """At most 200 steps with an evaluation after every fifth; ``size`` only falls."""
    from jobs._tf import estimator
    from launcher.estimator import FinalExporter, stop_if_no_increase_hook

    trained = model(embedding(6), model_dir, save_checkpoints_steps=5)
    rule = {"max_steps_without_increase": 20, "run_every_steps": 5, **rule}
    hook = stop_if_no_increase_hook(trained, metric_name=metric, **rule)
    result = estimator.train_and_evaluate(
        trained,
        estimator.TrainSpec(input_fn, max_steps=200, hooks=[hook]),
        estimator.EvalSpec(
            eval_input_fn, name=name, throttle_secs=0, exporters=[FinalExporter("final", serving_input_fn)]
        ),
    )
    return hook, result[0]


def test_training_ends_early_and_is_exported(tmp_path: Path) -> None:
    hook, metrics = train(tmp_path)
    assert 25 <= metrics["global_step"] <= 35
    assert hook.stopped.startswith("no increase of size for ")
    assert len(list((tmp_path / "export" / "final").glob("[0-9]*"))) == 1
    noted = json.loads((tmp_path / "early_stopping.json").read_text())
    assert noted["stopped_at_step"] == metrics["global_step"]


def test_it_looks_by_seconds_as_well_as_by_steps(tmp_path: Path) -> None:
    hook, metrics = train(tmp_path, run_every_steps=None, run_every_secs=1e-6)
    assert 25 <= metrics["global_step"] <= 35
    assert hook.stopped.startswith("no increase of size for ")


def test_a_job_that_goes_on_is_not_stopped_by_the_past(tmp_path: Path) -> None:
    first = train(tmp_path)[1]["global_step"]
    for name in model(embedding(6), tmp_path).get_variable_names():
        assert "stop" not in name.lower()
    second = train(tmp_path)[1]["global_step"]
    assert first + 25 <= second <= first + 40


def test_min_steps_and_a_named_evaluation(tmp_path: Path) -> None:
    _, metrics = train(tmp_path, name="held_out", min_steps=60)
    assert 80 <= metrics["global_step"] <= 95


def test_it_goes_on_while_it_gets_better(tmp_path: Path) -> None:
    from launcher.estimator import stop_if_no_decrease_hook

    trained = model(embedding(6), tmp_path / "a", save_checkpoints_steps=5)
    hook = stop_if_no_decrease_hook(trained, "size", 10, run_every_steps=5)
    trained.train(input_fn, hooks=[hook], max_steps=40)
    assert (trained.evaluate(eval_input_fn)["global_step"], hook.stopped) == (40, "")


def test_a_misspelt_metric_fails_at_the_first_evaluation(tmp_path: Path) -> None:
    with pytest.raises(UnknownMetricError, match=r"'sise', which is no metric .* did you mean size\? there are"):
        train(tmp_path, metric="sise")
    assert not (tmp_path / "model.ckpt-10.index").exists()


@pytest.mark.parametrize("name", ["no_increase", "no_decrease", "higher", "lower"])
def test_arguments_are_those_of_tf_estimator(name: str) -> None:
    """By name, by place, and with the same defaults, except that what ``run_every_secs`` is depends on the other."""
    from jobs._tf import estimator
    from launcher.estimator.training import early_stopping

    ours, theirs = (
        list(inspect.signature(getattr(module, f"stop_if_{name}_hook")).parameters.values())
        for module in (early_stopping, estimator.experimental)
    )
    assert [parameter.name for parameter in ours[: len(theirs)]] == [parameter.name for parameter in theirs]
    defaults = {parameter.name: parameter.default for parameter in ours}
    assert {**defaults, "run_every_secs": 60} == {
        **defaults,
        **{parameter.name: parameter.default for parameter in theirs},
    }


def be_attempt(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFLAUNCH_RUN", "run")
    monkeypatch.setenv("TFLAUNCH_ATTEMPT", str(number))
    adjust.undo()  # another process would begin with nothing made
    monkeypatch.setattr(tasks, "_current", tasks.begin(os.environ))


@pytest.mark.parametrize(("attempt", "last_step"), [(1, 60), (2, 41)])
def test_a_restarted_chief_counts_on_from_its_own_evaluations(
    attempt: int, last_step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launcher.estimator import stop_if_no_increase_hook

    be_attempt(1, monkeypatch)
    trained = model(embedding(6), tmp_path)
    for step in (10, 40):
        hooks = [stop_if_no_increase_hook(trained, "size", 20, run_every_steps=50)] if step == 10 else []
        trained.train(input_fn, hooks=hooks, max_steps=step)
        trained.evaluate(eval_input_fn)
    be_attempt(attempt, monkeypatch)
    hook = stop_if_no_increase_hook(trained, "size", 20, run_every_steps=1)
    trained.train(input_fn, hooks=[hook], max_steps=60)
    assert (trained.get_variable_value("global_step"), bool(hook.stopped)) == (last_step, last_step == 41)


@pytest.mark.parametrize(("attempt", "steps"), [(1, 3), (2, 1)])
def test_a_decision_stands_for_a_restarted_chief_and_for_no_later_job(
    attempt: int, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On servers that go on, as parameter servers do when a chief is restarted, or a job comes after another."""
    from jobs._tf import tf
    from launcher.estimator import stop_if_no_increase_hook

    train, server = tf.compat.v1.train, tf.compat.v1.train.Server.create_local_server()
    hook = stop_if_no_increase_hook(model(embedding(6), tmp_path), "size", 20)
    with tf.Graph().as_default(), tf.compat.v1.Session(server.target) as session:
        handle = tf.raw_ops.VarHandleOp(dtype=tf.bool, shape=[], shared_name="tflaunch_early_stopping")
        session.run(tf.raw_ops.AssignVariableOp(resource=handle, value=tf.constant(True)))
    be_attempt(attempt, monkeypatch)
    made = 0
    with tf.Graph().as_default():
        step = tf.compat.v1.assign_add(train.get_or_create_global_step(), 1)
        with train.MonitoredTrainingSession(server.target, hooks=[hook]) as session:
            while not session.should_stop() and made < 3:
                session.run(step)
                made += 1
    assert made == steps


def test_only_one_of_steps_and_seconds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run_every_secs or run_every_steps"):
        train(tmp_path, run_every_secs=1.0)


# --- by hand: nobody tells the roles that training is over -----------------------------------------------------------


@pytest.fixture
def cluster(zygote: Zygote, folder: Path) -> Iterator[Cluster]:
    with cluster_of(zygote, folder) as cluster:
        cluster.env["TFLAUNCH_TASK_SOCKET"] = ""
        cluster.options |= {
            "step_s": 0.01,
            "save_steps": 20,
            "start_delay_secs": 0,
            "throttle_secs": 0,
            "stop_metric": "loss",
            "stop_after_steps": 60,
        }
        yield cluster


def run(cluster: Cluster) -> dict[str, int]:
    for task in ("ps:0", "chief:0", "worker:0", "evaluator:0"):
        cluster.start(task)
    codes = {task: cluster.wait(task) for task in ("chief:0", "worker:0", "evaluator:0")}
    cluster.kill("ps:0")
    cluster.wait("ps:0")
    return codes


def exports(cluster: Cluster) -> int:
    return len(list((cluster.model_dir / "export" / "final").iterdir()))


def test_every_role_ends_and_a_resumed_job_trains(cluster: Cluster) -> None:
    assert run(cluster) == {"chief:0": 0, "worker:0": 0, "evaluator:0": 0}
    steps = cluster.run_program("read_checkpoint.py", str(cluster.model_dir), "global_step")["global_step"]
    assert steps >= 60
    assert exports(cluster) == 1
    assert "Training ends early: no increase of loss for " in cluster.log("chief:0")
    assert "returned" in cluster.log("worker:0") and "returned" in cluster.log("evaluator:0")

    assert run(cluster) == {"chief:0": 0, "worker:0": 0, "evaluator:0": 0}
    more = cluster.run_program("read_checkpoint.py", str(cluster.model_dir), "global_step")["global_step"]
    assert more >= steps + 60
    assert exports(cluster) == 2


def test_a_misspelt_metric_ends_every_role(cluster: Cluster) -> None:
    cluster.options["stop_metric"] = "lost"
    codes = run(cluster)
    assert codes["chief:0"] == codes["evaluator:0"] == 1
    assert codes["worker:0"] == 0
    for task in ("chief:0", "evaluator:0"):
        assert "UnknownMetricError: early stopping watches 'lost', which is no metric" in cluster.log(task)
        assert "did you mean loss? there are " in cluster.log(task)
