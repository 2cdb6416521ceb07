"""Logit space against float64 arithmetic on probabilities, and where float32 probabilities have no digits left."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

Array = np.ndarray


def losses(click: Array, conversion: Array, ctr_logit: Array, cvr_logit: Array) -> tuple[float, float, Array]:
    """ESMM's two losses and the gradient of the second by both logits."""
    from jobs._tf import tf
    from jobs.esmm.model.losses import esmm_losses

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        labels = [tf.constant(x, tf.float32) for x in (click, conversion)]
        logits = [tf.constant(x, tf.float32) for x in (ctr_logit, cvr_logit)]
        result = esmm_losses(*labels, *logits)
        ctr, ctcvr, gradient = session.run([result.ctr, result.ctcvr, tf.gradients(result.ctcvr, logits)])
        return float(ctr), float(ctcvr), np.stack(gradient)


def cross_entropy(label: Array, p: Array) -> float:
    return float(np.mean(-label * np.log(p) - (1 - label) * np.log1p(-p)))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("seed", range(3))
def test_is_the_loss_of_the_product_of_probabilities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(-2, 4, 5000), rng.normal(-1, 4, 5000)
    click = (rng.random(5000) < 0.5).astype(np.float64)
    conversion = (rng.random(5000) < 0.5).astype(np.float64)
    ctr, ctcvr, _ = losses(click, conversion, a, b)
    assert ctr == pytest.approx(cross_entropy(click, sigmoid(a)), rel=1e-5)
    assert ctcvr == pytest.approx(cross_entropy(click * conversion, sigmoid(a) * sigmoid(b)), rel=1e-5)


def test_has_loss_and_gradient_where_probabilities_underflow() -> None:
    extreme = np.array([-80.0, -200.0, 200.0, 80.0])
    click = conversion = np.array([1.0, 1.0, 0.0, 0.0])
    ctr, ctcvr, gradient = losses(click, conversion, extreme, extreme)
    assert ctr == pytest.approx((80 + 200 + 200 + 80) / 4)
    assert ctcvr == pytest.approx((160 + 400 + 200 + 80) / 4, rel=0.01)
    assert gradient == pytest.approx(np.array([[-0.25, -0.25, 0.125, 0.125]] * 2), rel=1e-4)


def test_a_conversion_without_a_click_is_none() -> None:
    a = b = np.zeros(2)
    assert losses(np.zeros(2), np.ones(2), a, b)[1] == losses(np.zeros(2), np.zeros(2), a, b)[1]


def weighted(weight: list[float], rows: list[int]) -> list[float]:
    """CTR and CTCVR loss, and that of clicks alone, of some of four examples."""
    from jobs._tf import tf
    from jobs.esmm.model.losses import click_space_loss, esmm_losses

    columns = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [0.5, -1, 2, 1], [-0.5, 1, 0, 3]], np.float32)[:, rows]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        given = [tf.constant(column) for column in columns]
        scale = tf.constant(weight, tf.float32)
        losses = esmm_losses(*given, scale)
        return [float(loss) for loss in session.run([*losses, click_space_loss(*given[:2], given[3], scale)])]


def test_an_example_of_weight_two_is_two_and_of_weight_zero_none() -> None:
    assert weighted([2, 0, 4, 2], [0, 1, 2, 3]) == pytest.approx(weighted([1] * 4, [0, 2, 2, 3]))
    assert weighted([0, 0], [0, 2]) == [0, 0, 0]


def test_without_clicks_there_is_nothing_to_learn_of_conversions() -> None:
    assert weighted([1, 1], [1, 3])[2] == 0
    assert weighted([1] * 4, [0, 1, 2, 3])[2] == pytest.approx(weighted([1, 1], [0, 2])[2])
