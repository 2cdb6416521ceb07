"""Brings ``tf.estimator`` and the adjustments into a program that knows nothing of them.

In a task that is started by exec this happens when the program imports TensorFlow; a program that never does pays
nothing. In a forked one TensorFlow is there: see ``preload.py``.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable

from launcher.agent.importing import OURS, Finder, Hidden, ours
from launcher.protocol import TUNE_VARIABLE

Apply = Callable[[tuple[str, ...]], object]


def adjustments() -> tuple[str, ...]:
    """The names of the adjustments that this task shall have."""
    return tuple(name for name in os.environ.get(TUNE_VARIABLE, "").split(",") if name)


def find_apply() -> Apply | None:
    """The function that applies adjustments; None where the in-task library is not to be had."""
    try:
        adjust = importlib.import_module("launcher.estimator.adjust")
    except ImportError as error:
        if error.name is None or not error.name.startswith("launcher"):
            raise
        return None
    apply: Apply = adjust.apply
    return apply


def at_import() -> None:
    """Arranges for everything to happen when the program imports TensorFlow and tensorflow_estimator, and hides our
    packages behind those of the user."""
    hidden = Hidden()
    sys.meta_path.insert(0, Finder(hidden, _never_elsewhere, lambda tops: None))
    try:
        from launcher.estimator import compat
        from launcher.estimator.post_import import after_import
    except ImportError:
        hidden.hide(OURS)
        return
    compat.install_on_import()
    if adjustments():
        after_import("tensorflow_estimator", lambda: _adjust(hidden))
    hidden.hide(OURS)


def _adjust(hidden: Hidden) -> None:
    with ours(hidden):
        apply = find_apply()
        if apply is not None:
            apply(adjustments())


def _never_elsewhere(name: str | None) -> None:
    """Nothing but our own packages is hidden: there is nothing that another module could be found for."""
