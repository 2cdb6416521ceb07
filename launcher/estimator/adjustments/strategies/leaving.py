"""A program that is to end in the middle: what it saves with is used once more, then it is left.

A loop of one's own cannot be asked to end. So the program is ended by ``SystemExit`` where it begins a step; its
``finally`` and ``with`` blocks are done.
"""

from __future__ import annotations

import importlib
import logging
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.task import Task
from launcher.wire.protocol import CheckpointSaved

MANAGEMENT = "tensorflow.python.checkpoint.checkpoint_management"
_EXIT_CODE = 143  # as of a program that SIGTERM has ended
_log = logging.getLogger("tensorflow")
_managers: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()  # whether it has saved
savers: list[Callable[[], None]] = []


def watch_managers(patches: Patches, task: Task) -> None:
    """Know every CheckpointManager, and report what it saves."""
    manager_class: Any = importlib.import_module(MANAGEMENT).CheckpointManager

    def init(original: Callable[..., Any], manager: Any, *args: Any, **kwargs: Any) -> None:
        original(manager, *args, **kwargs)
        _managers[manager] = False

    def save(original: Callable[..., Any], manager: Any, *args: Any, **kwargs: Any) -> Any:
        path = original(manager, *args, **kwargs)
        _managers[manager] = True
        counter = getattr(manager, "_step_counter", None)
        if counter is not None and task.steps is not None:
            task.steps.offset = int(counter.numpy()) - task.local_steps
        if path and task.is_chief and task.channel.open():  # those of the others are put aside
            step = task.steps.offset + task.local_steps if task.steps else task.local_steps
            task.channel.send(CheckpointSaved(global_step=step, path=str(path)))
        return path

    patches.wrap(manager_class, "__init__", init)
    patches.wrap(manager_class, "save", save)


def forget(manager: Any) -> None:
    """Somebody else sees to it that this one is used."""
    _managers.pop(manager, None)


def leave(task: Task) -> NoReturn:
    """Save with all that the program saves with, and end it. Besides the chief those save that have done so before: in
    a collective a save may need each member. Raises SystemExit."""
    for save in tuple(savers):
        save()
    for manager, has_saved in list(_managers.items()):
        if has_saved or task.is_chief:
            manager.save()
    _log.info("Told to end: stopped after %d steps.", task.local_steps)
    raise SystemExit(_EXIT_CODE)
