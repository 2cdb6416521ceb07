"""What agents and tasks say, and what it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from launcher import causes
from launcher.lifecycle.draft import Draft
from launcher.lifecycle.ends import exited
from launcher.lifecycle.moves import moved_back
from launcher.lifecycle.outages import resumed_from
from launcher.lifecycle.shape import on_reached
from launcher.lifecycle.state import TRANSITIONS, TaskRecord
from launcher.lifecycle.trainings import (
    end_training,
    on_begun,
    on_doing,
    on_ended,
    on_leaving,
    on_max_steps,
    on_uses,
)
from launcher.lifecycle.values import ProveTask, SeeModelDir
from launcher.record import events
from launcher.record.states import TaskState
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, Role, TaskId


def on_reserved(draft: Draft, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Reserved)
    if body.generation != draft.state.generation:
        return
    draft.set(reserved=draft.state.reserved | {host})


def on_locked(draft: Draft, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Locked)
    users = {record.planned.host for record in draft.of_role(*TRAINERS, Role.EVALUATOR)}
    others = frozenset() if "://" in body.path else frozenset(users - {host} - draft.state.lost)
    draft.set(unseen={**draft.state.unseen, body.path: others})
    if others:
        draft.do(SeeModelDir(path=body.path, hosts=others))
    else:
        draft.set(locked=draft.state.locked | {body.path})
    if body.note:
        draft.notice("warning" if body.emptied else "info", body.note)


def on_seen(draft: Draft, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Seen)
    left = draft.state.unseen.get(body.path, frozenset()) - {host}
    draft.set(unseen={**draft.state.unseen, body.path: left})
    if not left:
        draft.set(locked=draft.state.locked | {body.path})


def on_refused(draft: Draft, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Refused)
    if body.command == "start":
        record = draft.tasks[TaskId.parse(body.task)]
        if record.attempt == body.attempt and record.alive:
            draft.move(record, TaskState.FAILED, reason=body.message, running=False)
            draft.fail(causes.not_started(body.task, host, body.message))
        return
    draft.fail(causes.refused(host, body))


def on_preload(draft: Draft, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.PreloadState)
    draft.record(
        events.PreloadChanged(
            host=host, key=body.key, state=body.state, pid=body.pid, seconds=body.seconds, message=body.message
        )
    )


def current(draft: Draft, task: str, attempt: int) -> TaskRecord | None:
    """The record of that task, if ``attempt`` is its present one and its process may be alive."""
    record = draft.tasks[TaskId.parse(task)]
    return record if record.attempt == attempt and record.alive else None


def on_started(draft: Draft, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Started)
    record = current(draft, body.task, body.attempt)
    if record is None:
        return
    record = draft.update(record, running=True, started_at=draft.now)
    draft.say(record, record.state, pid=body.pid, start=body.start)
    if record.task.role is Role.PS and record.state is TaskState.STARTING:
        draft.do(ProveTask(task=record.task, attempt=record.attempt))


def on_listening(draft: Draft, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Listening)
    record = current(draft, body.task, body.attempt)
    if record is not None and record.state is TaskState.STARTING:
        draft.move(record, TaskState.READY, ready=True)


def on_exited(draft: Draft, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Exited)
    record = current(draft, body.task, body.attempt)
    if record is not None:
        exited(draft, record, body)


def on_stacks(draft: Draft, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Stacks)
    record = draft.tasks[TaskId.parse(body.task)]
    if record.attempt == body.attempt:
        draft.set(stacks={**draft.state.stacks, record.task: body})


def on_usage(draft: Draft, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Usage)
    draft.record(events.UsageSampled(host=host, cpu=body.cpu, rss_mib=body.rss_mib))


def on_connected(draft: Draft, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Connected)
    record = current(draft, body.task, body.attempt)
    if record is not None and not record.speaks:
        draft.update(record, speaks=True)


def on_reported(draft: Draft, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Reported)
    record = current(draft, body.task, body.attempt)
    handler = _ON_REPORT.get(type(body.report))
    if record is None or handler is None:
        return
    if not record.speaks:
        record = draft.update(record, speaks=True)
    if record.task.role.trains and not draft.state.spoken:
        draft.set(spoken=True)
    handler(draft, record, body.report)


def on_ready(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Ready)
    if record.task.role is Role.EVALUATOR:
        record = draft.update(record, listens=True)
    if record.task.role is Role.PS:
        return  # its own word is no proof: see ``on_listening``
    if draft.is_chief(record):
        draft.set(initialised=True, holds=record.training)
        resumed_from(draft, report.global_step)
        moved_back(draft, report.global_step)
    record = draft.update(record, ready=True, early_deaths=0)
    if record.state in (TaskState.STARTING, TaskState.FINISHED):
        draft.move(record, TaskState.READY, reason="kept the live variables" if report.kept else "")


def on_step(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Step)
    has_trained = report.local_steps > 0
    stepped_at = draft.now if has_trained else record.stepped_at
    record = draft.update(
        record, global_step=report.global_step, stepped_at=stepped_at, trained=record.trained or has_trained
    )
    progressed(draft)
    draft.record(
        events.Progressed(
            task=record.task.name,
            attempt=record.attempt,
            global_step=report.global_step,
            local_steps=report.local_steps,
            examples=report.examples,
            loss=report.loss,
            input_wait=report.input_wait,
        )
    )
    if record.state in (TaskState.STARTING, TaskState.READY) and report.local_steps > 0:
        draft.move(draft.update(record, ready=True, early_deaths=0), TaskState.TRAINING)


def on_input(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.InputState)
    exhausted = not report.pending and not report.held
    if exhausted:
        draft.set(progress_at=draft.now)  # there is nothing to train on: nobody hangs
    if exhausted != draft.state.exhausted:
        draft.set(exhausted=exhausted)
    if report.endless != draft.state.endless:
        draft.set(endless=report.endless)
    draft.record(events.InputCounted(**{name: getattr(report, name) for name in report.fields}))


def on_finished(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Finished)
    draft.record(
        events.Progressed(
            task=record.task.name,
            attempt=record.attempt,
            global_step=report.global_step,
            local_steps=report.local_steps,
            examples=report.examples,
        )
    )
    record = draft.update(
        record,
        global_step=report.global_step,
        ready=True,
        finished=True,
        nothing_left=report.nothing_left,
        trained=record.trained or report.local_steps > 0,
    )
    progressed(draft)
    if TaskState.FINISHED in TRANSITIONS[record.state]:
        draft.move(record, TaskState.FINISHED, reason=report.reason)


def on_checkpoint(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.CheckpointSaved)
    if draft.is_chief(record) and draft.state.training.barrier_open:
        draft.training(saved_last=True)
        end_training(draft, record)
    if draft.is_chief(record):
        draft.set(saved=report)
    draft.record(events.CheckpointWritten(task=record.task.name, global_step=report.global_step, path=report.path))


def on_evaluated(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Evaluated)
    draft.record(
        events.EvaluationDone(
            task=record.task.name,
            global_step=report.global_step,
            metrics=report.metrics,
            checkpoint=report.checkpoint,
            name=report.name,
        )
    )
    if odd := [name for name, value in report.metrics.items() if value is None]:
        draft.notice("warning", f"{record.task}: not a finite number in the evaluation: {', '.join(odd)}", record.task)
    draft.set(metrics=tuple(sorted({*draft.state.metrics, *report.metrics})))
    record = draft.update(record, ready=True, early_deaths=0, evaluated=report)
    if record.task.role is Role.EVALUATOR and record.state in (TaskState.STARTING, TaskState.READY):
        draft.move(record, TaskState.EVALUATING)


def on_waiting(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Waiting)
    draft.update(record, waits_for=report.what, missing=report.missing)


def progressed(draft: Draft) -> None:
    """The run is where its foremost trainer is. Each reports for itself; after a roll-back all report less."""
    name = draft.state.training.name
    there = [record for record in draft.of_role(*TRAINERS) if record.training in ("", name)]
    steps = [record.global_step for record in there if record.alive and record.speaks]
    if steps and max(steps) != draft.state.global_step:
        draft.set(global_step=max(steps), progress_at=draft.now)


ON_TOLD: Mapping[type[protocol.Message], Callable[[Draft, str, protocol.Message], None]] = MappingProxyType(
    {
        protocol.Reserved: on_reserved,
        protocol.Locked: on_locked,
        protocol.Seen: on_seen,
        protocol.Refused: on_refused,
        protocol.PreloadState: on_preload,
        protocol.Started: on_started,
        protocol.Listening: on_listening,
        protocol.Exited: on_exited,
        protocol.Stacks: on_stacks,
        protocol.Usage: on_usage,
        protocol.Connected: on_connected,
        protocol.Reported: on_reported,
    }
)

_ON_REPORT: Mapping[type[protocol.Message], Callable[[Draft, TaskRecord, protocol.Message], None]] = MappingProxyType(
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
    }
)
