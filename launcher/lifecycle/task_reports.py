"""What tasks say, and what it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from launcher.lifecycle.hosts.moves import moved_back
from launcher.lifecycle.outages import resumed_from
from launcher.lifecycle.roaming import costs
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import NOT_READY, TRANSITIONS, TaskRecord
from launcher.lifecycle.together import on_reached
from launcher.lifecycle.trainings import (
    end_training,
    on_begun,
    on_doing,
    on_ended,
    on_leaving,
    on_max_steps,
    on_uses,
)
from launcher.record import events
from launcher.record.states import TaskState
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, Role

_WAITS = {wait.value: wait for wait in protocol.Wait}


def on_ready(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Ready)
    if record.task.role is Role.EVALUATOR:
        record.attempt.listens = True
    if record.task.role is Role.PS:
        return  # its own word is no proof: see ``on_listening``
    if run.is_chief(record):
        run.state.generation.initialised = True
        run.state.generation.holds = record.attempt.training
        resumed_from(run, report.global_step, kept=report.kept)
        moved_back(run, None if report.kept else report.global_step)
    record.attempt.ready = True
    record.early_deaths = 0
    if record.state in (*NOT_READY, TaskState.FINISHED):
        run.move(record, TaskState.READY, reason="kept the live variables" if report.kept else "")


def on_step(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Step)
    has_trained = report.local_steps > 0
    record.attempt.global_step = report.global_step
    if has_trained:
        costs.stepped(run, record)
        record.attempt.stepped_at = run.now
        trained(record)
    progressed(run, record)
    run.record(
        events.Progressed(
            task=record.task.name,
            attempt=record.attempt.number,
            global_step=report.global_step,
            local_steps=report.local_steps,
            examples=report.examples,
            loss=report.loss,
            input_wait=report.input_wait,
        )
    )
    if record.state in (*NOT_READY, TaskState.READY) and has_trained:
        record.attempt.ready = True
        record.early_deaths = 0
        run.move(record, TaskState.TRAINING)


def on_input(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.InputState)
    exhausted = not report.pending and not report.held
    if exhausted:
        run.state.progress_at = run.now  # there is nothing to train on: nobody hangs
    run.state.exhausted, run.state.endless = exhausted, report.endless
    costs.on_input(run, report)
    run.record(events.InputCounted(**{name: getattr(report, name) for name in report.fields}))


def on_finished(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Finished)
    run.record(
        events.Progressed(
            task=record.task.name,
            attempt=record.attempt.number,
            global_step=report.global_step,
            local_steps=report.local_steps,
            examples=report.examples,
        )
    )
    record.attempt.global_step = report.global_step
    record.attempt.ready = True
    record.attempt.finished = True
    record.attempt.nothing_left = report.nothing_left
    if report.local_steps > 0:
        trained(record)
    progressed(run, record)
    if TaskState.FINISHED in TRANSITIONS[record.state]:
        run.move(record, TaskState.FINISHED, reason=report.reason)


def on_checkpoint(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.CheckpointSaved)
    if run.is_chief(record) and run.state.training.barrier_open:
        run.state.training.saved_last = True
        end_training(run, record)
    if run.is_chief(record):
        run.state.saved = report
    run.record(events.CheckpointWritten(task=record.task.name, global_step=report.global_step, path=report.path))


def on_evaluated(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Evaluated)
    run.record(
        events.EvaluationDone(
            task=record.task.name,
            global_step=report.global_step,
            metrics=report.metrics,
            checkpoint=report.checkpoint,
            name=report.name,
            pause_s=report.pause_s,
        )
    )
    if odd := [name for name, value in report.metrics.items() if value is None]:
        run.notice("warning", f"{record.task}: not a finite number in the evaluation: {', '.join(odd)}", record.task)
    run.state.metrics = tuple(sorted({*run.state.metrics, *report.metrics}))
    record.attempt.ready = True
    record.early_deaths = 0
    record.attempt.evaluated = report
    if record.task.role is Role.EVALUATOR and record.state in (*NOT_READY, TaskState.READY):
        run.move(record, TaskState.EVALUATING)


def on_waiting(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Waiting)
    record.attempt.waits_for = _WAITS.get(report.what)
    record.attempt.missing = report.missing
    record.attempt.done_with = report.done_with
    if record.task.role is Role.EVALUATOR and report.what == "checkpoint" and record.state in NOT_READY:
        record.attempt.ready = True
        run.move(record, TaskState.READY)


def on_roaming(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Roaming)
    run.state.roams = report.possible and run.state.roams is not False
    run.state.fixed = run.state.fixed or report.fixed


def on_divides(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Divides)
    told = f"{report.where} {report.what}"
    if report.surely:
        run.state.divides = run.state.divides or told
    else:
        run.state.reads = run.state.reads or told


def trained(record: TaskRecord) -> None:
    if not record.past.trained:
        record.past = replace(record.past, trained=True)


def progressed(run: Run, record: TaskRecord) -> None:
    """The run is where its foremost trainer is. Each reports for itself; after a roll-back all report less."""
    state = run.state
    foremost = state.tasks.get(state.foremost) if state.foremost is not None else None
    if foremost is None or not _counts(run, foremost) or (foremost is record and _step(record) < state.global_step):
        there = [item for item in state.of_role(*TRAINERS) if _counts(run, item)]
        foremost = max(there, key=_step, default=None)
    elif _counts(run, record) and _step(record) > _step(foremost):
        foremost = record
    if foremost is None:
        return
    state.foremost = foremost.task
    if _step(foremost) != state.global_step:
        state.global_step, state.progress_at = _step(foremost), run.now


def _counts(run: Run, record: TaskRecord) -> bool:
    return record.alive and record.attempt.speaks and record.attempt.training in ("", run.state.training.name)


def _step(record: TaskRecord) -> int:
    return record.attempt.global_step


ON_REPORT: Mapping[type[protocol.Message], Callable[[Run, TaskRecord, protocol.Message], None]] = MappingProxyType(
    {
        protocol.Ready: on_ready,
        protocol.Step: on_step,
        protocol.InputState: on_input,
        protocol.Finished: on_finished,
        protocol.CheckpointSaved: on_checkpoint,
        protocol.Evaluated: on_evaluated,
        protocol.Waiting: on_waiting,
        protocol.MaxSteps: on_max_steps,
        protocol.Begun: on_begun,
        protocol.Ended: on_ended,
        protocol.Doing: on_doing,
        protocol.Uses: on_uses,
        protocol.Leaving: on_leaving,
        protocol.Reached: on_reached,
        protocol.Roaming: on_roaming,
        protocol.Divides: on_divides,
    }
)
