"""Brings ``tf.estimator`` and the adjustments into a program that knows nothing of them.

Where TensorFlow is not imported yet this happens when the program imports it; a program that never does pays nothing.
In a task that is forked after the import everything is there, and only has to be applied.
"""

from __future__ import annotations

import importlib
import os
from functools import partial

from launcher.agent.inside import generated, importing, last_words
from launcher.wire import keras, post_import
from launcher.wire.variables import TASK_SOCKET_VARIABLE, TRAINER_VARIABLE, TUNE_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def load_adjust() -> Any:
    """The module that makes the adjustments; None for an agent that was deployed without the in-task library."""
    damage = _load("launcher.estimator.adjustments.reporting.damage")
    if damage is not None:
        last_words.remark_with(damage.remarks)
    return _load("launcher.estimator.adjustments.adjust")


def choose_keras_at_import() -> None:
    """Arranges for TensorFlow to take the Keras that the environment names, whoever imports it."""
    post_import.after_import("tensorflow", lambda: None, before=partial(keras.choose, os.environ))


def adjust(module: Any, environ: Mapping[str, str]) -> None:
    """Applies the adjustments that the environment names. ``environ``: as it was at the start."""
    _generate_here(environ)
    names = _names(environ)
    if names:
        os.environ[TRAINER_VARIABLE] = str(os.getpid())
        module.apply(names, environ)


def at_import(hidden: importing.Hidden, path: tuple[str, ...], environ: Mapping[str, str]) -> None:
    """Arranges for ``tf.estimator`` and the adjustments to be there when the program has imported TensorFlow; a program
    that never does is spared their imports. ``path``: ``sys.path`` as it was at the interpreter's start; ``environ``:
    its variables then."""
    bring_in = partial(_bring_in, hidden, path, environ)
    post_import.after_import("tensorflow", bring_in, before=partial(keras.choose, os.environ))


def _bring_in(hidden: importing.Hidden, path: tuple[str, ...], environ: Mapping[str, str]) -> None:
    _generate_here(environ)
    names = _names(environ)
    with importing.as_before(hidden, path):
        compat = _load("launcher.estimator.compat")
        module = load_adjust() if names else None
    if compat is not None:
        compat.install_if_possible()
    if module is not None:
        os.environ[TRAINER_VARIABLE] = str(os.getpid())
        module.apply_on_import(names, environ)


def _generate_here(environ: Mapping[str, str]) -> None:
    generated.goes_to(os.path.dirname(environ.get(TASK_SOCKET_VARIABLE, "")))  # noqa: PTH120


def _names(environ: Mapping[str, str]) -> frozenset[str]:
    return frozenset(name for name in environ.get(TUNE_VARIABLE, "").split(",") if name)


def _load(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("launcher"):
            raise
        return None
