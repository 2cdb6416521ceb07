"""The metrics that one usually wants together, by name."""

from __future__ import annotations

import tensorflow as tf

from launcher.estimator.metrics.grouped import grouped_auc
from launcher.estimator.metrics.histogram import auc
from launcher.estimator.metrics.rates import Metric, all_rates


def binary_metrics(
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    *,
    prefix: str,
    groups: tf.Tensor | None = None,
) -> dict[str, Metric]:
    """``<prefix>_auc``, ``_log_loss``, ``_normalized_entropy``, ``_calibration``, ``_label_mean``,
    ``_prediction_mean``, and with ``groups`` ``_grouped_auc``."""
    rates = all_rates(labels, logits, weights, name=f"{prefix}_rates")
    found = {f"{prefix}_auc": auc(labels, logits, weights, name=f"{prefix}_auc")}
    found |= {f"{prefix}_{name}": metric for name, metric in rates.items()}
    if groups is not None:
        name = f"{prefix}_grouped_auc"
        found[name] = grouped_auc(groups, labels, logits, weights, name=name)
    return found


def esmm_metrics(
    click: tf.Tensor,
    conversion: tf.Tensor,
    *,
    ctr_logits: tf.Tensor,
    cvr_logits: tf.Tensor,
    ctcvr_logits: tf.Tensor,
    weights: tf.Tensor | None = None,
    groups: tf.Tensor | None = None,
) -> dict[str, Metric]:
    """:func:`binary_metrics` of clicks (``ctr_``), of conversions on clicks alone (``cvr_``), and of conversions over
    all impressions (``ctcvr_``). ``ctcvr_cvr_auc_esmm`` is another name of ``ctcvr_auc``.

    All arguments are of shape [examples]. A conversion without a click counts as none.
    """
    clicked = tf.cast(click, tf.float32)
    both = clicked * tf.cast(conversion, tf.float32)
    on_clicks = clicked if weights is None else clicked * tf.cast(tf.reshape(weights, tf.shape(clicked)), tf.float32)
    found = {
        **binary_metrics(clicked, ctr_logits, weights, prefix="ctr", groups=groups),
        **binary_metrics(both, cvr_logits, on_clicks, prefix="cvr"),
        **binary_metrics(both, ctcvr_logits, weights, prefix="ctcvr", groups=groups),
    }
    return {**found, "ctcvr_cvr_auc_esmm": found["ctcvr_auc"]}
