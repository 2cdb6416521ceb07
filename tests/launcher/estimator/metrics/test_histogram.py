"""Histogram AUC against the exact one, where tf.metrics.auc with its 200 thresholds is off by more than 0.1."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.auc import exact_auc
from tests.launcher.estimator.metrics.streams import drawn, split, streamed

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def auc(*columns: np.ndarray, parts: int = 1) -> float:
    from launcher.estimator import metrics

    return streamed(metrics.auc, split(parts, *columns))


@functools.cache
def compiled(name: str, *dtypes: str) -> Any:
    """A function of metrics that is not traced again for each length."""
    import tensorflow as tf

    from launcher.estimator import metrics

    rank = 2 if name == "auc_of_histogram" else 1
    return tf.function(getattr(metrics, name), input_signature=[tf.TensorSpec([None] * rank, d) for d in dtypes])


def histogram_of(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    columns = (labels, logits, np.ones_like(labels) if weights is None else weights)
    return compiled("batch_histogram", *["float64"] * 3)(*columns).numpy()


def auc_of(histogram: np.ndarray) -> float:
    return float(compiled("auc_of_histogram", "float64")(histogram))


@pytest.mark.parametrize("mean_logit", [-9.7, -7.0, 0.0, 3.0])
def test_is_the_exact_auc_at_any_rate(mean_logit: float) -> None:
    labels, logits = drawn(1_000_000, mean_logit=mean_logit, seed=1)
    assert labels.sum() > 50
    assert auc(labels, logits, parts=7) == pytest.approx(exact_auc(labels, logits), abs=1e-4)


@pytest.mark.parametrize("spread", [0.02, 0.1, 10.0, 1e6, 1e30])
def test_is_the_exact_auc_for_any_spread_of_logits(spread: float) -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random(200_000) < 0.01).astype(np.float64)
    logits = spread * (rng.standard_normal(200_000) + labels)
    assert auc(labels, logits) == pytest.approx(exact_auc(labels, logits), abs=1e-3)


SCORES = st.one_of(
    st.floats(-25, 25, width=32),
    st.sampled_from([-np.inf, np.inf, -3e38, 3e38, -20.0, 20.0, -0.0, 0.0, 1e-30, -12.5]),
    st.integers(-3, 3).map(float),
)


@settings(max_examples=40)
@given(st.lists(st.tuples(SCORES, st.floats(0, 1), st.floats(0, 100)), min_size=1, max_size=60), st.integers(1, 4))
def test_is_off_by_at_most_half_of_the_pairs_in_one_bin(rows: list[tuple[float, float, float]], parts: int) -> None:
    """For ties, fractions, weights, infinities; and whatever the batches, the sum of histograms is the whole's."""
    logits, labels, weights = np.array(rows).T
    histogram = sum(histogram_of(*batch) for batch in split(parts, labels, logits, weights))
    negatives, positives = histogram
    np.testing.assert_allclose(histogram, histogram_of(labels, logits, weights), rtol=1e-9)
    pairs = positives.sum() * negatives.sum()
    if pairs <= 1e-12:
        return
    bound = 0.5 * (positives * negatives).sum() / pairs
    found = auc_of(histogram)
    assert abs(found - exact_auc(labels, logits, weights)) <= bound + 1e-9


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(-8, 8), st.booleans()), min_size=2, max_size=80))
def test_ties_count_one_half(rows: list[tuple[int, bool]]) -> None:
    logits, labels = np.array(rows, np.float64).T
    if 0 < labels.sum() < len(labels):
        found = auc_of(histogram_of(labels, logits))
        assert found == pytest.approx(exact_auc(labels, logits), abs=1e-12)


def test_weights_leave_out_what_they_say() -> None:
    labels, logits = drawn(100_000, mean_logit=-2.0, seed=2)
    weights = (np.arange(len(labels)) % 3 == 0).astype(np.float64)
    kept = weights == 1
    found = auc(labels, logits, weights)
    assert found == pytest.approx(exact_auc(labels[kept], logits[kept]), abs=1e-4)
    assert found != pytest.approx(exact_auc(labels, logits), abs=1e-5)


def test_bins_rise_with_logits() -> None:
    import tensorflow as tf

    from launcher.estimator.metrics.histogram import BINS, logit_bins

    logits = np.array([-np.inf, -1e30, -25.0, -20.0, -19.9, -1e-9, 1e-9, 19.9, 20.0, 25.0, 1e30, np.inf, np.nan])
    bins = logit_bins(tf.constant(logits)).numpy()
    assert (bins[0], bins[-2], bins[-1]) == (0, BINS - 1, BINS)
    assert (np.diff(bins[1:-2]) >= 0).all() and bins[1] < bins[2] < bins[4] < bins[7] < bins[9] < bins[10]


def test_one_class_has_no_auc_and_neither_has_a_logit_that_is_no_number() -> None:
    assert np.isnan(auc(np.ones(3), np.arange(3.0)))
    assert np.isnan(auc(np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, np.nan])))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0.0, 2.0], [0.0, 1.0], [1.0, 1.0]), "labels must be in 0..1"),
        (([0.0, np.nan], [0.0, 1.0], [1.0, 1.0]), "labels must be in 0..1"),
        (([0.0, 1.0], [0.0, 1.0], [1.0, -1.0]), "weights must be 0 or more"),
        (([0.0, 1.0], [0.0, 1.0], [1.0]), "as many labels, logits and weights"),
    ],
)
def test_what_makes_no_sense_is_refused(columns: tuple[list[float], ...], message: str) -> None:
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        auc(*(np.array(column) for column in columns))


def test_a_second_evaluation_starts_at_zero() -> None:
    from launcher.estimator import metrics

    labels, logits = drawn(1000, mean_logit=0.0, seed=4)
    once = streamed(metrics.auc, [[labels, logits]])
    assert streamed(metrics.auc, [[labels, logits]], evaluations=3) == once
