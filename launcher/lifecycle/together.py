"""Tasks that start again, and end, together: the members of a collective, a coordinator and its servers."""

from __future__ import annotations

from launcher.lifecycle.run import Run
from launcher.lifecycle.state import TaskRecord
from launcher.lifecycle.state.roster import Is
from launcher.lifecycle.state.shape import is_collective, needs_others, others_with
from launcher.lifecycle.values import StopTask, TellTask
from launcher.record.states import TaskState
from launcher.spec.policy import Success
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, Role


def trainers(run: Run) -> list[TaskRecord]:
    """Those whose end is the end of training."""
    return run.each(Is.ITSELF) or list(run.state.of_role(*TRAINERS))


def is_training_over(run: Run) -> bool:
    """Whether all of them have ended."""
    if run.any(Is.ITSELF):
        return not run.any(Is.TRAINS)
    return not run.any(Is.OPEN, *TRAINERS)


def servers(run: Run) -> list[TaskRecord]:
    """Those who never end by themselves: workers first, then parameter servers."""
    return [*run.each(Is.SERVES), *run.state.of_role(Role.PS)]


def restart_together(run: Run, record: TaskRecord) -> None:
    """Takes down those who cannot go on without a task that died; what they hold cannot be saved any more."""
    reason = f"to be started again with {record.task}"
    for other in others_with(run.state, record):
        if other.state is TaskState.SUCCEEDED:
            other.restart_at = run.now
            run.move(other, TaskState.BACKOFF, reason=reason)
        elif other.alive and not other.attempt.restart_wanted:
            other.attempt.restart_wanted = reason
            run.do(StopTask(task=other.task, attempt=other.attempt.number, grace_s=0.0))


def has_lost_its_others(run: Run, record: TaskRecord) -> bool:
    """Whether nobody is left who would be needed to go on: the chief has ended, and it alone decides."""
    ended = run.state.chief.state is TaskState.SUCCEEDED and run.state.plan.policy.success is Success.CHIEF
    return ended and needs_others(run.state, record)


def on_reached(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Reached)
    record.attempt.reached = report.steps


def agree_on_the_end(run: Run) -> None:
    """When each member of a collective has said how many steps it has begun, all end after the most of these."""
    if not is_collective(run.state) or run.any(Is.HAS_NOT_REACHED) or not run.any(Is.HAS_REACHED):
        return
    told = run.each(Is.HAS_REACHED)
    last = max(record.attempt.reached or 0 for record in told)
    for record in told:
        record.attempt.reached = None
        run.do(TellTask(task=record.task, message=protocol.StopTraining(reason="all together", after=last)))


def loses_a_share(run: Run, record: TaskRecord) -> bool:
    """Whether a part of the input would be missing without a worker, since the program divides it by a fixed number."""
    if record.task.role is not Role.WORKER or not run.state.divides:
        return False
    words = f"{run.state.divides}: without {record.task} a share of the input would be missing, so that nobody goes on"
    run.notice("error", words, record.task)
    return True
