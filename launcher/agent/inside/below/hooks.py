"""What a Python program that a task has started gets when it imports TensorFlow."""

from __future__ import annotations

import os
import sys

from launcher.agent.inside import importing, tensorflow_hooks
from launcher.wire.variables import BELOW_VARIABLE, TRAINER_VARIABLE, TUNE_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def prepare(path: tuple[str, ...]) -> None:
    """To be called before a program imports TensorFlow. ``path``: ``sys.path`` at its interpreter's start."""
    environ = {**os.environ, BELOW_VARIABLE: "1", TUNE_VARIABLE: ",".join(_adjustments(os.environ))}
    hidden = importing.Hidden()
    tensorflow_hooks.at_import(hidden, path, environ)
    hidden.hide(importing.OURS)
    sys.meta_path.insert(0, importing.Finder(hidden))


def _adjustments(environ: Mapping[str, str]) -> list[str]:
    """None where a process that this one descends from is what the task is about. A session that is left to close while
    the interpreter ends would abort it; only a program that we have started ourselves can be ended in time."""
    if environ.get(TRAINER_VARIABLE, str(os.getpid())) != str(os.getpid()):
        return []
    return [name for name in environ.get(TUNE_VARIABLE, "").split(",") if name != "session-close"]
