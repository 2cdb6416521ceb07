"""The exact area under the ROC curve, in numpy: what ``launcher.estimator.metrics`` is measured against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def exact_auc(positive: npt.ArrayLike, score: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> float:
    """The chance that a positive scores above a negative, ties counting one half; NaN where one class is absent.

    ``positive`` is float[examples] in 0..1. A fraction counts as that much of a positive and the rest of a negative,
    so that known probabilities can stand in for drawn labels.
    """
    share = np.asarray(positive, np.float64)
    weights = np.ones_like(share) if weight is None else np.asarray(weight, np.float64)
    _, group = np.unique(np.asarray(score), return_inverse=True)
    positives = np.bincount(group, weights * share).astype(np.float64)
    negatives = np.bincount(group, weights * (1.0 - share)).astype(np.float64)
    return auc_of_counts(positives, negatives)


def auc_of_counts(positives: FloatArray, negatives: FloatArray) -> float:
    """The AUC of two histograms over the same bins of rising score; both are float64[bins]."""
    pairs = float(positives.sum() * negatives.sum())
    if pairs == 0.0:
        return float("nan")
    below = np.cumsum(negatives) - negatives
    return float(np.sum(positives * (below + 0.5 * negatives)) / pairs)
