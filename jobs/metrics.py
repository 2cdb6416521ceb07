"""Streaming metrics that tell the truth at low rates.

``tf.compat.v1.metrics.auc`` compares probabilities with 200 thresholds spread over 0..1: at conversion rates of 1e-4
nearly all predictions fall below the first of them. Here logits are counted in bins, where low rates have room.
"""

from __future__ import annotations

from typing import Any

from jobs._tf import tf

BINS = 4096
LOGIT_LIMIT = 20.0


def histogram_auc(
    labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None, *, name: str = "auc"
) -> tuple[tf.Tensor, tf.Operation]:
    """A ``(value, update_op)`` pair for ``eval_metric_ops``: AUC by two histograms of logits, merged over batches.

    ``labels`` are 0 or 1, ``logits`` float[examples], ``weights`` non-negative (None: all one). Logits beyond
    +-``LOGIT_LIMIT`` share the outermost bins; a positive and a negative in one bin count one half. The value is NaN
    while one class is absent.
    """
    with tf.compat.v1.variable_scope(name):
        histogram = tf.compat.v1.get_variable(
            "histogram",
            shape=[2, BINS],
            dtype=tf.float64,
            initializer=tf.compat.v1.zeros_initializer(),
            trainable=False,
            collections=[tf.compat.v1.GraphKeys.LOCAL_VARIABLES, tf.compat.v1.GraphKeys.METRIC_VARIABLES],
            use_resource=True,
        )
        update_op = histogram.assign_add(batch_histogram(labels, logits, weights))
        return auc_of_histogram(histogram.read_value()), auc_of_histogram(update_op)


def batch_histogram(labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """float64[2, BINS]: the weight of negatives and of positives by bin. Histograms of parts add up to the whole's."""
    labels = tf.cast(tf.reshape(labels, [-1]), tf.int32)
    logits = tf.reshape(logits, [-1])
    weights = tf.ones_like(logits, tf.float64) if weights is None else tf.cast(tf.reshape(weights, [-1]), tf.float64)
    position = (tf.cast(logits, tf.float64) + LOGIT_LIMIT) * (BINS / (2.0 * LOGIT_LIMIT))
    bins = tf.cast(tf.clip_by_value(position, 0.0, BINS - 1.0), tf.int32)
    flat = tf.math.unsorted_segment_sum(weights, labels * BINS + bins, 2 * BINS)
    return tf.reshape(flat, [2, BINS])


def auc_of_histogram(histogram: tf.Tensor) -> tf.Tensor:
    """float64 scalar: the AUC of a :func:`batch_histogram`, or of a sum of them."""
    negatives, positives = tf.unstack(histogram)
    below = tf.cumsum(negatives, exclusive=True)
    concordant = tf.reduce_sum(positives * (below + 0.5 * negatives))
    return concordant / (tf.reduce_sum(positives) * tf.reduce_sum(negatives))


def mean(values: tf.Tensor, weights: tf.Tensor | None = None) -> Any:
    """A ``(value, update_op)`` pair: the streaming mean, here so that jobs find their metrics in one place."""
    return tf.compat.v1.metrics.mean(values, weights)
