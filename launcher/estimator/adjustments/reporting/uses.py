"""What a program has used of TensorFlow, and its end: by that it is known whether it can have trained.

A program that made an Estimator or a monitored session reports its steps. One that made neither may train in ways that
are not seen here: with a server, a session, a strategy or a ``tf.function``, as Keras does. One that used nothing of
these has not trained, whatever its exit code. Each is looked for until it is first used.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
from collections.abc import Callable
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.compat import legacy_keras
from launcher.estimator.task import Task
from launcher.wire.protocol import ESTIMATOR, SESSION, TENSORFLOW, TRAINING, Leaving, Uses

ESTIMATOR_MODULE = "tensorflow_estimator.python.estimator.estimator"
SESSION_MODULE = "tensorflow.python.training.monitored_session"
_SIGNS = (
    (SESSION_MODULE, "_MonitoredSession", "__init__", SESSION),
    ("tensorflow.python.client.session", "BaseSession", "__init__", TENSORFLOW),
    ("tensorflow.python.training.server_lib", "Server", "__init__", TENSORFLOW),
    ("tensorflow.python.distribute.distribute_lib", "StrategyBase", "__init__", TENSORFLOW),
    ("tensorflow.python.eager.polymorphic_function.polymorphic_function", "Function", "__call__", TENSORFLOW),
    ("tensorflow.python.eager.backprop", "GradientTape", "__init__", TENSORFLOW),
)


def watch_estimators(patches: Patches, task: Task) -> None:
    """Know whether the program makes an Estimator."""
    _watch(patches, task, importlib.import_module(ESTIMATOR_MODULE).Estimator, "__init__", ESTIMATOR)


def watch_uses(patches: Patches, task: Task) -> None:
    """Know what else it uses, and when it ends."""
    for module, owner, name, what in _SIGNS:
        _watch(patches, task, getattr(importlib.import_module(module), owner), name, what)
    threading._register_atexit(_leave, task, os.getpid())  # type: ignore[attr-defined]


def _watch(patches: Patches, task: Task, owner: Any, name: str, what: str) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(original)
    def first(*args: Any, **kwargs: Any) -> Any:
        if getattr(owner, name) is first:
            setattr(owner, name, original)
        note(task, what)
        return original(*args, **kwargs)

    patches.set(owner, name, first)


def note(task: Task, what: str) -> None:
    """Say so, the first time."""
    if what not in task.uses:
        task.uses.add(what)
        if task.channel.open():
            task.channel.send(Uses(what=what, note=legacy_keras.wrong_guess() if what == ESTIMATOR else ""))


def note_training(task: Task) -> None:
    """An evaluator that trains is none: its program knows no such role."""
    if task.role == "evaluator":
        note(task, TRAINING)


def _leave(task: Task, pid: int) -> None:
    """The main thread has come to its end; Python waits for the other threads now."""
    if pid != os.getpid():
        return
    if task.steps is not None:
        task.steps.flush()
    if task.is_below:  # the task goes on after this process's end
        return
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    names = tuple(thread.name for thread in others if not thread.daemon)
    task.channel.say_last(Leaving(threads=names, used_nothing=not task.uses))
