"""When something is due, or has lasted too long: what the state says about time. Monotonic seconds."""

from __future__ import annotations

import math

from launcher.lifecycle.shape import is_collective, is_coordinated, is_to_train, only_serves, waits_for_others
from launcher.lifecycle.state import DrillRecord, RunState, TaskRecord
from launcher.record.states import Phase, TaskState
from launcher.spec.drills import AtStep, Exit
from launcher.spec.policy import Success
from launcher.wire.roles import TRAINERS, Role

STACKS_PATIENCE_S = 4.0
SILENT_S = 2.0  # a task that has not said by then what it is will count as one that never does


def next_wakeup(state: RunState) -> float:
    """When ``Ticked`` is due at the latest (monotonic seconds; infinity: never)."""
    if unanswered := [at for task, at in state.asked_at.items() if task not in state.stacks]:
        return min(unanswered) + STACKS_PATIENCE_S  # whatever else is due waits for that
    due = [state.drain_until, *(record.term_at for record in state.tasks.values())]
    due.extend(record.restart_at for record in state.tasks.values() if not waits_for_others(state, record))
    due.extend(straggler_deadline(state, record) for record in state.workers)
    due.extend(leaving_deadline(state, record) for record in state.tasks.values())
    due.extend(min(drill_due_at(state, item), item.continue_at) for item in state.drills)
    if state.phase in (Phase.STARTING, Phase.TRAINING, Phase.MOVING):
        due.append(run_deadline(state))
    if state.phase is Phase.MOVING and state.move is not None:
        due.append(math.inf if any(record.alive for record in state.tasks.values()) else state.move.dead_at)
    if state.phase in (Phase.STARTING, Phase.TRAINING):
        due.extend(start_deadline(state, record) for record in state.tasks.values())
        due.extend(evaluation_deadline(state, record) for record in state.of_role(*TRAINERS))
        due.append(hang_deadline(state))
    return min(due)


def run_deadline(state: RunState) -> float:
    timeout_s = state.plan.policy.timeout_s
    return math.inf if timeout_s is None or state.stop_how else state.began_at + timeout_s


def start_deadline(state: RunState, record: TaskRecord) -> float:
    """When a started task must be ready: a trainer once it is known to train, and a parameter server as soon as any
    trainer is. Trainers have the time since the gate opened."""
    if not record.running or record.ready or record.state is not TaskState.STARTING or math.isfinite(record.leaving_at):
        return math.inf
    if record.task.role is Role.PS and _is_awaited(state):
        return record.started_at + state.plan.policy.start_timeout_s
    if record.task.role.trains and is_to_train(record) and state.gate.open:
        return max(record.started_at, state.gate_at) + state.plan.policy.start_timeout_s
    return math.inf


def _is_awaited(state: RunState) -> bool:
    """Whether anybody is known to need the parameter servers. Where tasks cannot say so, all do."""
    can_say = "heartbeat" in state.plan.adjustments
    return not can_say or any(is_to_train(item) or item.state is TaskState.WAITING for item in state.of_role(*TRAINERS))


def leaving_deadline(state: RunState, record: TaskRecord) -> float:
    """When a task whose program has ended must have gone."""
    if not record.alive or record.hurried or record.state is TaskState.STOPPING:
        return math.inf
    return record.leaving_at + state.plan.policy.grace_s


def evaluation_deadline(state: RunState, record: TaskRecord) -> float:
    """When an evaluation that a trainer makes after training must be done; that of the evaluator is bounded by the
    drain."""
    if not record.alive or record.doing != "evaluate" or not record.finished:
        return math.inf
    return record.doing_at + state.plan.policy.evaluator_drain_s


def may_train(state: RunState, record: TaskRecord) -> bool:
    """Whether a worker may still apply gradients in the chief's training."""
    if is_collective(state) or is_coordinated(state):
        return False  # such a chief ends with the others, or they do nothing without it
    if record.state.final or (state.phase is Phase.MOVING and not record.running):
        return False
    if is_elsewhere(state, record):
        return is_between(state, record) and record.left_out != state.training.name
    if record.finished:
        return False
    if record.state is TaskState.STOPPING:
        return record.running and record.ready
    return record.ready if last_step_reached(state) else True  # one that comes after the last step will not


def is_elsewhere(state: RunState, record: TaskRecord) -> bool:
    """Whether a worker was last in another training than the chief."""
    return record.training not in ("", state.training.name)


def is_between(state: RunState, record: TaskRecord) -> bool:
    """Whether a worker that is elsewhere has done with that, and may come to the chief's training for all we know."""
    is_done = record.finished or record.training in state.over
    return is_done and record.running and not record.doing and record.state is not TaskState.STOPPING


def last_step_reached(state: RunState) -> bool:
    max_steps = state.training.max_steps
    return max_steps is not None and state.global_step >= max_steps


def straggler_deadline(state: RunState, record: TaskRecord) -> float:
    """Until when the chief waits for a worker before its last save: after the last step a worker has the grace time to
    notice; before it, it must go on training."""
    barrier_at = state.training.barrier_at
    waited_for = not state.training.barrier_open and may_train(state, record)
    if math.isinf(barrier_at) or not waited_for or record.state is TaskState.STOPPING:
        return math.inf
    if last_step_reached(state) or is_elsewhere(state, record):
        return barrier_at + state.plan.policy.grace_s
    hang_s = state.plan.policy.hang_timeout_s
    if hang_s is None or record.state is TaskState.BACKOFF:
        return math.inf
    return max(record.stepped_at, record.started_at, barrier_at) + hang_s


def hang_deadline(state: RunState) -> float:
    """When it has lasted too long that somebody ought to train and nobody does."""
    hang_s = state.plan.policy.hang_timeout_s
    waits_for_stragglers = math.isfinite(state.training.barrier_at)
    if (
        hang_s is None
        or waits_for_stragglers
        or not any(_ought_to_train(state, item) for item in state.of_role(*TRAINERS))
    ):
        return math.inf
    return state.progress_at + hang_s


def _ought_to_train(state: RunState, record: TaskRecord) -> bool:
    """A trainer that trains or could; one that waits for its session though it may have one; a chief that may save for
    the last time; and, where each counts, one that is still on its way when the chief has ended."""
    if only_serves(state, record):
        return False
    if record.state in (TaskState.TRAINING, TaskState.READY):
        return record.trained or not (is_collective(state) or is_coordinated(state))  # not all of theirs are seen
    if record.state is TaskState.FINISHED:
        saves = state.training.barrier_open and not state.training.saved_last and not record.doing
        on_its_way = not record.finished  # to its next training
        return on_its_way or (saves and state.training.name not in state.over)
    if record.state is not TaskState.STARTING or not record.running:
        return False
    waits = record.waits_for == "session" and state.gate.open
    chief_ended = state.tasks[state.chief].state is TaskState.SUCCEEDED
    return waits or (chief_ended and state.plan.policy.success is Success.ALL_WORKERS)


def drill_due_at(state: RunState, item: DrillRecord) -> float:
    """When a drill is to be carried out; infinity while its task cannot be reached, or when it has been."""
    record = state.tasks.get(item.drill.task)
    if item.fired or record is None or not _can_be_drilled(state, record, item):
        return math.inf
    when = item.drill.when
    if isinstance(when, AtStep):
        return -math.inf if state.global_step >= when.step else math.inf
    if math.isinf(item.ready_at) and not is_to_train(record):
        return record.started_at + max(when.seconds, SILENT_S)
    return item.ready_at + when.seconds


def _can_be_drilled(state: RunState, record: TaskRecord, item: DrillRecord) -> bool:
    if state.phase not in (Phase.TRAINING, Phase.DRAINING) or state.stop_how:
        return False
    if not record.running or not record.alive or record.state is TaskState.STOPPING or record.restart_wanted:
        return False
    dying = any(
        other.fired and other.drill.task == record.task and other.attempt == record.attempt and not other.is_pause
        for other in state.drills
    )
    return not dying and (record.speaks or not isinstance(item.drill, Exit))
