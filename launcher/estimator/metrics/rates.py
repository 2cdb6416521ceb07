"""How far predicted probabilities are from what happened: log loss, normalised entropy, calibration.

All take logits, since probabilities as small as 1e-6 lose their digits in ``1 - p``, and sum in float64, since a
float32 stops counting single examples at 16 million.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from launcher.estimator.metrics._input import Batch, checked, local_variable

Metric = tuple[tf.Tensor, tf.Operation]
_NAN = float("nan")


def log_loss(
    labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None, *, name: str = "log_loss"
) -> Metric:
    """The mean cross entropy, in nats, over all batches."""
    return _one(_log_loss, labels, logits, weights, name)


def normalized_entropy(
    labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None, *, name: str = "normalized_entropy"
) -> Metric:
    """Log loss over that of always predicting the observed rate: 1 is no better than that, and 0 is perfect.

    He et al. 2014, "Practical Lessons from Predicting Clicks on Ads at Facebook", section 2. NaN where every example
    is of one class.
    """
    return _one(_normalized_entropy, labels, logits, weights, name)


def calibration(
    labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None, *, name: str = "calibration"
) -> Metric:
    """Predicted positives over observed ones; 1 is right, above is too much. NaN without any positive."""
    return _one(_calibration, labels, logits, weights, name)


def label_mean(
    labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None, *, name: str = "label_mean"
) -> Metric:
    """The observed rate."""
    return _one(_label_mean, labels, logits, weights, name)


def prediction_mean(
    labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None, *, name: str = "prediction_mean"
) -> Metric:
    """The predicted rate."""
    return _one(_prediction_mean, labels, logits, weights, name)


def all_rates(
    labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None, *, name: str = "rates"
) -> dict[str, Metric]:
    """All of the above by their names, from one set of sums."""
    sums, update_op = _streamed_sums(checked(labels, logits, weights), name)
    return {metric: (value(sums), update_op) for metric, value in _VALUES.items()}


def mean(values: tf.Tensor, weights: tf.Tensor | None = None, *, name: str = "mean") -> Metric:
    """The weighted mean of anything, over all batches."""
    flat = tf.cast(tf.reshape(values, [-1]), tf.float64)
    share = tf.ones_like(flat) if weights is None else tf.cast(tf.reshape(weights, [-1]), tf.float64)
    total, update_op = _streamed([tf.reduce_sum(flat * share), tf.reduce_sum(share)], name)
    return _ratio(total[0], total[1]), update_op


class _Sums(NamedTuple):
    """float64 scalars: sums over examples, each times its weight."""

    weight: tf.Tensor
    positive: tf.Tensor
    predicted: tf.Tensor
    loss: tf.Tensor


def _log_loss(sums: _Sums) -> tf.Tensor:
    return _ratio(sums.loss, sums.weight)


def _normalized_entropy(sums: _Sums) -> tf.Tensor:
    rate = _ratio(sums.positive, sums.weight)
    entropy = -tf.math.xlogy(rate, rate) - tf.math.xlogy(1.0 - rate, 1.0 - rate)
    return _ratio(_log_loss(sums), entropy)


def _calibration(sums: _Sums) -> tf.Tensor:
    return _ratio(sums.predicted, sums.positive)


def _label_mean(sums: _Sums) -> tf.Tensor:
    return _ratio(sums.positive, sums.weight)


def _prediction_mean(sums: _Sums) -> tf.Tensor:
    return _ratio(sums.predicted, sums.weight)


_Value = Callable[[_Sums], tf.Tensor]
_VALUES: Mapping[str, _Value] = {
    "log_loss": _log_loss,
    "normalized_entropy": _normalized_entropy,
    "calibration": _calibration,
    "label_mean": _label_mean,
    "prediction_mean": _prediction_mean,
}


def _one(value: _Value, labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None, name: str) -> Metric:
    sums, update_op = _streamed_sums(checked(labels, logits, weights), name)
    return value(sums), update_op


def _streamed_sums(batch: Batch, name: str) -> tuple[_Sums, tf.Operation]:
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=batch.labels, logits=batch.logits)
    parts = [tf.ones_like(batch.logits), batch.labels, tf.sigmoid(batch.logits), cross_entropy]
    total, update_op = _streamed([tf.reduce_sum(batch.weights * part) for part in parts], name)
    return _Sums(*tf.unstack(total, num=len(parts))), update_op


def _streamed(sums: list[tf.Tensor], name: str) -> tuple[tf.Tensor, tf.Operation]:
    with tf.compat.v1.variable_scope(None, default_name=name):
        total = local_variable("sums", tf.zeros([len(sums)], tf.float64))
        update_op = tf.group(total.assign_add(tf.stack(sums)))
        return total.read_value(), update_op


def _ratio(above: tf.Tensor, below: tf.Tensor) -> tf.Tensor:
    """NaN for a division by zero."""
    safe = tf.where(below > 0.0, below, tf.ones_like(below))
    return tf.where(below > 0.0, above / safe, tf.constant(_NAN, tf.float64))
