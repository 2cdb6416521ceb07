"""keep-evaluated: the chief does not delete the checkpoint that the evaluator is reading.

A Saver keeps the newest few checkpoints and deletes the others (``Saver._MaybeDeleteOldCheckpoints`` in
``tensorflow/python/training/saver.py``), whoever reads them. An evaluation reads one at its beginning and, to export,
at its end, which may be minutes later. Here the evaluator notes in the model_dir which checkpoint it has taken, then
looks whether that is still there; the chief puts off the deletion of a noted one until another is noted. At its end the
evaluator takes its note away.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.task import Task

ESTIMATOR = "tensorflow_estimator.python.estimator.estimator"
MANAGEMENT = "tensorflow.python.checkpoint.checkpoint_management"
NOTE = "evaluating"
_TRIES = 10


def note_what_is_read(patches: Patches, task: Task) -> None:
    """Have an evaluator note each checkpoint that it is about to take."""
    if task.role != "evaluator":
        return
    management: Any = importlib.import_module(MANAGEMENT)
    noted: dict[str, str] = {}
    atexit.register(_take_notes_away, noted, os.getpid())

    def latest_checkpoint(original: Callable[..., Any], estimator: Any) -> Any:
        for _ in range(_TRIES):
            path = original(estimator)
            if path is None or noted.get(estimator.model_dir) == path:
                break
            _note(estimator.model_dir, path)
            noted[estimator.model_dir] = path
            if management.checkpoint_exists(path):
                break
            noted.clear()  # deleted between the look and the note: there is a newer one
        return path

    patches.wrap(importlib.import_module(ESTIMATOR).Estimator, "latest_checkpoint", latest_checkpoint)


def keep_what_is_read(patches: Patches, task: Task) -> None:
    """Have a chief put off the deletion of a checkpoint that is noted."""
    management: Any = importlib.import_module(MANAGEMENT)
    put_off: dict[str, tuple[Any, ...]] = {}

    def remove(original: Callable[..., Any], prefix: str, *how: Any, **more: Any) -> None:
        for late in [path for path in put_off if path != prefix and not _is_noted(path)]:
            original(late, *put_off.pop(late))
        if _is_noted(prefix):
            put_off[prefix] = (*how, *more.values())
        else:
            put_off.pop(prefix, None)
            original(prefix, *how, **more)

    patches.wrap(management, "remove_checkpoint", remove)


def _note(model_dir: str, path: str) -> None:
    """Whole or not at all."""
    gfile = _gfile()
    target = os.path.join(model_dir, NOTE)  # noqa: PTH118 -- may be hdfs://
    try:
        with gfile.GFile(f"{target}.new", "w") as file:
            file.write(_name(path))
        gfile.rename(f"{target}.new", target, overwrite=True)
    except _errors().OpError:  # a model_dir that may only be read: nobody deletes anything there
        return


def _take_notes_away(noted: Mapping[str, str], pid: int) -> None:
    """Those of this process, which a child of it may have inherited."""
    for model_dir, path in noted.items():
        if pid == os.getpid() and _is_noted(os.path.join(model_dir, _name(path))):  # noqa: PTH118
            with contextlib.suppress(_errors().OpError):
                _gfile().remove(os.path.join(model_dir, NOTE))  # noqa: PTH118


def _is_noted(prefix: str) -> bool:
    try:
        with _gfile().GFile(os.path.join(os.path.dirname(prefix), NOTE)) as file:  # noqa: PTH118, PTH120
            return str(file.read()) == _name(prefix)
    except _errors().OpError:
        return False


def _name(path: str) -> str:
    return str(path).rpartition("/")[2]


def _gfile() -> Any:
    return importlib.import_module("tensorflow").io.gfile


def _errors() -> Any:
    return importlib.import_module("tensorflow.python.framework.errors_impl")
