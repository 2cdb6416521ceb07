"""AUC within groups: whether each user's own impressions are in the right order, whatever users differ in.

Zhu et al. 2017 (arXiv 1703.02091), section 5: the AUC of each group, weighted by its impressions; groups of one class
only say nothing and are left out.
"""

from __future__ import annotations

import tensorflow as tf

from launcher.estimator.metrics._input import Batch, checked, local_variable

_FIRST_ROWS = 1024
_BUCKETS = 2**62


def grouped_auc(
    groups: tf.Tensor,
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    *,
    share: float = 1.0,
    name: str = "grouped_auc",
) -> tuple[tf.Tensor, tf.Operation]:
    """A ``(value, update_op)`` pair for ``eval_metric_ops``: the mean AUC of groups, over all batches; exact.

    ``groups`` are integers or strings, such as the ids of users. A group's examples may be in any batch, so they are
    all kept until the end: 32 bytes each. ``share`` below 1 keeps that part of the groups, chosen by a hash of their
    key. NaN while no group has both classes.
    """
    batch = checked(labels, logits, weights)
    keys = _keys(groups)
    if share < 1.0:
        keys, batch = _sampled(keys, batch, share)
    with tf.compat.v1.variable_scope(None, default_name=name):
        count = local_variable("count", tf.zeros([], tf.int32))
        kept_keys = local_variable("keys", tf.zeros([_FIRST_ROWS], tf.int64), grows=True)
        kept_rows = local_variable("rows", tf.zeros([_FIRST_ROWS, 3], tf.float64), grows=True)
        update_op = _append(count, [(kept_keys, keys), (kept_rows, tf.stack(list(batch), axis=1))])
        used = count.read_value()
        rows = tf.ensure_shape(kept_rows.read_value(), [None, 3])[:used]
        kept = Batch(*tf.unstack(rows, num=3, axis=1))
        return auc_of_groups(tf.ensure_shape(kept_keys.read_value(), [None])[:used], kept), update_op


def auc_of_groups(groups: tf.Tensor, batch: Batch) -> tf.Tensor:
    """float64 scalar: the mean AUC of groups, weighted by the groups' weights; ``groups`` are int64[examples]."""
    order = tf.argsort(batch.logits, stable=True)
    order = tf.gather(order, tf.argsort(tf.gather(groups, order), stable=True))
    keys, labels, logits, weights = (tf.gather(x, order) for x in (groups, batch.labels, batch.logits, batch.weights))
    next_group = tf.not_equal(keys[1:], keys[:-1])
    group = _runs(next_group)
    tie = _runs(next_group | tf.not_equal(logits[1:], logits[:-1]))
    positive, negative = weights * labels, weights * (1.0 - labels)
    tied_positive, tied_negative = (tf.math.segment_sum(x, tie) for x in (positive, negative))
    group_of_tie = tf.cast(tf.math.segment_max(group, tie), tf.int32)
    positives, negatives = (tf.math.segment_sum(x, group) for x in (positive, negative))
    before_group = tf.cumsum(negatives, exclusive=True)
    below = tf.cumsum(tied_negative, exclusive=True) - tf.gather(before_group, group_of_tie)
    concordant = tf.math.segment_sum(tied_positive * (below + 0.5 * tied_negative), group_of_tie)
    pairs = positives * negatives
    tells = pairs > 0.0
    size = tf.boolean_mask(positives + negatives, tells)
    value = tf.reduce_sum(size * tf.boolean_mask(concordant, tells) / tf.boolean_mask(pairs, tells))
    return value / tf.reduce_sum(size)


def _runs(changes: tf.Tensor) -> tf.Tensor:
    """int32[n]: 0 up to the first change, then 1, and so on; from bool[n - 1]."""
    return tf.concat([[0], tf.cumsum(tf.cast(changes, tf.int32))], 0)


def _keys(groups: tf.Tensor) -> tf.Tensor:
    flat = tf.reshape(groups, [-1])
    return tf.strings.to_hash_bucket_fast(flat, _BUCKETS) if flat.dtype == tf.string else tf.cast(flat, tf.int64)


def _sampled(keys: tf.Tensor, batch: Batch, share: float) -> tuple[tf.Tensor, Batch]:
    bucket = tf.strings.to_hash_bucket_fast(tf.strings.as_string(keys), 1_000_000)
    chosen = bucket < int(share * 1_000_000)
    return tf.boolean_mask(keys, chosen), Batch(*(tf.boolean_mask(column, chosen) for column in batch))


def _append(count: tf.Variable, columns: list[tuple[tf.Variable, tf.Tensor]]) -> tf.Operation:
    """Write a batch behind the first ``count`` rows of each variable; full ones are made twice as long."""
    first = count.read_value()
    size = tf.shape(columns[0][1])[0]
    written = []
    for variable, rows in columns:
        with tf.control_dependencies([_make_room(variable, first + size, rows)]):
            slices = tf.IndexedSlices(rows, tf.range(first, first + size))
            written.append(tf.group(variable.scatter_update(slices)))
    with tf.control_dependencies([first, *written]):
        return tf.group(count.assign_add(size))


def _make_room(variable: tf.Variable, needed: tf.Tensor, rows: tf.Tensor) -> tf.Operation:
    def grow() -> tf.Tensor:
        old = variable.read_value()
        more = tf.maximum(needed, 2 * tf.shape(old)[0]) - tf.shape(old)[0]
        padding = tf.zeros(tf.concat([[more], tf.shape(rows)[1:]], 0), rows.dtype)
        with tf.control_dependencies([variable.assign(tf.concat([old, padding], 0))]):
            return tf.constant(True)

    capacity = tf.raw_ops.VariableShape(input=variable.handle)[0]  # reading it whole would make the update copy it
    return tf.group(tf.cond(needed > capacity, grow, lambda: tf.constant(False)))
