"""What a death costs: from the death until the task and everybody who waited for it trains again.

A worker or the chief has recovered when it does steps again, the evaluator when it looks for checkpoints again, and a
parameter server when every trainer that it kept from training does steps again. A trainer that finds nothing left to
train has recovered, too; of a task that says nothing of what it does no more can be known than that it runs. A task
that dies again before it has recovered goes on with the same outage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from launcher.lifecycle.run import Run
from launcher.lifecycle.state import DrillRecord, Outage, TaskRecord
from launcher.record import events
from launcher.record.states import Phase, TaskState
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, Role, TaskId

_HELD_UP = (protocol.Wait.GATE, protocol.Wait.SESSION)


def lost(run: Run, record: TaskRecord, *, detected_s: float) -> None:
    """An attempt has died, and the task will be started again."""
    outage = run.state.outages.get(record.task)
    if outage is None or outage.paused:
        outage = _begin(run, record, at=run.now - detected_s)
        outage.detected_s = detected_s
    outage.attempt, outage.back_at = record.attempt.number, math.inf
    outage.behind = set(outage.waiting)


def paused(run: Run, record: TaskRecord) -> None:
    """A drill stops the task where it is."""
    if record.task not in run.state.outages:
        _begin(run, record, at=run.now).paused = True


def continued(run: Run, task: TaskId) -> None:
    """It may go on."""
    outage = run.state.outages.get(task)
    if outage is not None and outage.paused:
        _back(run, outage)
        run.state.tasks[task].note()  # a task that says nothing of what it does is back with that


def resumed_from(run: Run, global_step: int | None, *, kept: bool = False) -> None:
    """The chief has a session and says where training goes on. What the parameter servers had lost, or the chief has
    put back, is rolled back; not if they ``kept`` their variables, which workers have trained on meanwhile."""
    if global_step is None or kept:
        return
    for outage in run.state.outages.values():
        record = run.state.tasks[outage.task]
        back = record.attempt.number > outage.attempt and (record.attempt.ready or run.is_chief(record))
        is_same = run.state.training.name == outage.training
        if back and is_same and _takes_back(run, record):
            behind = max(outage.step, run.state.global_step) - global_step
            outage.steps_rolled_back = max(outage.steps_rolled_back, behind)


def death_known(run: Run, record: TaskRecord) -> None:
    """The process that a drill was to kill has gone."""
    for item in run.state.drills:
        hit = item.fired and item.drill.task == record.task and item.attempt == record.attempt.number
        if hit and not item.is_pause and not item.over:
            item.noticed_at = run.now


def watch_outages(run: Run) -> None:
    """Ends every outage that is over, and forgets those that no restart will end."""
    changed = run.changed()
    ending = run.state.phase in (Phase.STOPPING, Phase.ENDED)
    for outage in list(run.state.outages.values()):
        record = run.state.tasks[outage.task]
        if not ending and outage.task not in changed and not _takes_back(run, record):
            continue  # nobody else has a part in it
        _look_at(run, outage, record, changed)
        if _is_over(run, outage, record):
            del run.state.outages[outage.task]
            _tell(run, outage, record)
        elif record.state.final or ending:
            del run.state.outages[outage.task]


def _look_at(run: Run, outage: Outage, record: TaskRecord, changed: Mapping[TaskId, TaskRecord]) -> None:
    is_back = record.attempt.ready or record.state is TaskState.RUNNING
    if not outage.paused and math.isinf(outage.back_at) and is_back and record.attempt.number > outage.attempt:
        _back(run, outage)
    if not _takes_back(run, record):
        return
    for other in changed.values():
        if _is_held_up(outage, other):
            outage.waiting.add(other.task)
        if other.task in outage.waiting:
            _place(run, outage, other)


def _back(run: Run, outage: Outage) -> None:
    """The task is ready again; from here on the others may train."""
    outage.back_at = run.now
    for task in outage.waiting:
        _place(run, outage, run.state.tasks[task])


def _place(run: Run, outage: Outage, trainer: TaskRecord) -> None:
    if _trains_again(run, outage, trainer):
        outage.behind.discard(trainer.task)
    else:
        outage.behind.add(trainer.task)


def _takes_back(run: Run, record: TaskRecord) -> bool:
    """Whether training may go on from before its death: at its restart variables are restored."""
    return record.task.role is Role.PS or run.is_chief(record)


def _is_over(run: Run, outage: Outage, record: TaskRecord) -> bool:
    attempt = record.attempt
    if record.state.final:
        return record.state is TaskState.SUCCEEDED and attempt.number > outage.attempt
    if math.isinf(outage.back_at):
        return False
    if record.state is TaskState.RUNNING:
        return True
    if record.task.role.trains and not attempt.finished and attempt.stepped_at < outage.back_at:
        return False
    if record.task.role is Role.PS and outage.waiting and not run.state.generation.initialised:
        return False
    return not outage.behind


def _is_held_up(outage: Outage, trainer: TaskRecord) -> bool:
    """Whether a trainer waits for what this task, or who waits for it, has to give."""
    waits = trainer.task.role.trains and trainer.alive and trainer.attempt.waits_for in _HELD_UP
    return waits and trainer.task != outage.task and not _has_gone_on(outage, trainer)


def _trains_again(run: Run, outage: Outage, trainer: TaskRecord) -> bool:
    """Whether a trainer that waited does so no more; one that has died meanwhile is counted by itself."""
    attempt = trainer.attempt
    if not trainer.alive or attempt.finished or trainer.state is TaskState.STOPPING or _has_gone_on(outage, trainer):
        return True
    own = run.state.outages.get(trainer.task)
    if own is not None and not own.paused:
        return True
    return attempt.stepped_at >= outage.back_at and not attempt.waits_for


def _has_gone_on(outage: Outage, trainer: TaskRecord) -> bool:
    """Whether it is in another training, and waits for that."""
    return trainer.attempt.training not in ("", outage.training)


def _tell(run: Run, outage: Outage, record: TaskRecord) -> None:
    if not outage.paused:
        if run.state.move is not None and run.state.move.alone:
            run.state.move.steps_rolled_back = max(run.state.move.steps_rolled_back, outage.steps_rolled_back)
        run.record(
            events.Recovered(
                task=record.task.name,
                attempt=record.attempt.number,
                detected_s=round(outage.detected_s, 3),
                recovered_s=round(run.now - outage.began_at, 3),
                steps_rolled_back=outage.steps_rolled_back,
            )
        )
    for item in run.state.drills:
        if item.drill.task == outage.task and item.fired:
            tell_drill_over(run, item, recovered=True, steps_rolled_back=outage.steps_rolled_back)


def tell_drill_over(run: Run, item: DrillRecord, *, recovered: bool, steps_rolled_back: int = 0) -> None:
    """Says once what a drill has caused."""
    if item.over:
        return
    item.over = True
    run.record(
        events.DrillOver(
            fault=str(item.drill),
            number=item.number,
            task=item.drill.task.name,
            detected_s=round(item.noticed_at - item.fired_at, 3) if math.isfinite(item.noticed_at) else None,
            recovered_s=round(run.now - item.fired_at, 3) if recovered else None,
            steps_rolled_back=steps_rolled_back,
        )
    )


def _begin(run: Run, record: TaskRecord, *, at: float) -> Outage:
    outage = Outage(
        task=record.task,
        attempt=record.attempt.number,
        began_at=at,
        training=run.state.training.name,
        step=run.state.global_step,
    )
    trainers = run.state.of_role(*TRAINERS) if _takes_back(run, record) else ()
    is_ps = record.task.role is Role.PS
    for other in trainers:
        if _is_held_up(outage, other) or (is_ps and other.state is TaskState.TRAINING):
            outage.waiting.add(other.task)
    outage.behind = set(outage.waiting)
    run.state.outages[record.task] = outage
    return outage


def restart_the_dead(run: Run) -> None:
    for record in run.overdue():
        if record.state is TaskState.BACKOFF and run.now >= record.restart_at:
            if record.planned.host in run.state.lost:  # in a run that ends: nobody moves
                record.restart_at = math.inf
                run.move(record, TaskState.FAILED, reason="its host is lost")
            else:
                run.start(record)
