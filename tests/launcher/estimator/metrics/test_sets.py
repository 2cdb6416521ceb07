"""Metrics in an Estimator: names, and an evaluation that is repeated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs.auc import exact_auc
from tests.launcher.estimator.metrics.streams import drawn

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def test_the_metrics_of_esmm_in_an_estimator(tmp_path: Path) -> None:
    from jobs._tf import estimator, tf
    from launcher.estimator import metrics

    click, ctr = drawn(5000, mean_logit=-1.0, seed=1)
    conversion, cvr = drawn(5000, mean_logit=-1.0, seed=2)  # also where there is no click: those count as none
    columns = {"ctr": ctr, "cvr": cvr, "click": click, "conversion": conversion, "w": np.arange(5000) % 3 / 2.0}
    user = np.arange(5000) % 50

    def model_fn(features: dict, labels: None, mode: str) -> object:
        step = tf.compat.v1.train.get_or_create_global_step()
        ops = metrics.esmm_metrics(
            features["click"],
            features["conversion"],
            ctr_logits=features["ctr"],
            cvr_logits=features["cvr"],
            ctcvr_logits=features["ctr"] + features["cvr"],
            weights=features["w"],
            groups=features["user"],
        )
        loss = tf.constant(0.0)
        return estimator.EstimatorSpec(mode, loss=loss, train_op=step.assign_add(1), eval_metric_ops=ops)

    def input_fn() -> object:
        return tf.data.Dataset.from_tensor_slices({**columns, "user": user}).batch(777)

    model = estimator.Estimator(model_fn, model_dir=str(tmp_path))
    model.train(input_fn, max_steps=1)
    first, second = model.evaluate(input_fn), model.evaluate(input_fn)
    np.testing.assert_equal(first, second)
    both, clicked = click * conversion, click == 1
    exact = {
        "ctr_auc": exact_auc(click, ctr, columns["w"]),
        "cvr_auc": exact_auc(conversion[clicked], cvr[clicked], columns["w"][clicked]),
        "ctcvr_auc": exact_auc(both, ctr + cvr, columns["w"]),
    }
    assert {name: first[name] for name in exact} == pytest.approx(exact, abs=1e-3)
    assert first["ctcvr_cvr_auc_esmm"] == first["ctcvr_auc"]
    parts = ("auc", "log_loss", "normalized_entropy", "calibration", "label_mean", "prediction_mean")
    names = {f"{prefix}_{part}" for prefix in ("ctr", "cvr", "ctcvr") for part in parts}
    assert names | {"ctr_grouped_auc", "ctcvr_grouped_auc", "ctcvr_cvr_auc_esmm", "loss", "global_step"} == set(first)
    assert model.get_variable_names() == ["global_step"]
