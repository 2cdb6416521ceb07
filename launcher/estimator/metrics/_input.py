"""What every metric here is fed with, brought into one form and checked."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Batch(NamedTuple):
    """float64[examples] each. ``labels`` are in 0..1: a fraction is that much of a positive."""

    labels: tf.Tensor
    logits: tf.Tensor
    weights: tf.Tensor


def checked(labels: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | None = None) -> Batch:
    """Any shapes of equal size, made flat. The step fails on a label outside 0..1 and on a negative weight: a metric
    made of them would be a number like any other."""
    flat_labels, flat_logits = (tf.cast(tf.reshape(x, [-1]), tf.float64) for x in (labels, logits))
    ones = tf.ones_like(flat_logits)
    flat_weights = ones if weights is None else tf.cast(tf.reshape(weights, [-1]), tf.float64)
    sizes = tf.stack([tf.size(flat_labels), tf.size(flat_logits), tf.size(flat_weights)])
    checks = [
        _check(tf.reduce_all(tf.equal(sizes, sizes[0])), "as many labels, logits and weights are needed", sizes),
        _check(_all_in(flat_labels, 0.0, 1.0), "labels must be in 0..1", flat_labels),
        _check(_all_in(flat_weights, 0.0, float("inf")), "weights must be 0 or more", flat_weights),
    ]
    with tf.control_dependencies([check for check in checks if check is not None]):
        return Batch(tf.identity(flat_labels), tf.identity(flat_logits), tf.identity(flat_weights))


def _all_in(values: tf.Tensor, least: float, most: float) -> tf.Tensor:
    return tf.reduce_all((values >= least) & (values <= most))


def _check(holds: tf.Tensor, message: str, data: tf.Tensor) -> tf.Operation | None:
    return tf.debugging.Assert(holds, [f"metrics: {message}; there are", data])


def local_variable(name: str, initial: tf.Tensor, *, grows: bool = False) -> tf.Variable:
    """A variable of the evaluating process, set to ``initial`` at the start of each evaluation, in no checkpoint.

    ``grows``: its shape may change.
    """
    keys = tf.compat.v1.GraphKeys
    return tf.compat.v1.get_variable(
        name,
        initializer=initial,
        trainable=False,
        collections=[keys.LOCAL_VARIABLES, keys.METRIC_VARIABLES],
        validate_shape=not grows,
        use_resource=True,
    )
