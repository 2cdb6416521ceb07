"""heartbeat: an evaluator with a loop of its own says which checkpoint it has done with, and whether it trains.

Such loops wait for the next one by ``checkpoints_iterator`` (``tensorflow/python/training/checkpoint_utils.py``), as
Keras's SidecarEvaluator does: whoever waits for another has evaluated the one that it was given.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.reporting import uses
from launcher.estimator.adjustments.sessions.trainer import MONITORED_SESSION, Hook, trains
from launcher.estimator.task import Task
from launcher.wire.protocol import Wait, Waiting

CHECKPOINTS = "tensorflow.python.training.checkpoint_utils"


def report_waits(patches: Patches, task: Task) -> None:
    """``Waiting`` while an evaluator waits for the next checkpoint."""
    if task.role != "evaluator":
        return

    def wait(original: Callable[..., Any], folder: Any, last_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not task.channel.open():
            return original(folder, last_checkpoint, *args, **kwargs)
        task.channel.send(Waiting(what=Wait.CHECKPOINT, done_with=str(last_checkpoint or "")))
        try:
            return original(folder, last_checkpoint, *args, **kwargs)
        finally:
            task.channel.send(Waiting(what=""))

    patches.wrap(importlib.import_module(CHECKPOINTS), "wait_for_new_checkpoint", wait)


def notice_training(patches: Patches, task: Task) -> None:
    """Know whether a monitored session of an evaluator trains."""
    if task.role != "evaluator":
        return

    def init(original: Callable[..., Any], monitored: Any, creator: Any, hooks: Any, *args: Any, **kwargs: Any) -> None:
        own = () if task.is_beside or not trains() else (_GlobalStep(task),)
        original(monitored, creator, [*own, *(hooks or ())], *args, **kwargs)

    patches.wrap(importlib.import_module(MONITORED_SESSION)._MonitoredSession, "__init__", init)


class _GlobalStep(Hook):
    """Nobody else raises the global step of an evaluator's session, which has its variables for itself."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._first: int | None = None
        self._fetches: Any = None

    def begin(self) -> None:
        step = importlib.import_module("tensorflow.python.training.training_util").get_global_step()
        if step is not None:
            module: Any = importlib.import_module("tensorflow.python.training.session_run_hook")
            self._fetches = module.SessionRunArgs(step)

    def before_run(self, run_context: Any) -> Any:
        return self._fetches

    def after_run(self, run_context: Any, run_values: Any) -> None:
        if self._fetches is None:
            return
        self._first = run_values.results if self._first is None else self._first
        if run_values.results > self._first:
            self._fetches = None
            uses.note_training(self._task)
