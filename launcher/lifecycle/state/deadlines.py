"""What a task has time for, and until when. Monotonic seconds; infinity: for ever. Pure."""

from __future__ import annotations

import math

from launcher.lifecycle.state.run_state import RunState
from launcher.lifecycle.state.shape import (
    is_collective,
    is_coordinated,
    is_to_train,
    needs_others,
    only_serves,
    tells_its_work,
)
from launcher.lifecycle.state.task import TaskRecord
from launcher.lifecycle.state.transitions import NOT_READY
from launcher.record.states import Phase, TaskState
from launcher.spec.policy import Success
from launcher.wire.protocol import Wait
from launcher.wire.roles import Role

SILENT_S = 2.0  # a task that has not said by then what it is will count as one that never does
LATE_S = 10.0  # a parameter server that does not listen by then is named to those who wonder
_BEFORE_THE_END = (Phase.STARTING, Phase.TRAINING)


def due_at(state: RunState, record: TaskRecord, *, starting_over: bool, awaited: bool) -> float:
    """When a rule must look at this task at the latest. ``starting_over``: some are on their way down, to be started
    again with others; ``awaited``: somebody needs the parameter servers."""
    return min(
        record.attempt.term_at,
        restart_deadline(state, record, starting_over=starting_over),
        leaving_deadline(state, record),
        unheard_deadline(state, record),
        late_deadline(state, record),
        start_deadline(state, record, awaited=awaited),
        evaluation_deadline(state, record),
        straggler_deadline(state, record),
    )


def run_deadline(state: RunState) -> float:
    timeout_s = state.plan.policy.timeout_s
    return math.inf if timeout_s is None or state.stop_how else state.began_at + timeout_s


def least_deadline(state: RunState) -> float:
    """When there have been too few workers for too long."""
    return state.short_since + state.plan.policy.lease_s


def restart_deadline(state: RunState, record: TaskRecord, *, starting_over: bool) -> float:
    """When a task is started again; it waits for those that start again with it."""
    return math.inf if starting_over and needs_others(state, record) else record.restart_at


def start_deadline(state: RunState, record: TaskRecord, *, awaited: bool) -> float:
    """When a started task must be ready: a trainer once it is known to train, and a parameter server as soon as any
    trainer is. Trainers have the time since the gate opened."""
    attempt = record.attempt
    if state.phase not in _BEFORE_THE_END or record.state not in NOT_READY:
        return math.inf
    if not attempt.running or attempt.ready or math.isfinite(attempt.leaving_at):
        return math.inf
    if record.task.role is Role.PS and awaited:
        return attempt.started_at + state.plan.policy.start_timeout_s
    if record.task.role.trains and is_to_train(record) and state.generation.gate.open:
        return max(attempt.started_at, state.generation.gate_at) + state.plan.policy.start_timeout_s
    return math.inf


def unheard_deadline(state: RunState, record: TaskRecord) -> float:
    """When a process that has said nothing of what it does counts as running, since it may never say more."""
    attempt = record.attempt
    if state.phase not in _BEFORE_THE_END or record.state is not TaskState.STARTING or not attempt.running:
        return math.inf
    if state.stop_how or tells_its_work(state, record):
        return math.inf
    can_say = "heartbeat" in state.plan.adjustments or record.task.role is Role.PS
    return attempt.started_at + (SILENT_S if can_say else 0.0)


def late_deadline(state: RunState, record: TaskRecord) -> float:
    """When it is to be said of a parameter server that others wait for it."""
    attempt = record.attempt
    if state.phase is not Phase.TRAINING or record.task.role is not Role.PS or record.state not in NOT_READY:
        return math.inf
    return attempt.started_at + LATE_S if attempt.running and not attempt.told_late else math.inf


def leaving_deadline(state: RunState, record: TaskRecord) -> float:
    """When a task whose program has ended must have gone."""
    if not record.alive or record.attempt.hurried or record.state is TaskState.STOPPING:
        return math.inf
    return record.attempt.leaving_at + state.plan.policy.grace_s


def evaluation_deadline(state: RunState, record: TaskRecord) -> float:
    """When an evaluation that a trainer makes after training must be done; that of the evaluator is bounded by the
    drain."""
    attempt = record.attempt
    if state.phase not in _BEFORE_THE_END or not record.task.role.trains or not record.alive:
        return math.inf
    if attempt.doing != "evaluate" or not attempt.finished:
        return math.inf
    return attempt.doing_at + state.plan.policy.evaluator_drain_s


def straggler_deadline(state: RunState, record: TaskRecord) -> float:
    """Until when the chief waits for a worker before its last save: after the last step a worker has the grace time to
    notice; before it, it must go on training."""
    barrier_at, attempt = state.training.barrier_at, record.attempt
    if math.isinf(barrier_at) or state.training.barrier_open or record.state is TaskState.STOPPING:
        return math.inf
    if not record.task.role.trains or record is state.chief or not may_train(state, record):
        return math.inf
    if last_step_reached(state) or is_elsewhere(state, record):
        return barrier_at + state.plan.policy.grace_s
    hang_s = state.plan.policy.hang_timeout_s
    if hang_s is None or record.state is TaskState.BACKOFF:
        return math.inf
    return max(attempt.stepped_at, attempt.started_at, barrier_at) + hang_s


def may_train(state: RunState, record: TaskRecord) -> bool:
    """Whether a worker may still apply gradients in the chief's training."""
    attempt = record.attempt
    if is_collective(state) or is_coordinated(state):
        return False  # such a chief ends with the others, or they do nothing without it
    if record.state.final or (state.phase is Phase.MOVING and not attempt.running):
        return False
    if is_elsewhere(state, record):
        return _is_between(state, record) and attempt.left_out != state.training.name
    if attempt.finished:
        return False
    if record.state is TaskState.STOPPING:
        return attempt.running and attempt.ready
    return attempt.ready if last_step_reached(state) else True  # one that comes after the last step will not


def is_elsewhere(state: RunState, record: TaskRecord) -> bool:
    """Whether a worker was last in another training than the chief."""
    return record.attempt.training not in ("", state.training.name)


def _is_between(state: RunState, record: TaskRecord) -> bool:
    """Whether a worker that is elsewhere has done with that, and may come to the chief's training for all we know."""
    attempt = record.attempt
    is_done = attempt.finished or attempt.training in state.over
    return is_done and attempt.running and not attempt.doing and record.state is not TaskState.STOPPING


def last_step_reached(state: RunState) -> bool:
    max_steps = state.training.max_steps
    return max_steps is not None and state.global_step >= max_steps


def ought_to_train(state: RunState, record: TaskRecord) -> bool:
    """A trainer that trains or could; one that waits for its session though it may have one; a chief that may save for
    the last time; and, where each counts, one that is still on its way when the chief has ended."""
    attempt = record.attempt
    if not record.task.role.trains or only_serves(state, record):
        return False
    if record.state in (TaskState.TRAINING, TaskState.READY):
        return record.past.trained or not (is_collective(state) or is_coordinated(state))  # not all of theirs are seen
    if record.state is TaskState.FINISHED:
        saves = state.training.barrier_open and not state.training.saved_last and not attempt.doing
        on_its_way = not attempt.finished  # to its next training
        return on_its_way or (saves and state.training.name not in state.over)
    if record.state not in NOT_READY or not attempt.running:
        return False
    waits = attempt.waits_for is Wait.SESSION and state.generation.gate.open
    chief_ended = state.chief.state is TaskState.SUCCEEDED
    return waits or (chief_ended and state.plan.policy.success is Success.ALL_WORKERS)
