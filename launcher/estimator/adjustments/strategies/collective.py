"""MultiWorkerMirroredStrategy: every trainer does each step together with all others.

A step of a loop of one's own is a call of a function in which the strategy has run something: a ``tf.function`` that
was found to do so when it was traced, or ``strategy.run`` itself. Where Keras trains, Keras tells.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.reporting import uses
from launcher.estimator.task import Task
from launcher.wire.protocol import COLLECTIVE
from launcher.wire.variables import slow_to_end

STRATEGY = "tensorflow.python.distribute.collective_all_reduce_strategy"
_LIB = "tensorflow.python.distribute.distribute_lib"
_FUNCTION = "tensorflow.python.eager.polymorphic_function.polymorphic_function"
_BACKPROP = "tensorflow.python.eager.backprop"
_SUMMARIES = "tensorflow.python.ops.summary_ops_v2"
_MARK = "_tflaunch_trains"

_Original = Callable[..., Any]


def gate(patches: Patches, task: Task) -> None:
    """session-gate: no member joins before the run has all that it needs."""

    def init(original: _Original, extended: Any, *args: Any, **kwargs: Any) -> None:
        uses.note(task, COLLECTIVE)
        task.channel.wait_gate()
        original(extended, *args, **kwargs)

    patches.wrap(importlib.import_module(STRATEGY).CollectiveAllReduceExtended, "__init__", init)


def part_soon(patches: Patches, task: Task) -> None:
    """session-close: nobody waits for the thread that looks every 30 s whether the others are there, nor at the end for
    TensorFlow's taking down, which can stall for many seconds after a member was lost."""

    def init(original: _Original, extended: Any, *args: Any, **kwargs: Any) -> None:
        if not slow_to_end:
            slow_to_end.add(COLLECTIVE)
            atexit.register(_flush_summaries)  # before TensorFlow's context is left as it is
        original(extended, *args, **kwargs)

    def stop(original: _Original, extended: Any) -> None:
        if getattr(extended, "_check_health_thread", None):
            extended._check_health_thread_should_stop.set()
            extended._check_health_thread = None

    extended_class = importlib.import_module(STRATEGY).CollectiveAllReduceExtended
    patches.wrap(extended_class, "__init__", init)
    patches.wrap(extended_class, "_stop_check_health_thread", stop)


def _flush_summaries() -> None:
    """Otherwise done when the program's writers are let go."""
    writer_class = importlib.import_module(_SUMMARIES)._ResourceSummaryWriter
    for writer in [item for item in gc.get_objects() if isinstance(item, writer_class)]:
        with suppress(Exception):
            writer.flush()


def report(patches: Patches, task: Task) -> None:
    """heartbeat: a member of the collective is ready, and does steps."""

    def init(original: _Original, extended: Any, *args: Any, **kwargs: Any) -> None:
        uses.note(task, COLLECTIVE)
        original(extended, *args, **kwargs)
        if task.role in ("chief", "worker") and not task.is_alone:
            task.steps.is_collective = True
            task.steps.ready()

    patches.wrap(importlib.import_module(STRATEGY).CollectiveAllReduceExtended, "__init__", init)

    def gradient(original: _Original, *args: Any, **kwargs: Any) -> Any:
        if COLLECTIVE in task.uses:  # whatever else an evaluator may want a gradient for
            uses.note_training(task)
        return original(*args, **kwargs)

    if task.role == "evaluator":
        patches.wrap(importlib.import_module(_BACKPROP).GradientTape, "gradient", gradient)
    loop = _Loop(task)
    patches.wrap(importlib.import_module(_FUNCTION).Function, "__call__", loop.call)
    patches.wrap(importlib.import_module(_LIB).StrategyBase, "run", loop.run)


class _Loop:
    """Finds the steps among the calls of the main thread; what is called within another call is part of that."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._outermost: Any = None

    def call(self, original: _Original, function: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._looks() or self._outermost is not None:
            return original(function, *args, **kwargs)
        self._outermost = function
        try:
            if getattr(function, _MARK, False):
                self._task.steps.begin()
            result = original(function, *args, **kwargs)
        finally:
            self._outermost = None
        if getattr(function, _MARK, False):
            self._task.steps.done()
        return result

    def run(self, original: _Original, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self._looks() and self._outermost is not None:
            setattr(self._outermost, _MARK, True)
        if not self._looks() or self._outermost is not None:
            return original(strategy, *args, **kwargs)
        self._outermost = strategy
        try:
            self._task.steps.begin()
            result = original(strategy, *args, **kwargs)
        finally:
            self._outermost = None
        self._task.steps.done()
        return result

    def _looks(self) -> bool:
        steps = self._task.steps
        return steps.is_collective and not steps.fits and threading.current_thread() is threading.main_thread()
