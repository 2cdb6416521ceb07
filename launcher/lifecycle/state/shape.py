"""What the program of a run is, as far as its tasks have shown it, and what follows from that. Pure.

Between-graph programs (Estimators, monitored sessions) train in each trainer for itself: a task that dies is started
again alone. In a *collective* each step is done by all trainers together, and a lost member can join only a new one. A
*coordinator* survives its workers, which only serve, but no parameter server; and they outlive no coordinator.
"""

from __future__ import annotations

from launcher.lifecycle.state.run_state import RunState
from launcher.lifecycle.state.task import TaskRecord
from launcher.record.states import TaskState
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
    attempt = record.attempt
    knows_itself = attempt.uses in TRAINING_USES or attempt.ready or bool(attempt.waits_for)
    return knows_itself or (attempt.speaks and not attempt.uses)


def tells_its_work(state: RunState, record: TaskRecord) -> bool:
    """Whether a task is known to say when it does what it is there for: all run one program."""
    reports_steps = record.past.trained or state.foremost is not None
    return is_to_train(record) or reports_steps or not TRAINING_USES.isdisjoint(state.uses)


def awaits_servers(state: RunState, record: TaskRecord) -> bool:
    """Whether a trainer is known to need the parameter servers. Where tasks cannot say so, all do."""
    can_say = "heartbeat" in state.plan.adjustments
    return record.task.role.trains and (not can_say or is_to_train(record) or record.state is TaskState.WAITING)


def only_serves(state: RunState, record: TaskRecord) -> bool:
    """Whether a trainer by its role does nothing but what others tell it."""
    return record.attempt.doing == protocol.SERVING or (is_coordinated(state) and record is not state.chief)


def is_unproven(state: RunState, record: TaskRecord) -> bool:
    """Whether a parameter server bars the gate. One that has ended of its own accord, before anybody needed it, bars
    nobody."""
    is_proven = record.attempt.ready and record.attempt.running
    return record.task.role is Role.PS and not is_proven and record.state is not TaskState.SUCCEEDED


def needs_others(state: RunState, record: TaskRecord) -> bool:
    """Whether others must be started again when this task is."""
    if is_collective(state):
        return record.task.role.trains
    return is_coordinated(state) and (record.task.role is Role.PS or record is state.chief)


def others_with(state: RunState, record: TaskRecord) -> list[TaskRecord]:
    """Those others."""
    if not needs_others(state, record):
        return []
    roles = TRAINERS if is_collective(state) else (*TRAINERS, Role.PS)
    return [other for other in state.of_role(*roles) if other is not record]


def is_told(record: TaskRecord) -> bool:
    """Whether a trainer has been told to stop, and can say how far it is."""
    is_stopping = record.state is TaskState.STOPPING
    return record.task.role.trains and is_stopping and record.attempt.running and record.attempt.ready


def is_left_behind(state: RunState, record: TaskRecord) -> bool:
    """Whether a task does not yet do again what it did before a move."""
    attempt = record.attempt
    if "heartbeat" not in state.plan.adjustments:
        return not attempt.running
    if record.state.final or attempt.finished:
        return False
    if record.task.role.trains:
        return not (attempt.running and (attempt.stepped_at > 0 or record.state is TaskState.STOPPING))
    return not (attempt.running and attempt.ready)
