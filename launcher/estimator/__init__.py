"""The in-task library: what runs inside the tasks of a cluster. Importing it never imports TensorFlow; one that is
imported after it has ``tf.estimator``, and Keras 2 unless somebody has said otherwise.

Scripts written for a launcher import from here what they would take from ``tf.estimator``, on any TensorFlow from 2.15
to 2.21; scripts that know of no launcher are adjusted from outside (``launcher.estimator.adjustments.adjust``).
"""

from __future__ import annotations

import importlib
from typing import Any

from launcher.estimator.adjustments.adjust import ensure as ensure_adjustments
from launcher.estimator.adjustments.start.fitting import CheckpointMismatchError
from launcher.estimator.compat import EstimatorMissingError, install, install_on_import
from launcher.estimator.task import add_examples, evaluated
from launcher.estimator.training.stopping import UnknownMetricError

__all__ = [
    "BestExporter",
    "CheckpointMismatchError",
    "EstimatorMissingError",
    "EvalSpec",
    "FinalExporter",
    "LatestExporter",
    "RunConfig",
    "TrainSpec",
    "UnknownMetricError",
    "add_examples",
    "balanced_device_fn",
    "ensure_adjustments",
    "evaluated",
    "freeze",
    "install",
    "partitioner",
    "serving_input_fn",
    "stop_if_higher_hook",
    "stop_if_lower_hook",
    "stop_if_no_decrease_hook",
    "stop_if_no_increase_hook",
    "train_and_evaluate",
    "warm_start",
]

_FROM_TENSORFLOW = frozenset({"EvalSpec", "RunConfig", "TrainSpec", "train_and_evaluate"})
_OURS = {
    "BestExporter": "training.exporters",
    "FinalExporter": "training.exporters",
    "LatestExporter": "training.exporters",
    "balanced_device_fn": "adjustments.start.placement",
    "freeze": "training.serving",
    "partitioner": "adjustments.start.placement",
    "serving_input_fn": "training.serving",
    "stop_if_higher_hook": "training.early_stopping",
    "stop_if_lower_hook": "training.early_stopping",
    "stop_if_no_decrease_hook": "training.early_stopping",
    "stop_if_no_increase_hook": "training.early_stopping",
    "warm_start": "training.warm_starting",
}


install_on_import()


def __getattr__(name: str) -> Any:
    """The names of ``tf.estimator``, and ours that need it; the first of them imports TensorFlow."""
    if name in _OURS:
        return getattr(importlib.import_module(f"{__name__}.{_OURS[name]}"), name)
    if name not in _FROM_TENSORFLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    install()
    import tensorflow

    return getattr(tensorflow.estimator, name)
