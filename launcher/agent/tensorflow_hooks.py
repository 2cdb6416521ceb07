"""Brings ``tf.estimator`` and the adjustments into a program that knows nothing of them.

Where TensorFlow is not imported yet this happens when the program imports it; a program that never does pays nothing.
In a task that is forked after the import everything is there, and only has to be applied.
"""

from __future__ import annotations

import importlib
import os
from functools import partial
from typing import Any

from launcher.protocol import TUNE_VARIABLE


def load_adjust() -> Any:
    """The module ``launcher.estimator.adjust``; None for an agent that was deployed without the in-task library."""
    return _load("launcher.estimator.adjust")


def adjust(module: Any) -> None:
    """Applies the adjustments that the environment names."""
    names = _names()
    if names:
        module.apply(names)


def at_import() -> None:
    """Arranges for ``tf.estimator`` and the adjustments to be there when the program has imported TensorFlow. To be
    called while ``launcher`` is ours."""
    compat = _load("launcher.estimator.compat")
    if compat is not None:
        compat.install_on_import()
    names = _names()
    module = load_adjust() if names else None
    if module is not None:
        # After compat has had its turn: its finder for tensorflow_estimator must not stand before those of adjust.
        post_import = importlib.import_module("launcher.estimator.post_import")
        post_import.after_import("tensorflow", partial(module.apply_on_import, names))


def _names() -> frozenset[str]:
    return frozenset(name for name in os.environ.get(TUNE_VARIABLE, "").split(",") if name)


def _load(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("launcher"):
            raise
        return None
