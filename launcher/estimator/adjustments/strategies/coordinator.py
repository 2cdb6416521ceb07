"""ParameterServerStrategy: one task coordinates, workers and parameter servers run what it tells them.

The functions that the coordinator schedules are the steps. They are done in threads of TensorFlow's; the program itself
is met where it schedules one, or waits for them (``_CoordinatedClosureQueue`` in
``tensorflow/python/distribute/coordinator/cluster_coordinator.py``).
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.reporting import uses
from launcher.estimator.adjustments.strategies import leaving
from launcher.estimator.task import Task
from launcher.wire.protocol import COORDINATOR as COORDINATES

STRATEGY = "tensorflow.python.distribute.parameter_server_strategy_v2"
COORDINATOR = "tensorflow.python.distribute.coordinator.cluster_coordinator"
_LOOK_EVERY_S = 0.2

_Original = Callable[..., Any]


def gate(patches: Patches, task: Task) -> None:
    """session-gate: nobody connects to a parameter server that is not proven to be this run's."""

    def init(original: _Original, strategy: Any, *args: Any, **kwargs: Any) -> None:
        uses.note(task, COORDINATES)
        uses.note_training(task)
        task.channel.wait_gate()
        original(strategy, *args, **kwargs)

    patches.wrap(importlib.import_module(STRATEGY).ParameterServerStrategyV2, "__init__", init)


def report(patches: Patches, task: Task) -> None:
    """heartbeat: a coordinator that is connected is ready, and what it has had done are its steps."""
    module: Any = importlib.import_module(COORDINATOR)

    def init(original: _Original, coordinator: Any, *args: Any, **kwargs: Any) -> None:
        uses.note(task, COORDINATES)
        original(coordinator, *args, **kwargs)
        task.steps.ready()

    def mark_finished(original: _Original, queue: Any) -> None:
        original(queue)
        task.steps.done(task.steps.each)

    patches.wrap(module.ClusterCoordinator, "__init__", init)
    patches.wrap(module._CoordinatedClosureQueue, "mark_finished", mark_finished)


def stop(patches: Patches, task: Task) -> None:
    """save-on-term: a coordinator that is told to end schedules nothing more, and saves when what runs is done."""
    module: Any = importlib.import_module(COORDINATOR)

    def put(original: _Original, queue: Any, *args: Any, **kwargs: Any) -> Any:
        _leave_if_told(task, queue)
        return original(queue, *args, **kwargs)

    def wait(original: _Original, queue: Any, timeout: float | None = None) -> Any:
        if timeout is not None or threading.current_thread() is not threading.main_thread():
            return original(queue, timeout)
        while not original(queue, _LOOK_EVERY_S):
            _leave_if_told(task, queue)
        return True

    patches.wrap(module._CoordinatedClosureQueue, "put", put)
    patches.wrap(module._CoordinatedClosureQueue, "wait", wait)


def _leave_if_told(task: Task, queue: Any) -> None:
    if task.channel.stop is None or threading.current_thread() is not threading.main_thread():
        return
    with queue._queue_lock:
        queue._cancel_all_closures()
    leaving.leave(task)
