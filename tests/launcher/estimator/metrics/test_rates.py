"""Log loss, normalised entropy, calibration, means: against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.launcher.estimator.metrics.streams import drawn, split, streamed

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def found(name: str, *columns: np.ndarray) -> float:
    from launcher.estimator import metrics

    return streamed(getattr(metrics, name), split(3, *columns))


def expected(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    p = 1 / (1 + np.exp(-logits))
    loss = np.average(-(labels * np.log(p) + (1 - labels) * np.log1p(-p)), weights=weights)
    rate = np.average(labels, weights=weights)
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    return {
        "log_loss": loss,
        "normalized_entropy": loss / entropy,
        "calibration": np.average(p, weights=weights) / rate,
        "label_mean": rate,
        "prediction_mean": np.average(p, weights=weights),
    }


@pytest.mark.parametrize("mean_logit", [-9.7, -3.0, 1.0])
def test_they_are_what_numpy_says(mean_logit: float) -> None:
    labels, logits = drawn(300_000, mean_logit=mean_logit, seed=1)
    weights = np.random.default_rng(2).random(len(labels))
    for name, value in expected(labels, logits, weights).items():
        assert found(name, labels, logits, weights) == pytest.approx(value, rel=1e-6), name
    for name, value in expected(labels, logits, np.ones_like(weights)).items():
        assert found(name, labels, logits) == pytest.approx(value, rel=1e-6), name


def test_sure_and_wrong_costs_what_the_logit_says() -> None:
    assert found("log_loss", np.array([0.0, 1.0, 0.0]), np.array([500.0, -700.0, -1e4])) == pytest.approx(400.0)


def test_what_is_undefined_is_no_number() -> None:
    zeros, logits = np.zeros(3), np.zeros(3)
    assert np.isnan(found("calibration", zeros, logits))
    assert np.isnan(found("normalized_entropy", zeros, logits))
    assert np.isnan(found("log_loss", zeros, logits, zeros))


def test_a_mean_of_anything() -> None:
    assert found("mean", np.array([1.0, 2.0, 6.0])) == pytest.approx(3.0)
    assert found("mean", np.array([1.0, 2.0, 6.0]), np.array([1.0, 1.0, 0.0])) == pytest.approx(1.5)
