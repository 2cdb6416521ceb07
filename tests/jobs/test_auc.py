from __future__ import annotations

import numpy as np
import pytest

from jobs.auc import exact_auc


@pytest.mark.parametrize(
    ("positive", "score", "expected"),
    [
        ([0, 1], [0.1, 0.2], 1.0),
        ([1, 0], [0.1, 0.2], 0.0),
        ([1, 0], [0.5, 0.5], 0.5),
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75),
        ([0.5, 0.5], [1, 2], 0.5),
    ],
)
def test_by_counting_pairs(positive: list[float], score: list[float], expected: float) -> None:
    assert exact_auc(positive, score) == pytest.approx(expected)


def test_weights_count_as_repetitions() -> None:
    assert exact_auc([0, 1, 0], [1, 2, 3], [2, 1, 1]) == exact_auc([0, 0, 1, 0], [1, 1, 2, 3])


def test_one_class_has_no_auc() -> None:
    assert np.isnan(exact_auc([1, 1], [0.1, 0.2]))
