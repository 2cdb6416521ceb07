"""The in-task library: what runs inside the tasks of a cluster. Importing it never imports TensorFlow.

Scripts written for a launcher import from here what they would take from ``tf.estimator``, on any TensorFlow from 2.15
to 2.21; scripts that know of no launcher are adjusted from outside (``launcher.estimator.adjust``).
"""

from __future__ import annotations

from typing import Any

from launcher.estimator.compat import EstimatorMissingError, install
from launcher.estimator.task import add_examples

__all__ = [
    "EstimatorMissingError",
    "EvalSpec",
    "FinalExporter",
    "LatestExporter",
    "RunConfig",
    "TrainSpec",
    "add_examples",
    "install",
    "train_and_evaluate",
]

_FROM_TENSORFLOW = frozenset(
    {"EvalSpec", "FinalExporter", "LatestExporter", "RunConfig", "TrainSpec", "train_and_evaluate"}
)


def __getattr__(name: str) -> Any:
    """The names of ``tf.estimator``; the first of them imports TensorFlow."""
    if name not in _FROM_TENSORFLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    install()
    import tensorflow

    return getattr(tensorflow.estimator, name)
