from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def logits(checkpoint: str, *, ps_tasks: int, saves: bool, ids: tuple[int, ...] = (0, 2, 4, 6)) -> np.ndarray:
    """float32[3, examples] of a model with random variables, saved to or restored from ``checkpoint``."""
    from jobs._tf import tf
    from jobs.esmm.config import ModelConfig
    from jobs.esmm.input.schema import Feature, Schema
    from jobs.esmm.model.model import esmm_logits

    schema = Schema(features=(Feature(name="a", ids=7), Feature(name="b", ids=4)))
    config = ModelConfig(schema=schema, embedding_dim=3, towers=(5,), optimizer="adam")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(3)  # with some others all activations are zero
        features = {"a": tf.constant(ids, tf.int64), "b": tf.constant([1] * len(ids), tf.int64)}
        outputs = esmm_logits(features, config, ps_tasks=ps_tasks)
        saver = tf.compat.v1.train.Saver()
        if saves:
            session.run(tf.compat.v1.global_variables_initializer())
            saver.save(session, checkpoint)
        else:
            saver.restore(session, checkpoint)
        return np.stack(session.run(outputs))


@pytest.mark.parametrize("restoring_ps_tasks", [0, 1, 2])
def test_a_checkpoint_does_not_depend_on_the_number_of_ps(restoring_ps_tasks: int, tmp_path: Path) -> None:
    checkpoint = str(tmp_path / "model.ckpt")
    saved = logits(checkpoint, ps_tasks=3, saves=True)
    assert (logits(checkpoint, ps_tasks=restoring_ps_tasks, saves=False) == saved).all()
    assert len(set(saved[0])) == 4


def test_ids_outside_the_schema_are_folded_back(tmp_path: Path) -> None:
    checkpoint = str(tmp_path / "model.ckpt")
    saved = logits(checkpoint, ps_tasks=0, saves=True)
    assert (logits(checkpoint, ps_tasks=0, saves=False, ids=(7, 9, -3, -1)) == saved).all()


@pytest.mark.parametrize("name", ["lazy-adam", "adam", "adagrad", "momentum", "sgd"])
def test_every_optimizer_learns_and_lazy_ones_leave_other_rows_alone(name: str) -> None:
    from jobs._tf import tf
    from jobs.esmm.model.optimizers import make_optimizer

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        table = tf.compat.v1.get_variable("table", initializer=np.ones([3, 2], np.float32), use_resource=True)
        row = tf.compat.v1.placeholder(tf.int32, [])
        step = make_optimizer(name, 0.1).minimize(tf.reduce_sum(tf.square(tf.gather(table, [row, row]))))
        session.run(tf.compat.v1.global_variables_initializer())
        session.run(step, {row: 0})
        after_first = session.run(table)
        session.run(step, {row: 1})
        after_second = session.run(table)
    assert (after_first[0] < 1).all()
    assert (after_first[1:] == 1).all()
    assert (after_second[1] < 1).all()
    if name in ("lazy-adam", "adagrad", "sgd"):
        assert (after_second[0] == after_first[0]).all()


@pytest.mark.parametrize("objective", ["esmm", "clicks"])
def test_impressions_without_weight_do_not_train(objective: Literal["esmm", "clicks"]) -> None:
    """What happened to them changes no loss, whereas it does where all count alike."""
    from jobs._tf import estimator, tf
    from jobs.esmm.config import ModelConfig
    from jobs.esmm.input.schema import Feature, Schema
    from jobs.esmm.model.model import make_model_fn

    config = ModelConfig(
        schema=Schema(features=(Feature(name="a", ids=4),)), embedding_dim=3, towers=(5,), optimizer="sgd"
    )
    happened = ([1, 1, 0, 1], [1, 0, 1, 0])
    losses = {}
    for column in ("weight", None):
        model_fn = make_model_fn(config, learning_rate=0.1, weight_column=column, objective=objective)
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tf.compat.v1.set_random_seed(3)
            tf.compat.v1.train.create_global_step()
            click, conversion = (tf.compat.v1.placeholder(tf.int64, [4]) for _ in range(2))
            labels = {"click": click, "conversion": conversion, "weight": tf.constant([2.0, 0.0, 0.0, 0.0])}
            spec = model_fn({"a": tf.range(4, dtype=tf.int64)}, labels, "train", estimator.RunConfig())
            session.run(tf.compat.v1.global_variables_initializer())
            feeds = ({click: [1, *clicks[1:]], conversion: clicks} for clicks in happened)
            losses[column] = [float(session.run(spec.loss, feed)) for feed in feeds]
    assert losses["weight"][0] == losses["weight"][1] > 0
    assert losses[None][0] != losses[None][1]
