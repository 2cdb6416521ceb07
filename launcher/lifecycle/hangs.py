"""What each task does while nothing goes on: asked of the agents before anybody is blamed."""

from __future__ import annotations

import math
from collections.abc import Iterable

from launcher import causes
from launcher.lifecycle.clock import STACKS_PATIENCE_S
from launcher.lifecycle.draft import Draft
from launcher.lifecycle.state import TaskRecord
from launcher.lifecycle.values import TakeStacks
from launcher.wire import protocol
from launcher.wire.roles import TaskId

_STALE_S = 60.0


def inspected(draft: Draft, records: Iterable[TaskRecord]) -> bool:
    """Whether it is known what these do. Asks where that has not been done of late."""
    wanted = [record for record in records if record.alive and record.running]
    for record in wanted:
        if draft.now - draft.state.asked_at.get(record.task, -math.inf) >= _STALE_S:
            _ask(draft, record)
    return all(record.task in draft.state.stacks for record in wanted)


def despair_of_answers(draft: Draft) -> None:
    """Who does not say in time what it does is not waited for."""
    for task, asked_at in draft.state.asked_at.items():
        if task not in draft.state.stacks and draft.now >= asked_at + STACKS_PATIENCE_S:
            nothing = protocol.Stacks(task=task.name, attempt=draft.tasks[task].attempt)
            draft.set(stacks={**draft.state.stacks, task: nothing})


def _ask(draft: Draft, record: TaskRecord) -> None:
    draft.set(
        asked_at={**draft.state.asked_at, record.task: draft.now},
        stacks={task: stacks for task, stacks in draft.state.stacks.items() if task != record.task},
    )
    draft.do(TakeStacks(task=record.task, attempt=record.attempt))


def standings(draft: Draft) -> tuple[causes.Standing, ...]:
    """Each task that has not ended, as it stands."""
    return tuple(_standing(draft, record) for record in draft.tasks.values() if not record.state.final)


def standing(draft: Draft, task: TaskId) -> causes.Standing:
    return _standing(draft, draft.tasks[task])


def _standing(draft: Draft, record: TaskRecord) -> causes.Standing:
    stacks = draft.state.stacks.get(record.task)
    return causes.Standing(
        task=record.task.name,
        role=record.task.role,
        host=record.planned.host,
        alive=record.running,
        ready=record.ready,
        finished=record.finished,
        waits_for=record.waits_for,
        missing=record.missing,
        doing=record.doing,
        global_step=record.global_step,
        since_s=draft.now - max(record.stepped_at, record.started_at),
        stacks=stacks if stacks is not None and stacks.attempt == record.attempt else None,
    )
