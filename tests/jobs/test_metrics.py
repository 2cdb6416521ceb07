"""Histogram AUC against the exact one, where tf.metrics.auc with its 200 thresholds is off by more than 0.1."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.auc import exact_auc

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

Array = np.ndarray


def streamed_auc(batches: list[tuple[Array, Array, Array | None]]) -> float:
    from jobs._tf import tf
    from jobs.metrics import histogram_auc

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        labels, logits, weights = (tf.compat.v1.placeholder(tf.float32, [None]) for _ in range(3))
        value, update_op = histogram_auc(labels, logits, weights)
        session.run(tf.compat.v1.local_variables_initializer())
        for y, x, w in batches:
            session.run(update_op, {labels: y, logits: x, weights: np.ones_like(x) if w is None else w})
        return float(session.run(value))


def drawn(count: int, *, mean_logit: float, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    logits = mean_logit + rng.standard_normal(count)
    return (rng.random(count) < 1 / (1 + np.exp(-logits))).astype(np.float64), logits


@pytest.mark.parametrize("mean_logit", [-9.7, -7.0, 0.0, 3.0])
def test_is_the_exact_auc_at_any_rate(mean_logit: float) -> None:
    labels, logits = drawn(1_000_000, mean_logit=mean_logit, seed=1)
    assert labels.sum() > 50
    batches = [(labels[i::7], logits[i::7], None) for i in range(7)]
    assert streamed_auc(batches) == pytest.approx(exact_auc(labels, logits), abs=1e-3)


def test_weights_leave_out_what_they_say() -> None:
    labels, logits = drawn(100_000, mean_logit=-2.0, seed=2)
    weights = (np.arange(len(labels)) % 3 == 0).astype(np.float64)
    kept = weights == 1
    auc = streamed_auc([(labels, logits, weights)])
    assert auc == pytest.approx(exact_auc(labels[kept], logits[kept]), abs=1e-3)
    assert auc != pytest.approx(exact_auc(labels, logits), abs=1e-5)


def test_logits_beyond_the_limit_share_the_outermost_bins() -> None:
    assert streamed_auc([(np.array([0, 1, 0, 1]), np.array([-1e30, 1e30, -50.0, 50.0]), None)]) == 1.0


def test_one_class_has_no_auc() -> None:
    assert np.isnan(streamed_auc([(np.ones(3), np.arange(3.0), None)]))
