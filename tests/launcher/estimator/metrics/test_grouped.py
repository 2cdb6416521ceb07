"""Grouped AUC against a loop over the groups."""

from __future__ import annotations

import functools
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.auc import exact_auc
from tests.launcher.estimator.metrics.streams import drawn, split, streamed

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def by_loop(groups: np.ndarray, labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> float:
    total = size = 0.0
    for group in np.unique(groups):
        own = groups == group
        auc = exact_auc(labels[own], logits[own], weights[own])
        if not np.isnan(auc):
            total += auc * weights[own].sum()
            size += weights[own].sum()
    return total / size if size else float("nan")


ROWS = st.lists(
    st.tuples(st.integers(-2, 2), st.sampled_from([0.0, 1.0]), st.integers(-3, 3), st.sampled_from([0.0, 0.5, 3.0])),
    min_size=1,
    max_size=50,
)


@functools.cache
def compiled() -> Any:
    """``auc_of_groups``, not traced again for each length."""
    import tensorflow as tf

    from launcher.estimator.metrics._input import checked
    from launcher.estimator.metrics.grouped import auc_of_groups

    columns = [tf.TensorSpec([None], dtype) for dtype in (tf.int64, *[tf.float64] * 3)]
    return tf.function(lambda groups, *batch: auc_of_groups(groups, checked(*batch)), input_signature=columns)


@settings(max_examples=25)
@given(ROWS)
def test_is_the_loop_over_groups(rows: list[tuple[int, float, int, float]]) -> None:
    groups, labels, logits, weights = np.array(rows, np.float64).T
    found = float(compiled()(groups.astype(np.int64), labels, logits, weights))
    assert found == pytest.approx(by_loop(groups, labels, logits, weights), nan_ok=True)


@pytest.mark.parametrize("kind", [np.int64, bytes])
def test_groups_are_spread_over_batches(kind: type) -> None:
    """10,000 examples of 300 groups: more than the first room for them."""
    from launcher.estimator import metrics

    labels, logits = drawn(10_000, mean_logit=-1.0, seed=1)
    groups = np.random.default_rng(2).integers(0, 300, len(labels))
    logits = logits + 3.0 * groups  # the order of groups is not that of labels: the plain AUC tells nothing
    keys = groups if kind is np.int64 else np.char.add("user ", groups.astype(str)).astype(object)
    found = streamed(metrics.grouped_auc, split(7, keys, labels, logits), evaluations=2)
    expected = by_loop(groups, labels, logits, np.ones_like(labels))
    assert found == pytest.approx(expected, abs=1e-9)
    assert expected > exact_auc(labels, logits) + 0.1


def test_a_share_of_the_groups_is_a_sample() -> None:
    from launcher.estimator import metrics

    labels, logits = drawn(60_000, mean_logit=-1.0, seed=1)
    groups = np.random.default_rng(2).integers(0, 3000, len(labels))
    whole = streamed(metrics.grouped_auc, split(3, groups, labels, logits))
    part = streamed(partial(metrics.grouped_auc, share=0.3), split(3, groups, labels, logits))
    assert part != whole
    assert part == pytest.approx(whole, abs=0.02)


def test_no_group_with_both_classes_has_none() -> None:
    from launcher.estimator import metrics

    columns = (np.array([1, 1, 2]), np.array([1.0, 1.0, 0.0]), np.arange(3.0))
    assert np.isnan(streamed(metrics.grouped_auc, [columns]))
