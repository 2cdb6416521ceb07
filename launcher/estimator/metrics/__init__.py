"""Streaming metrics that tell the truth at low rates: ``(value, update_op)`` pairs for ``eval_metric_ops``.

    from launcher.estimator import metrics
    ops = {"auc": metrics.auc(labels, logits, weights), **metrics.binary_metrics(labels, logits, prefix="ctr")}

All state is in local variables, so an evaluation starts at zero, and nothing of it is in a checkpoint.
"""

from launcher.estimator.metrics.grouped import auc_of_groups, grouped_auc
from launcher.estimator.metrics.histogram import auc, auc_of_histogram, batch_histogram
from launcher.estimator.metrics.rates import (
    calibration,
    label_mean,
    log_loss,
    mean,
    normalized_entropy,
    prediction_mean,
)
from launcher.estimator.metrics.sets import binary_metrics, esmm_metrics

__all__ = [
    "auc",
    "auc_of_groups",
    "auc_of_histogram",
    "batch_histogram",
    "binary_metrics",
    "calibration",
    "esmm_metrics",
    "grouped_auc",
    "label_mean",
    "log_loss",
    "mean",
    "normalized_entropy",
    "prediction_mean",
]
