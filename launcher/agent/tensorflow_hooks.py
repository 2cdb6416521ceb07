"""Brings ``tf.estimator`` and the adjustments into a program that knows nothing of them.

In a task that is started by exec this happens when the program imports TensorFlow; a program that never does pays
nothing. In a forked one TensorFlow is there: see ``preload.py``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable

from launcher.agent.importing import Hidden, ours
from launcher.protocol import TUNE_VARIABLE

Apply = Callable[[tuple[str, ...]], object]


def find_apply() -> Apply | None:
    """The function that applies adjustments; None where the in-task library is not to be had."""
    try:
        module = importlib.import_module("launcher.estimator.adjust")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("launcher"):
            raise
        return None
    apply: Apply = module.apply
    return apply


def adjust(apply: Apply) -> None:
    """Applies the adjustments that the environment names, if any."""
    names = tuple(name for name in os.environ.get(TUNE_VARIABLE, "").split(",") if name)
    if names:
        apply(frozenset(names))


def at_import(hidden: Hidden) -> None:
    """Arranges for ``tf.estimator`` to be there when the program has imported TensorFlow, and for the adjustments when
    it has imported tensorflow_estimator. To be called while ``launcher`` is ours; ``hidden`` holds it later."""
    try:
        from launcher.estimator import compat
        from launcher.estimator.post_import import after_import
    except ModuleNotFoundError:  # an agent that was deployed without the in-task library
        return
    compat.install_on_import()
    if os.environ.get(TUNE_VARIABLE):
        after_import("tensorflow_estimator", lambda: _adjust_with_ours(hidden))


def _adjust_with_ours(hidden: Hidden) -> None:
    with ours(hidden):
        apply = find_apply()
    if apply is not None:
        adjust(apply)
