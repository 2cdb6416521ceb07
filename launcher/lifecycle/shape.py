"""What the program of a run is, as far as its tasks have shown it, and what follows from that.

Between-graph programs (Estimators, monitored sessions) train in each trainer for itself: a task that dies is started
again alone. In a *collective* each step is done by all trainers together, and a lost member can join only a new one. A
*coordinator* survives its workers, which only serve, but no parameter server; and they outlive no coordinator.
"""

from __future__ import annotations

from launcher.lifecycle.draft import Draft
from launcher.lifecycle.state import RunState, TaskRecord
from launcher.lifecycle.values import StopTask, TellTask
from launcher.record.states import TaskState
from launcher.spec.policy import Success
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, Role

TRAINING_USES = frozenset({protocol.ESTIMATOR, protocol.SESSION, protocol.COORDINATOR, protocol.COLLECTIVE})


def is_collective(state: RunState) -> bool:
    return protocol.COLLECTIVE in state.uses


def is_coordinated(state: RunState) -> bool:
    return protocol.COORDINATOR in state.uses


def is_to_train(record: TaskRecord) -> bool:
    """Whether this attempt is about to train, as far as is known: it listens to the launcher, and has not said that it
    uses something else."""
    knows_itself = record.uses in TRAINING_USES or record.ready or bool(record.waits_for)
    return knows_itself or (record.speaks and not record.uses)


def only_serves(state: RunState, record: TaskRecord) -> bool:
    """Whether a trainer by its role does nothing but what others tell it."""
    return record.doing == protocol.SERVING or (is_coordinated(state) and record.task != state.chief)


def trainers(draft: Draft) -> list[TaskRecord]:
    """Those whose end is the end of training."""
    all_of_them = draft.of_role(*TRAINERS)
    return [record for record in all_of_them if not only_serves(draft.state, record)] or all_of_them


def servers(draft: Draft) -> list[TaskRecord]:
    """Those who never end by themselves: workers first, then parameter servers."""
    serving = [record for record in draft.of_role(*TRAINERS) if only_serves(draft.state, record)]
    return [*serving, *draft.of_role(Role.PS)]


# --- members that start again together ----------------------------------------------------------------------------


def others_with(state: RunState, record: TaskRecord) -> list[TaskRecord]:
    """Who must be started again when this task is."""
    if record.task.role is Role.EVALUATOR:
        return []
    if is_collective(state) and record.task.role.trains:
        return [other for other in state.of_role(*TRAINERS) if other.task != record.task]
    if is_coordinated(state) and (record.task.role is Role.PS or record.task == state.chief):
        return [other for other in state.of_role(*TRAINERS, Role.PS) if other.task != record.task]
    return []


def restart_together(draft: Draft, record: TaskRecord) -> None:
    """Takes down those who cannot go on without a task that died; what they hold cannot be saved any more."""
    reason = f"to be started again with {record.task}"
    for other in others_with(draft.current, record):
        if other.state is TaskState.SUCCEEDED:
            draft.move(other, TaskState.BACKOFF, reason=reason, restart_at=draft.now)
        elif other.alive and not other.restart_wanted:
            draft.update(other, restart_wanted=reason)
            draft.do(StopTask(task=other.task, attempt=other.attempt, grace_s=0.0))


def waits_for_others(state: RunState, record: TaskRecord) -> bool:
    """Whether some of those who start again together still run."""
    return any(other.restart_wanted and other.alive for other in others_with(state, record))


def has_lost_its_others(draft: Draft, record: TaskRecord) -> bool:
    """Whether nobody is left who would be needed to go on: the chief has ended, and it alone decides."""
    ended = draft.chief.state is TaskState.SUCCEEDED and draft.state.plan.policy.success is Success.CHIEF
    return ended and bool(others_with(draft.state, record))


# --- where a collective ends --------------------------------------------------------------------------------------


def on_reached(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Reached)
    draft.update(record, reached=report.steps)


def agree_on_the_end(draft: Draft) -> None:
    """When each member of a collective has said how many steps it has begun, all end after the most of these."""
    if not is_collective(draft.state):
        return
    told = [
        record
        for record in draft.of_role(*TRAINERS)
        if record.state is TaskState.STOPPING and record.running and record.ready
    ]
    if not any(record.reached is not None for record in told) or any(record.reached is None for record in told):
        return
    last = max(record.reached or 0 for record in told)
    for record in told:
        draft.update(record, reached=None)
        draft.do(TellTask(task=record.task, message=protocol.StopTraining(reason="all together", after=last)))
