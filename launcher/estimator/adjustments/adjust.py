"""Makes the adjustments of ``launcher.wire.adjustments`` in this process.

A table says which module of TensorFlow each one changes. ``apply`` imports those modules; ``apply_on_import`` waits
until the script imports them. Everything of ours is imported with this module: a script may have a package of its own
named ``launcher``, which then hides this one.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from launcher.estimator import task as tasks
from launcher.estimator.adjustments.evaluation import evaluator, own_loops
from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.reporting import heartbeat, input_wait, log_format, profiler, uses
from launcher.estimator.adjustments.saving import due, retention
from launcher.estimator.adjustments.saving.final_save import FinalSave
from launcher.estimator.adjustments.sessions import gate, reopening, short_transfers, sync_replicas, trainer, trainings
from launcher.estimator.adjustments.sessions.termination import SaveOnTerm
from launcher.estimator.adjustments.start import (
    cluster_pieces,
    device_filters,
    model_dirs,
    placement,
    preflight,
    roaming,
    servers,
    shares,
)
from launcher.estimator.adjustments.strategies import collective, coordinator, fitting, leaving
from launcher.estimator.adjustments.strategies.steps import Steps
from launcher.estimator.compat import install
from launcher.estimator.task import Task
from launcher.wire import adjustments
from launcher.wire.post_import import after_import

Change = Callable[[Patches, Task], None]

_applied = Patches()
_made: set[str] = set()


@dataclass(frozen=True, kw_only=True)
class _Step:
    """``make`` changes ``module`` and what that imports."""

    module: str
    make: Change


def apply(names: Iterable[str], environ: Mapping[str, str] | None = None) -> None:
    """Make the adjustments ``names`` in this process, for the task that its environment names. Connects nothing. Called
    again, it replaces what it did before. ``environ``: the environment that the process was started with, where the
    script may have changed it since.

    Raises ValueError for an unknown name.
    """
    chosen = frozenset(names)
    task = _begin(chosen, environ)
    _make(chosen, task)


def apply_on_import(names: Iterable[str], environ: Mapping[str, str] | None = None) -> None:
    """As ``apply``, but each change is made when the script has imported the module that it changes."""
    chosen = frozenset(names)
    task = _begin(chosen, environ)
    for step in (*_steps(chosen), *_of_keras(chosen)):
        after_import(step.module, partial(step.make, _applied, task))


def ensure(names: Iterable[str]) -> None:
    """Make those of ``names`` that are not made yet: for jobs that rely on some of them wherever they run."""
    missing = frozenset(names) - _made
    task = tasks.current() if _made else _begin(missing)
    _made.update(missing)
    task.adjustments |= missing
    install()
    _make(missing, task)


def _make(names: frozenset[str], task: Task) -> None:
    for step in _steps(names):
        importlib.import_module(step.module)
        step.make(_applied, task)
    for step in _of_keras(names):  # which a program may never import
        after_import(step.module, partial(step.make, _applied, task))


def undo() -> None:
    """Put TensorFlow back as it was."""
    _applied.undo()
    _made.clear()


def _begin(names: frozenset[str], environ: Mapping[str, str] | None = None) -> Task:
    unknown = adjustments.unknown(names)
    if unknown:
        raise ValueError(f"no such adjustment: {', '.join(unknown)}; there are {', '.join(adjustments.NAMES)}")
    undo()
    _made.update(names)
    at_start = dict(os.environ if environ is None else environ)
    for known in (os.environ, at_start):
        cluster_pieces.join(known)
    task = tasks.begin(at_start)
    task.adjustments = names
    task.steps = Steps(task)
    return task


def _steps(names: frozenset[str]) -> Iterator[_Step]:
    """The changes in the order in which they are to be made: a later one wraps an earlier one of the same function."""
    if names & _OF_A_TRAINING:
        yield from _TRAININGS
    for name, step in _SIMPLE:
        if name in names:
            yield step
    if names & {"eval-delay", "eval-drain", "heartbeat"}:
        rules = evaluator.Rules(
            is_prompt="eval-delay" in names, drains="eval-drain" in names, reports="heartbeat" in names
        )
        yield _Step(module=evaluator.TRAINING, make=partial(evaluator.replace_loop, rules=rules))
    if "eval-drain" in names:
        yield _Step(module=evaluator.TRAINING, make=evaluator.export_when_stopped)
    hooks = [make for name, make in _HOOKS if name in names]
    if hooks:
        yield _Step(module=trainer.MONITORED_SESSION, make=partial(_add_hooks, hooks=hooks))
    if "heartbeat" in names:
        yield _Step(module=trainer.ESTIMATOR, make=trainer.watch_losses)


def _of_keras(names: frozenset[str]) -> Iterator[_Step]:
    if "heartbeat" in names:
        for module in fitting.CALLBACKS:
            yield _Step(module=module, make=partial(fitting.watch, module=module))


def _start_workers_at_once(patches: Patches, task: Task) -> None:
    training: Any = importlib.import_module(evaluator.TRAINING)
    patches.set(training, "_DELAY_SECS_PER_WORKER", 0)


def _add_hooks(patches: Patches, task: Task, hooks: list[trainer.HookFactory]) -> None:
    trainer.Sessions(task, hooks).watch(patches)


_OF_A_TRAINING = frozenset(
    {"session-gate", "chief-rejoin", "final-save", "save-on-term", "heartbeat", "eval-drain", "eval-delay", "profile"}
    | {adjustments.BFLOAT16_TRANSFER}
)
_TRAININGS = (
    _Step(module=trainings.ESTIMATOR, make=trainings.watch_calls),
    _Step(module=trainings.EXECUTOR, make=trainings.watch_executors),
    _Step(module=trainings.SAVER, make=trainings.watch_saves),
    _Step(module=servers.SERVER, make=servers.share),
    _Step(module=servers.SESSION, make=servers.refuse_without_ps),
    _Step(module=uses.ESTIMATOR_MODULE, make=uses.watch_estimators),
    _Step(module=uses.SESSION_MODULE, make=uses.watch_uses),
)
_SIMPLE: tuple[tuple[str, _Step], ...] = (
    ("model-dir", _Step(module=model_dirs.ESTIMATOR, make=model_dirs.default_to_the_runs)),
    ("chief-rejoin", _Step(module=gate.SESSION_MANAGER, make=gate.keep_live_variables)),
    ("ready-poll", _Step(module=gate.SESSION_MANAGER, make=gate.poll_often)),
    ("session-close", _Step(module=gate.SESSION, make=gate.close_soon)),
    ("session-close", _Step(module=trainer.MONITORED_SESSION, make=sync_replicas.join_soon)),
    ("session-gate", _Step(module=gate.SESSION_MANAGER, make=gate.gate_sessions)),
    (adjustments.ROAMING, _Step(module=roaming.EXECUTOR, make=roaming.watch_estimators)),
    (adjustments.ROAMING, _Step(module=roaming.SESSION, make=roaming.tell_sessions)),
    (adjustments.ROAMING, _Step(module=shares.RUN_CONFIG, make=shares.watch_numbers)),
    (adjustments.ROAMING, _Step(module=shares.DATASET, make=shares.watch_datasets)),
    (adjustments.ROAMING, _Step(module=shares.ENVIRONMENT, make=shares.watch_text)),
    (adjustments.ROAMING, _Step(module=reopening.SESSION, make=reopening.watch_gate)),
    ("worker-start", _Step(module=evaluator.TRAINING, make=_start_workers_at_once)),
    ("device-filters", _Step(module=device_filters.RUN_CONFIG, make=device_filters.merge_filters)),
    ("balanced-placement", _Step(module=placement.DEVICE_SETTER, make=placement.balance)),
    ("preflight", _Step(module=preflight.SAVER, make=preflight.guard_restores)),
    ("preflight", _Step(module=preflight.ESTIMATOR, make=preflight.check_before_training)),
    ("keep-evaluated", _Step(module=retention.ESTIMATOR, make=retention.note_what_is_read)),
    ("keep-evaluated", _Step(module=retention.MANAGEMENT, make=retention.keep_what_is_read)),
    ("save-look", _Step(module=due.HOOKS, make=due.look_when_due)),
    ("heartbeat", _Step(module=heartbeat.SERVER, make=heartbeat.report_servers)),
    ("heartbeat", _Step(module=heartbeat.HOOKS, make=heartbeat.report_checkpoints)),
    ("heartbeat", _Step(module=trainer.ESTIMATOR, make=heartbeat.report_evaluations)),
    ("heartbeat", _Step(module=own_loops.CHECKPOINTS, make=own_loops.report_waits)),
    ("heartbeat", _Step(module=trainer.MONITORED_SESSION, make=own_loops.notice_training)),
    ("heartbeat", _Step(module=coordinator.COORDINATOR, make=coordinator.report)),
    ("heartbeat", _Step(module=collective.STRATEGY, make=collective.report)),
    ("heartbeat", _Step(module=leaving.MANAGEMENT, make=leaving.watch_managers)),
    ("session-gate", _Step(module=coordinator.STRATEGY, make=coordinator.gate)),
    ("session-gate", _Step(module=collective.STRATEGY, make=collective.gate)),
    ("save-on-term", _Step(module=coordinator.COORDINATOR, make=coordinator.stop)),
    ("session-close", _Step(module=collective.STRATEGY, make=collective.part_soon)),
    ("log-format", _Step(module=log_format.TF_LOGGING, make=log_format.shape)),
    ("input-wait", _Step(module=input_wait.UTIL, make=input_wait.measure)),
    ("profile", _Step(module=trainer.MONITORED_SESSION, make=profiler.take_profiles)),
)
_HOOKS: tuple[tuple[str, trainer.HookFactory], ...] = (
    (adjustments.ROAMING, reopening.Reopen),
    (adjustments.BFLOAT16_TRANSFER, short_transfers.ShortTransfers),
    ("save-on-term", SaveOnTerm),
    ("heartbeat", heartbeat.Heartbeat),
    ("final-save", sync_replicas.LastTokens),
    ("final-save", FinalSave),
)
