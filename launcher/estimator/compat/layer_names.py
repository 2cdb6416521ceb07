"""Keras 3 counts the names of layers for the whole process, Keras 2 for each graph.

An Estimator makes a graph for each training, evaluation and prediction. With names that go on counting, the second one
looks for variables that no checkpoint has. So each call of a ``model_fn`` counts from the beginning.
"""

from __future__ import annotations

import collections
import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

from launcher.wire.post_import import after_import

_ESTIMATOR = "tensorflow_estimator.python.estimator.estimator"
_STATE = "keras.src.backend.common.global_state"
_COUNTS = "object_name_uids"  # keras/src/utils/naming.py


def count_by_graph() -> None:
    """Have every Estimator count so, from its import on."""
    after_import(_ESTIMATOR, _wrap)


def _wrap() -> None:
    estimator: Any = importlib.import_module(_ESTIMATOR).Estimator
    original: Callable[..., Any] = estimator._call_model_fn

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        state: Any = sys.modules.get(_STATE)
        if state is None:
            return original(*args, **kwargs)
        before = state.get_global_attribute(_COUNTS)
        state.set_global_attribute(_COUNTS, collections.defaultdict(int))
        try:
            return original(*args, **kwargs)
        finally:
            state.set_global_attribute(_COUNTS, before)

    estimator._call_model_fn = call
