"""A training: one call that trains, this graph in this model_dir. It begins and ends, and a process may have several.

What is kept for a restart, or for the end, belongs to one training: the live variables, the barrier, the end of the
evaluator, the last save. Each has a name that is the same in every task and in every attempt of a task, since all run
one program: the n-th ``train_and_evaluate`` in that model_dir (``MODEL_DIR#n``), the n-th ``Estimator.train`` outside
of one (``MODEL_DIR#train-n``), or the n-th session by hand (``#session-n``). Evaluating, predicting and exporting are
no training, wherever they happen.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.start import given_cluster
from launcher.estimator.task import Task, Training
from launcher.wire.protocol import Begun, Doing, Ended, Finished

ESTIMATOR = "tensorflow_estimator.python.estimator.estimator"
EXECUTOR = "tensorflow_estimator.python.estimator.training"
SAVER = "tensorflow.python.training.saver"
BY_HAND = "session-"
_BY_ESTIMATOR = "train-"
_BESIDE = {
    "evaluate": "evaluate",
    "export_saved_model": "export",
    "experimental_export_all_saved_models": "export",
}
_log = logging.getLogger("tensorflow")

_Original = Callable[..., Any]


class TrainingOverError(Exception):
    """There is nothing to do in a training that has ended without this task. No error for the program: the call that
    was to train returns."""


def begin(task: Task, model_dir: str, call: str) -> Training:
    """Begin the next training of that kind, and say so."""
    folder = absolute(model_dir)
    prefix = f"#{call}" if call == BY_HAND else f"{folder}#{call}"  # the chief alone knows the folder of a session
    task.calls[prefix] += 1
    name = f"{prefix}{task.calls[prefix]}"
    training = Training(name=name, model_dir=folder, may_be_left_out=call != BY_HAND)
    if task.channel.open():
        task.channel.send(Begun(training=training.name, model_dir=folder))
    return training


def end(task: Task, training: Training) -> None:
    """The training is over, and whatever it had to save is saved."""
    task.channel.send(Ended(training=training.name, saved=training.saved))


def absolute(folder: str) -> str:
    """One name for a folder; one with a scheme, such as ``hdfs://``, has it already."""
    return folder if not folder or "://" in folder else os.path.realpath(folder)


@contextlib.contextmanager
def beside(task: Task) -> Iterator[None]:
    """What happens in here is no part of the training, even if one is under way."""
    before, task.training, task.is_beside = (task.training, task.is_beside), None, True
    try:
        yield
    finally:
        task.training, task.is_beside = before


def watch_calls(patches: Patches, task: Task) -> None:
    """Know the calls of an Estimator that train, and those that do not."""
    estimator = importlib.import_module(ESTIMATOR).Estimator
    patches.wrap(estimator, "train", lambda *args, **kwargs: _train(task, *args, **kwargs))
    patches.wrap(estimator, "predict", lambda *args, **kwargs: _predict(task, *args, **kwargs))
    for name, what in _BESIDE.items():

        def call(original: _Original, *args: Any, _what: str = what, **kwargs: Any) -> Any:
            with beside(task), _told(task, _what):
                return original(*args, **kwargs)

        patches.wrap(estimator, name, call)


def watch_executors(patches: Patches, task: Task) -> None:
    """Know each ``train_and_evaluate``: there the evaluator has a part in a training, too."""

    def run(original: _Original, executor: Any) -> Any:
        given_cluster.check_config(task, executor._estimator.config)
        if task.role == "ps":
            return original(executor)
        with _within(task, begin(task, executor._estimator.model_dir, "")):
            return original(executor)

    patches.wrap(importlib.import_module(EXECUTOR)._TrainingExecutor, "run", run)


def watch_saves(patches: Patches, task: Task) -> None:
    """Know whether a training was saved."""

    def save(original: _Original, *args: Any, **kwargs: Any) -> Any:
        path = original(*args, **kwargs)
        if task.training is not None:
            task.training.saved = True
        return path

    patches.wrap(importlib.import_module(SAVER).Saver, "save", save)


@contextlib.contextmanager
def _within(task: Task, training: Training) -> Iterator[Training]:
    before, task.training = task.training, training
    try:
        yield training
    finally:
        task.training = before


def _train(task: Task, original: _Original, estimator: Any, *args: Any, **kwargs: Any) -> Any:
    given_cluster.check_config(task, estimator.config)
    if task.role == "evaluator" and task.calls:
        _log.info("An evaluator trains nothing: what the chief trains is evaluated.")
        return estimator
    given_cluster.check_served(task, estimator.config)
    if task.is_stopping:
        _log.warning("Nothing is trained: this task was told to end.")
        return estimator
    with _within(task, task.training or begin(task, estimator.model_dir, _BY_ESTIMATOR)) as training:
        try:
            _say_if_nothing_is_left(task, training, estimator, *args, **kwargs)
            result = original(estimator, *args, **kwargs)
        except TrainingOverError as over:
            _log.warning("Nothing is trained: %s.", over)
            return estimator
        end(task, training)
        return result


def _say_if_nothing_is_left(task: Task, training: Training, estimator: Any, *args: Any, **kwargs: Any) -> None:
    """As ``Estimator.train`` finds it; what it then returns without a session."""
    max_steps = kwargs.get("max_steps", args[3] if len(args) > 3 else None)
    if max_steps is None:
        return
    step = importlib.import_module(ESTIMATOR)._load_global_step_from_checkpoint_dir(estimator.model_dir)
    if step >= max_steps:
        training.saved = True
        reason = f"already at step {step}: nothing to train"
        steps = task.local_steps
        task.channel.send(Finished(global_step=int(step), local_steps=steps, reason=reason, nothing_left=True))


def _predict(task: Task, original: _Original, *args: Any, **kwargs: Any) -> Iterator[Any]:
    results = original(*args, **kwargs)
    with _told(task, "predict"), contextlib.closing(results):
        while True:
            with beside(task):  # not while the program has the result
                try:
                    result = next(results)
                except StopIteration:
                    return
            yield result


@contextlib.contextmanager
def _told(task: Task, what: str) -> Iterator[None]:
    is_told = task.channel.open()
    if is_told:
        task.channel.send(Doing(what=what))
    try:
        yield
    finally:
        if is_told:
            task.channel.send(Doing(what=""))
