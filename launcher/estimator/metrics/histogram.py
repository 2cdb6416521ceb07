"""The area under the ROC curve, by a histogram of logits.

``tf.compat.v1.metrics.auc`` compares probabilities with 200 thresholds spread over 0..1: at conversion rates of 1e-4
nearly all predictions fall below the first of them, and the AUC comes out as 0.5. Here logits are counted in bins,
where low rates have as much room as high ones. What falls into one bin counts as equal, so that the error is at most
half of the pairs that share a bin.
"""

from __future__ import annotations

import math

import tensorflow as tf

from launcher.estimator.metrics._input import checked, local_variable

CORE_LIMIT = 20.0
CORE_BINS = 61_440
TAIL_BINS = 2_048
BINS = CORE_BINS + 2 * TAIL_BINS
COLUMNS = BINS + 1
"""The last column counts logits that are not a number; any of them makes the AUC NaN."""
_FLOAT32_MAX = 3.4028235e38
_TAIL_SPAN = math.log(_FLOAT32_MAX / CORE_LIMIT)


def auc(
    labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None, *, name: str = "auc"
) -> tuple[tf.Tensor, tf.Operation]:
    """A ``(value, update_op)`` pair for ``eval_metric_ops``: AUC over all batches.

    ``labels`` are 0 or 1, or in between where they are known probabilities; ``logits`` may be any rising function of
    the prediction, best of width 0.01 or more; ``weights`` are non-negative (None: all one). NaN while one class is
    absent.
    """
    with tf.compat.v1.variable_scope(None, default_name=name):
        histogram = local_variable("histogram", tf.zeros([2 * COLUMNS], tf.float64))
        cells, amounts = _cells(labels, logits, weights)
        update_op = tf.group(histogram.scatter_add(tf.IndexedSlices(amounts, cells)))
        return auc_of_histogram(tf.reshape(histogram.read_value(), [2, COLUMNS])), update_op


def batch_histogram(labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """float64[2, COLUMNS]: the weight of negatives and of positives by bin. Histograms of parts can be added."""
    cells, amounts = _cells(labels, logits, weights)
    return tf.reshape(tf.math.unsorted_segment_sum(amounts, cells, 2 * COLUMNS), [2, COLUMNS])


def auc_of_histogram(histogram: tf.Tensor) -> tf.Tensor:
    """float64 scalar: the AUC of a :func:`batch_histogram`, or of a sum of them."""
    negatives, positives = tf.unstack(histogram[:, :BINS], num=2)
    below = tf.cumsum(negatives, exclusive=True)
    concordant = tf.reduce_sum(positives * (below + 0.5 * negatives))
    value = concordant / (tf.reduce_sum(positives) * tf.reduce_sum(negatives))
    has_nan = tf.reduce_sum(histogram[:, BINS]) > 0.0
    return tf.where(has_nan, tf.constant(float("nan"), tf.float64), value)


def _cells(labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Where in the flat histogram to add how much: int32[2 * examples], float64[2 * examples]."""
    batch = checked(labels, logits, weights)
    bins = logit_bins(batch.logits)
    positive = batch.weights * batch.labels
    return tf.concat([bins, bins + COLUMNS], 0), tf.concat([batch.weights - positive, positive], 0)


def logit_bins(logits: tf.Tensor) -> tf.Tensor:
    """int32[examples]: bins of equal width within +-CORE_LIMIT, of growing width up to infinity beyond."""
    inside = tf.floor((logits + CORE_LIMIT) * (CORE_BINS / (2.0 * CORE_LIMIT)))
    inside = TAIL_BINS + tf.clip_by_value(inside, 0.0, CORE_BINS - 1.0)
    distance = tf.math.log(tf.maximum(tf.abs(logits), CORE_LIMIT) / CORE_LIMIT)
    step = tf.clip_by_value(tf.floor(distance * (TAIL_BINS / _TAIL_SPAN)), 0.0, TAIL_BINS - 1.0)
    outside = tf.where(logits > 0.0, TAIL_BINS + CORE_BINS + step, TAIL_BINS - 1.0 - step)
    bins = tf.where(tf.abs(logits) < CORE_LIMIT, inside, outside)
    return tf.cast(tf.where(tf.math.is_nan(logits), tf.constant(float(BINS), bins.dtype), bins), tf.int32)
