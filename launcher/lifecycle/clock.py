"""When the run as a whole is due for something. Monotonic seconds."""

from __future__ import annotations

import math

from launcher.lifecycle.hangs import STACKS_PATIENCE_S
from launcher.lifecycle.roaming import costs
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import DrillRecord, TaskRecord
from launcher.lifecycle.state.deadlines import SILENT_S, least_deadline, run_deadline
from launcher.lifecycle.state.roster import Is
from launcher.lifecycle.state.shape import is_to_train
from launcher.record.states import Phase, TaskState
from launcher.spec.drills import AtStep, Exit


def next_wakeup(run: Run) -> float:
    """When ``Ticked`` is due at the latest (infinity: never)."""
    state = run.state
    if state.unanswered:  # whatever else is due waits for that
        return min(state.unanswered.values()) + STACKS_PATIENCE_S
    due = [state.drain_until, run.next_due(), costs.next_due(run)]
    if state.phase is Phase.TRAINING:
        due += (state.hold_until, least_deadline(state))
    due.extend(min(drill_due_at(run, item), item.continue_at) for item in state.drills)
    if state.phase in (Phase.STARTING, Phase.TRAINING, Phase.MOVING):
        due.append(run_deadline(state))
    if state.phase is Phase.MOVING and state.move is not None:
        due.append(math.inf if run.any(Is.ALIVE) else state.move.dead_at)
    if state.phase in (Phase.STARTING, Phase.TRAINING):
        due.append(hang_deadline(run))
    return min(due)


def hang_deadline(run: Run) -> float:
    """When it has lasted too long that somebody ought to train and nobody does."""
    hang_s = run.state.plan.policy.hang_timeout_s
    waits_for_stragglers = math.isfinite(run.state.training.barrier_at)
    if hang_s is None or waits_for_stragglers or not run.any(Is.OUGHT_TO_TRAIN):
        return math.inf
    return run.state.progress_at + hang_s


def drill_due_at(run: Run, item: DrillRecord) -> float:
    """When a drill is to be carried out; infinity while its task cannot be reached, or when it has been."""
    record = run.state.tasks.get(item.drill.task)
    if item.fired or record is None or not _can_be_drilled(run, record, item):
        return math.inf
    when = item.drill.when
    if isinstance(when, AtStep):
        return -math.inf if run.state.global_step >= when.step else math.inf
    if math.isinf(item.ready_at) and not is_to_train(record):
        return record.attempt.started_at + max(when.seconds, SILENT_S)
    return item.ready_at + when.seconds


def _can_be_drilled(run: Run, record: TaskRecord, item: DrillRecord) -> bool:
    attempt = record.attempt
    if run.state.phase not in (Phase.TRAINING, Phase.DRAINING) or run.state.stop_how:
        return False
    if not attempt.running or not record.alive or record.state is TaskState.STOPPING or attempt.restart_wanted:
        return False
    dying = any(
        other.fired and other.drill.task == record.task and other.attempt == attempt.number and not other.is_pause
        for other in run.state.drills
    )
    return not dying and (attempt.speaks or not isinstance(item.drill, Exit))
