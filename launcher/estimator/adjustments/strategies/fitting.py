"""``model.fit``: Keras tells of each batch. Keras 2, also as tf_keras, and Keras 3."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.reporting import uses
from launcher.estimator.adjustments.strategies import leaving
from launcher.estimator.task import Task
from launcher.wire.protocol import COORDINATOR

CALLBACKS = ("keras.src.callbacks.callback_list", "keras.src.callbacks", "tf_keras.src.callbacks")
_BACKUP = "BackupAndRestore"
_MARK = "_tflaunch_tells"


def watch(patches: Patches, task: Task, *, module: str) -> None:
    """Have every training by Keras call a callback of ours, after the program's own."""
    callbacks: Any = importlib.import_module(module)
    owner = getattr(callbacks, "CallbackList", None)
    if owner is None or getattr(owner.__init__, _MARK, False):
        return
    kind = type("Progress", (callbacks.Callback,), dict(_METHODS, task=task))

    def init(original: Callable[..., Any], self: Any, callbacks: Any = None, *args: Any, **kwargs: Any) -> None:
        ours = kind()
        ours._supports_tf_logs = True  # nothing is to be fetched for it after each batch
        original(self, [*([callbacks] if callbacks else []), ours], *args, **kwargs)
        ours.together = self.callbacks

    patches.wrap(owner, "__init__", init)
    setattr(owner.__init__, _MARK, True)


def _on_train_begin(self: Any, logs: Any = None) -> None:
    """It may go on where it was: the optimizer knows how many steps it has done."""
    uses.note_training(self.task)
    steps = self.task.steps
    steps.fits, self.seen, self.epoch = True, 0, 0
    steps.each = _number(getattr(self.model, "_steps_per_execution", None)) or 1
    steps.ready(_number(getattr(getattr(self.model, "optimizer", None), "iterations", None)) or 0)


def _on_train_end(self: Any, logs: Any = None) -> None:
    self.task.steps.fits, self.task.steps.each = False, 1
    leaving.savers.clear()


def _on_epoch_begin(self: Any, epoch: int, logs: Any = None) -> None:
    self.epoch, self.seen = epoch, 0


def _on_train_batch_begin(self: Any, batch: int, logs: Any = None) -> None:
    leaving.savers[:] = [partial(_back_up, self, callback, batch) for callback in _backups(self)]
    self.task.steps.begin()


def _on_train_batch_end(self: Any, batch: int, logs: Any = None) -> None:
    """``batch``: the last one that is done, from 0 in each epoch. A coordinator has only scheduled it."""
    count, self.seen = batch + 1 - self.seen, batch + 1
    if COORDINATOR not in self.task.uses:
        self.task.steps.done(count, lambda: _number((logs or {}).get("loss")))


def _backups(self: Any) -> list[Any]:
    """The program's callbacks that save for a restart. What they save with is not to be used otherwise."""
    found = [callback for callback in self.together if type(callback).__name__.startswith(_BACKUP)]
    for state in (getattr(callback, "_training_state", None) for callback in found):
        if state is not None:
            leaving.forget(state.read_checkpoint_manager)
            leaving.forget(state.write_checkpoint_manager)
    return found


def _back_up(self: Any, callback: Any, batch: int) -> None:
    """Save before ``batch`` of an epoch; where Keras counts whole epochs only, this one is done again."""
    state = getattr(callback, "_training_state", None)
    if state is None:
        callback._save_model()  # Keras 3
        return
    counts_batches = isinstance(callback.save_freq, int) and batch > 0
    state._ckpt_saved_epoch.assign(self.epoch if counts_batches else self.epoch - 1)
    last_batch = batch if counts_batches else int((self.params or {}).get("steps") or 0)
    state._ckpt_saved_batch.assign(last_batch - 1)
    state.back_up(self.epoch, batch)


_METHODS = {
    "on_train_begin": _on_train_begin,
    "on_train_end": _on_train_end,
    "on_epoch_begin": _on_epoch_begin,
    "on_train_batch_begin": _on_train_batch_begin,
    "on_train_batch_end": _on_train_batch_end,
}


def _number(value: Any) -> Any:
    """A variable or tensor that has one value, here and now; None for anything else."""
    with suppress(AttributeError, TypeError, ValueError):
        value = value.numpy() if hasattr(value, "numpy") else value
        return value.item() if hasattr(value, "item") else value
    return None
