"""The sessions of a trainer: one place from which the adjustments reach each of them.

Every way to train, Estimator or not, ends in a ``_MonitoredSession``
(``tensorflow/python/training/monitored_session.py``). Sessions that do not train are left alone. Hooks of ours come
first, and so does their ``end()``: before the CheckpointSaverHook's last save, which is among the chief's own hooks.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.sessions import global_steps, trainings
from launcher.estimator.adjustments.start import given_cluster
from launcher.estimator.task import Task, Training
from launcher.wire.protocol import Finished

MONITORED_SESSION = "tensorflow.python.training.monitored_session"
ESTIMATOR = "tensorflow_estimator.python.estimator.estimator"


def loss_errors() -> tuple[type[Exception], ...]:
    """What ``session.run`` raises where a parameter server is lost, or has come back empty.

    ``_PREEMPTION_ERRORS`` of ``monitored_session.py`` are the first two; a step that was under way is cancelled, and
    one that reaches a new server finds no variables.
    """
    errors: Any = importlib.import_module("tensorflow.python.framework.errors_impl")
    return (errors.AbortedError, errors.UnavailableError, errors.CancelledError, errors.FailedPreconditionError)


class Hook:
    """The methods of a ``tf.compat.v1.train.SessionRunHook``, without importing TensorFlow."""

    def begin(self) -> None:
        """The graph may still be changed."""

    def after_create_session(self, session: Any, coord: Any) -> None:
        """A session is open; again after each recovery."""

    def before_run(self, run_context: Any) -> Any:
        """What to fetch besides: None or ``SessionRunArgs``."""

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """A step is done."""

    def end(self, session: Any) -> None:
        """The loop is over, without an error; the session is still open."""

    def closed(self) -> None:
        """The session is closed, after an error too. Not known to TensorFlow."""


class Trainer:
    """A training in this task: its monitored session, and how far it is. ``global_step`` is the last one seen, None
    before the first."""

    def __init__(
        self, *, task: Task, training: Training, monitored: Any, is_chief: bool, is_by_hand: bool = False
    ) -> None:
        self.task = task
        self.is_by_hand = is_by_hand
        self.training = training
        self.monitored = monitored
        self.is_chief = is_chief
        self.global_step: int | None = None
        self.global_step_tensor: Any = None
        self.hooks: list[Hook] = []
        self._is_finished = False

    def read_global_step(self, session: Any) -> int:
        """The global step as the parameter servers have it; the last one seen if they are lost."""
        if self.global_step_tensor is not None:
            with contextlib.suppress(*loss_errors()):
                self.global_step = int(session.run(self.global_step_tensor))
        return self.global_step or 0

    def save(self, session: Any) -> None:
        """Write a checkpoint now, if this training has any."""
        hooks: Any = importlib.import_module("tensorflow.python.training.basic_session_run_hooks")
        step = self.read_global_step(session)
        for hook in self.monitored._hooks:
            if isinstance(hook, hooks.CheckpointSaverHook):
                hook._timer.update_last_triggered_step(step)
                hook._save(session, step)

    def finish(self, session: Any) -> None:
        """Report ``Finished``, once."""
        if self._is_finished:
            return
        self._is_finished = True
        for prepare in tuple(self.task.before_finish):
            prepare()
        self.task.channel.send(
            Finished(
                global_step=self.read_global_step(session),
                local_steps=self.task.local_steps,
                examples=self.task.examples,
                reason=_reason(self.task, self.training),
            )
        )


def _reason(task: Task, training: Training) -> str:
    if task.terminated:
        return "SIGTERM"
    return (task.channel.stop.reason or "stop") if task.channel.stop else training.end_reason


class _Counter(Hook):
    """Finds the global step, counts steps and sessions."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def begin(self) -> None:
        training_util: Any = importlib.import_module("tensorflow.python.training.training_util")
        self._trainer.global_step_tensor = training_util._get_or_create_global_step_read()

    def after_create_session(self, session: Any, coord: Any) -> None:
        self._trainer.training.sessions += 1

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self._trainer.task.local_steps += 1


class _Together(Hook):
    """Several hooks as one: TensorFlow spends about 2 microseconds per hook and step. One of them may fetch."""

    _tflaunch_name = "tflaunch's own"

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = tuple(hooks)

    def begin(self) -> None:
        for hook in self._hooks:
            hook.begin()

    def after_create_session(self, session: Any, coord: Any) -> None:
        for hook in self._hooks:
            hook.after_create_session(session, coord)

    def before_run(self, run_context: Any) -> Any:
        for hook in self._hooks:
            wanted = hook.before_run(run_context)
            if wanted is not None:
                return wanted
        return None

    def after_run(self, run_context: Any, run_values: Any) -> None:
        for hook in self._hooks:
            hook.after_run(run_context, run_values)

    def end(self, session: Any) -> None:
        for hook in self._hooks:
            hook.end(session)


HookFactory = Callable[[Trainer], Hook]


def watch_losses(patches: Patches, task: Task) -> None:
    """Know what an Estimator runs and fetches in each step."""

    def train(original: Callable[..., Any], estimator: Any, spec: Any, *args: Any, **kwargs: Any) -> Any:
        if task.training is not None:
            task.training.loss, task.training.train_op = spec.loss, spec.train_op
        return original(estimator, spec, *args, **kwargs)

    patches.wrap(importlib.import_module(ESTIMATOR).Estimator, "_train_with_estimator_spec", train)


class Sessions:
    """Gives every monitored session of this process that trains a Trainer, and it the hooks of ``factories``; hooks run
    in that order."""

    def __init__(self, task: Task, factories: Sequence[HookFactory]) -> None:
        self._task = task
        self._factories = tuple(factories)

    def watch(self, patches: Patches) -> None:
        """Reach every session that is made from now on."""
        module: Any = importlib.import_module(MONITORED_SESSION)
        patches.wrap(module._MonitoredSession, "__init__", self._init)
        patches.wrap(module._MonitoredSession, "_close_internal", _close)

    def _init(
        self, original: Callable[..., Any], monitored: Any, session_creator: Any, hooks: Any, *args: Any, **kwargs: Any
    ) -> None:
        by_hand = _begin_by_hand(self._task, session_creator)
        training = by_hand or self._task.training
        if training is None:
            original(monitored, session_creator, hooks, *args, **kwargs)
            return
        chief: Any = importlib.import_module(MONITORED_SESSION).ChiefSessionCreator
        trainer = Trainer(
            task=self._task,
            training=training,
            monitored=monitored,
            is_chief=isinstance(session_creator, chief),
            is_by_hand=by_hand is not None,
        )
        trainer.hooks = [_Counter(trainer), *(factory(trainer) for factory in self._factories)]
        monitored._tflaunch_trainer = trainer
        try:
            original(monitored, session_creator, [_Together(trainer.hooks), *(hooks or ())], *args, **kwargs)
        except BaseException:
            _notify_closed(monitored)
            raise


def _begin_by_hand(task: Task, session_creator: Any) -> Training | None:
    """A training without an Estimator, which begins and ends with its session."""
    if task.training is not None or task.is_beside or not task.role or not trains():
        return None
    if not getattr(session_creator, "_master", None) and not task.is_alone:
        given_cluster.check_alone(task)
        return None
    folder = getattr(session_creator, "_checkpoint_dir", None) or ""
    task.training = trainings.begin(task, folder, trainings.BY_HAND)
    return task.training


def trains() -> bool:
    """Whether the graph has a step to do, and not only something to predict or to evaluate."""
    ops: Any = importlib.import_module("tensorflow.python.framework.ops")
    graph = ops.get_default_graph()
    return bool(graph.get_collection(ops.GraphKeys.TRAIN_OP)) or global_steps.is_written(graph)


def _close(original: Callable[..., Any], monitored: Any, exception_type: Any = None) -> Any:
    try:
        result = original(monitored, exception_type)
        _end_by_hand(monitored, exception_type)
        return result
    finally:
        _notify_closed(monitored)


def _end_by_hand(monitored: Any, exception_type: Any) -> None:
    trainer: Trainer | None = getattr(monitored, "_tflaunch_trainer", None)
    if trainer is not None and trainer.is_by_hand and exception_type in (None, *_good_ends()):
        trainings.end(trainer.task, trainer.training)


def _good_ends() -> tuple[type[Exception], ...]:
    """What ``_MonitoredSession.__exit__`` takes for the end of the input."""
    errors: Any = importlib.import_module("tensorflow.python.framework.errors_impl")
    return (errors.OutOfRangeError, StopIteration)


def _notify_closed(monitored: Any) -> None:
    trainer: Trainer | None = getattr(monitored, "_tflaunch_trainer", None)
    if trainer is None:
        return
    for hook in trainer.hooks:
        hook.closed()
    if trainer.is_by_hand:
        trainer.task.training = None
