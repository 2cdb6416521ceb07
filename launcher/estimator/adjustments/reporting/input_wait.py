"""input-wait: which share of a step a trainer waits for its next batch.

An Estimator turns its input_fn's dataset into one ``IteratorGetNext`` (``parse_input_fn_result`` in
``tensorflow_estimator/python/estimator/util.py``). The clock is read before it and after it, inside the graph; the
difference is fetched with the heartbeat, and computed in no other step. Input from queues is not measured.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.task import Task

UTIL = "tensorflow_estimator.python.estimator.util"


def measure(patches: Patches, task: Task) -> None:
    """Time the input of every Estimator of this process."""

    def parse(original: Callable[..., Any], result: Any) -> Any:
        features, labels, hooks = original(result)
        if hooks:  # it made the iterator itself
            task.input_wait = _waited((features, labels))
        return features, labels, hooks

    patches.wrap(importlib.import_module(UTIL), "parse_input_fn_result", parse)


def _waited(batch: Any) -> Any:
    """Seconds from the start of the step to the batch, float64[]; None if no iterator is found."""
    tensorflow: Any = importlib.import_module("tensorflow")
    sources = {getattr(part, "op", None) for part in tensorflow.nest.flatten(batch, expand_composites=True)}
    nexts = [operation for operation in sources if operation is not None and "IteratorGetNext" in operation.type]
    if len(nexts) != 1:
        return None
    began = tensorflow.timestamp()
    nexts[0]._add_control_input(began.op)
    with tensorflow.control_dependencies(nexts):
        return tensorflow.timestamp() - began
