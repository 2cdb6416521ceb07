"""What each task does while nothing is heard of it: asked of the agents before anybody is blamed."""

from __future__ import annotations

from collections.abc import Iterable

from launcher import causes
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import TaskRecord
from launcher.lifecycle.state.deadlines import late_deadline, unheard_deadline
from launcher.lifecycle.state.roster import Is
from launcher.lifecycle.values import TakeStacks
from launcher.record.states import TaskState
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, TaskId

STACKS_PATIENCE_S = 4.0
_STALE_S = 60.0


def inspected(run: Run, records: Iterable[TaskRecord]) -> bool:
    """Whether it is known what these do. Asks where that has not been done of late."""
    wanted = [record for record in records if record.alive and record.attempt.running]
    for record in wanted:
        if run.now - record.attempt.asked_at >= _STALE_S:
            _ask(run, record)
    return all(record.attempt.stacks is not None for record in wanted)


def answered(run: Run, record: TaskRecord, stacks: protocol.Stacks) -> None:
    """A task, or the impatience of ``despair_of_answers``, says what it does."""
    record.attempt.stacks = stacks
    run.state.unanswered.pop(record.task, None)


def despair_of_answers(run: Run) -> None:
    """Who does not say in time what it does is not waited for."""
    late = [task for task, asked_at in run.state.unanswered.items() if run.now >= asked_at + STACKS_PATIENCE_S]
    for task in late:
        record = run.state.tasks[task]
        answered(run, record, protocol.Stacks(task=task.name, attempt=record.attempt.number))


def watch_the_silent(run: Run) -> None:
    """A task that says nothing of what it does may never: that it runs is all that can be known. One that others wait
    for is named, since those that are not started before the gate opens cannot say what they wait for."""
    for record in run.overdue():
        if run.now >= unheard_deadline(run.state, record):
            run.move(record, TaskState.RUNNING)
        if run.now >= late_deadline(run.state, record):
            record.attempt.told_late = True
            _tell_who_waits(run, record)


def _tell_who_waits(run: Run, server: TaskRecord) -> None:
    if waiting := ", ".join(trainer.task.name for trainer in run.each(Is.WAITING, *TRAINERS)[:8]):
        limit_s = run.state.plan.policy.start_timeout_s
        words = f"{server.task} does not listen at its address yet; not started before it does: {waiting}"
        run.notice("info", f"{words} (policy.start_timeout_s: {limit_s:g})", server.task)


def _ask(run: Run, record: TaskRecord) -> None:
    record.attempt.asked_at, record.attempt.stacks = run.now, None
    run.state.unanswered[record.task] = run.now
    run.do(TakeStacks(task=record.task, attempt=record.attempt.number))


def standings(run: Run) -> tuple[causes.Standing, ...]:
    """Each task that has not ended, as it stands."""
    return tuple(standing(run, record.task) for record in run.tasks if not record.state.final)


def standing(run: Run, task: TaskId) -> causes.Standing:
    record = run.state.tasks[task]
    attempt = record.attempt
    return causes.Standing(
        task=task.name,
        role=task.role,
        host=record.planned.host,
        alive=attempt.running,
        ready=attempt.ready,
        finished=attempt.finished,
        waits_for=attempt.waits_for,
        missing=attempt.missing,
        doing=attempt.doing,
        global_step=attempt.global_step,
        since_s=run.now - max(attempt.stepped_at, attempt.started_at),
        stacks=attempt.stacks,
    )
