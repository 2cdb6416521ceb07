"""What a death costs: from the death until the task and everybody who waited for it trains again.

A worker or the chief has recovered when it does steps again, the evaluator when it looks for checkpoints again, and a
parameter server when every trainer that it kept from training does steps again. A trainer that finds nothing left to
train has recovered, too. A task that dies again before it has recovered goes on with the same outage.
"""

from __future__ import annotations

import math
from dataclasses import replace

from launcher.lifecycle.draft import Draft
from launcher.lifecycle.state import DrillRecord, Outage, TaskRecord
from launcher.record import events
from launcher.record.states import Phase, TaskState
from launcher.wire.roles import TRAINERS, Role, TaskId

_HELD_UP = ("gate", "session")


def lost(draft: Draft, record: TaskRecord, *, detected_s: float) -> None:
    """An attempt has died, and the task will be started again."""
    outage = _known(draft, record.task)
    if outage is None or outage.paused:
        outage = replace(_began(draft, record, at=draft.now - detected_s), detected_s=detected_s)
    _keep(draft, replace(outage, attempt=record.attempt, back_at=math.inf))


def paused(draft: Draft, record: TaskRecord) -> None:
    """A drill stops the task where it is."""
    _keep(draft, _known(draft, record.task) or replace(_began(draft, record, at=draft.now), paused=True))


def continued(draft: Draft, task: TaskId) -> None:
    """It may go on."""
    outage = _known(draft, task)
    if outage is not None and outage.paused:
        _keep(draft, replace(outage, back_at=draft.now))


def resumed_from(draft: Draft, global_step: int | None) -> None:
    """The chief has a session and says where training goes on. What the parameter servers had lost, or the chief has
    put back, is rolled back; if they kept their variables, the step is no smaller than it was."""
    if global_step is None:
        return
    for outage in draft.state.outages:
        record = draft.tasks[outage.task]
        back = record.attempt > outage.attempt and (record.ready or draft.is_chief(record))
        is_same = draft.state.training.name == outage.training
        if back and is_same and _takes_back(draft, record):
            behind = max(outage.step, draft.state.global_step) - global_step
            _keep(draft, replace(outage, steps_rolled_back=max(outage.steps_rolled_back, behind)))


def death_known(draft: Draft, record: TaskRecord) -> None:
    """The process that a drill was to kill has gone."""
    draft.set(drills=tuple(_noticed(draft, record, item) for item in draft.state.drills))


def _noticed(draft: Draft, record: TaskRecord, item: DrillRecord) -> DrillRecord:
    hit = item.fired and item.drill.task == record.task and item.attempt == record.attempt
    return replace(item, noticed_at=draft.now) if hit and not item.is_pause and not item.over else item


def watch_outages(draft: Draft) -> None:
    """Ends every outage that is over, and forgets those that no restart will end."""
    for outage in draft.state.outages:
        outage = _seen_now(draft, outage)
        record = draft.tasks[outage.task]
        if _is_over(draft, outage, record):
            _forget(draft, outage.task)
            _tell(draft, outage, record)
        elif record.state.final or draft.state.phase in (Phase.STOPPING, Phase.ENDED):
            _forget(draft, outage.task)
        else:
            _keep(draft, outage)


def _seen_now(draft: Draft, outage: Outage) -> Outage:
    record = draft.tasks[outage.task]
    if not outage.paused and math.isinf(outage.back_at) and record.attempt > outage.attempt and record.ready:
        outage = replace(outage, back_at=draft.now)
    if not _takes_back(draft, record):
        return outage
    there = [item for item in draft.of_role(*TRAINERS) if item.alive and not _has_gone_on(outage, item)]
    held_up = {item.task for item in there if item.waits_for in _HELD_UP}
    return replace(outage, waiting=outage.waiting | held_up - {outage.task})


def _takes_back(draft: Draft, record: TaskRecord) -> bool:
    """Whether training may go on from before its death: at its restart variables are restored."""
    return record.task.role is Role.PS or draft.is_chief(record)


def _is_over(draft: Draft, outage: Outage, record: TaskRecord) -> bool:
    if record.state.final:
        return record.state is TaskState.SUCCEEDED and record.attempt > outage.attempt
    if math.isinf(outage.back_at):
        return False
    if record.task.role.trains and not record.finished and record.stepped_at < outage.back_at:
        return False
    if record.task.role is Role.PS and outage.waiting and not draft.state.initialised:
        return False
    return all(_trains_again(draft, outage, draft.tasks[task]) for task in outage.waiting)


def _trains_again(draft: Draft, outage: Outage, trainer: TaskRecord) -> bool:
    """Whether a trainer that waited does so no more; one that has died meanwhile is counted by itself."""
    if not trainer.alive or trainer.finished or trainer.state is TaskState.STOPPING or _has_gone_on(outage, trainer):
        return True
    own = _known(draft, trainer.task)
    if own is not None and not own.paused:
        return True
    return trainer.stepped_at >= outage.back_at and not trainer.waits_for


def _has_gone_on(outage: Outage, trainer: TaskRecord) -> bool:
    """Whether it is in another training, and waits for that."""
    return trainer.training not in ("", outage.training)


def _tell(draft: Draft, outage: Outage, record: TaskRecord) -> None:
    if not outage.paused:
        draft.record(
            events.Recovered(
                task=record.task.name,
                attempt=record.attempt,
                detected_s=round(outage.detected_s, 3),
                recovered_s=round(draft.now - outage.began_at, 3),
                steps_rolled_back=outage.steps_rolled_back,
            )
        )
    for number, item in enumerate(draft.state.drills):
        if item.drill.task == outage.task and item.fired:
            tell_drill_over(draft, number, recovered=True, steps_rolled_back=outage.steps_rolled_back)


def tell_drill_over(draft: Draft, number: int, *, recovered: bool, steps_rolled_back: int = 0) -> None:
    """Says once what a drill has caused."""
    item = draft.state.drills[number]
    if item.over:
        return
    draft.record(
        events.DrillOver(
            fault=str(item.drill),
            number=number,
            task=item.drill.task.name,
            detected_s=round(item.noticed_at - item.fired_at, 3) if math.isfinite(item.noticed_at) else None,
            recovered_s=round(draft.now - item.fired_at, 3) if recovered else None,
            steps_rolled_back=steps_rolled_back,
        )
    )
    keep_drill(draft, number, replace(item, over=True))


def keep_drill(draft: Draft, number: int, item: DrillRecord) -> None:
    known = draft.state.drills
    draft.set(drills=(*known[:number], item, *known[number + 1 :]))


def _known(draft: Draft, task: TaskId) -> Outage | None:
    return next((outage for outage in draft.state.outages if outage.task == task), None)


def _began(draft: Draft, record: TaskRecord, *, at: float) -> Outage:
    others = draft.of_role(*TRAINERS) if record.task.role is Role.PS else ()
    return Outage(
        task=record.task,
        attempt=record.attempt,
        began_at=at,
        training=draft.state.training.name,
        step=draft.state.global_step,
        waiting=frozenset(item.task for item in others if item.state is TaskState.TRAINING),
    )


def _keep(draft: Draft, outage: Outage) -> None:
    others = (item for item in draft.state.outages if item.task != outage.task)
    draft.set(outages=(*others, outage))


def _forget(draft: Draft, task: TaskId) -> None:
    draft.set(outages=tuple(item for item in draft.state.outages if item.task != task))
