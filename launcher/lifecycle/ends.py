"""How tasks end and what follows: restarts, failures, and being asked to stop."""

from __future__ import annotations

import math

from launcher import causes
from launcher.causes import Cause
from launcher.lifecycle.draft import Draft
from launcher.lifecycle.drilling import blame_drill
from launcher.lifecycle.outages import death_known, lost
from launcher.lifecycle.shape import has_lost_its_others, others_with, restart_together, trainers
from launcher.lifecycle.state import TaskRecord
from launcher.lifecycle.values import LockModelDir, Prepare, StopAsked, StopTask, TellTask
from launcher.record import events
from launcher.record.states import Outcome, Phase, TaskState
from launcher.spec.policy import UsedUp
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, Role, TaskId

MOST_ALIKE = 3
BY_HAND = "restarted by hand"


def exited(draft: Draft, record: TaskRecord, body: protocol.Exited) -> None:
    record = draft.update(record, running=False, waits_for="", missing="", training="", doing="", term_at=math.inf)
    death_known(draft, record)
    if record.task.role is Role.PS:
        draft.set(initialised=False)
    if draft.is_chief(record):
        draft.training(barrier_open=False)  # another attempt is told again
    if body.unkilled:
        words = f"{record.task} on {record.planned.host} was killed in vain: {body.unkilled}; it is counted as gone"
        draft.notice("warning", words, record.task)
    if record.restart_wanted and not body.unkilled and draft.state.phase in (Phase.STARTING, Phase.TRAINING):
        restarted(draft, record, body)
    elif draft.state.phase is Phase.MOVING and not ended_for_good(draft, record, body):
        reason = "its host is lost" if record.planned.host in draft.state.lost else "stopped, for a new generation"
        draft.move(record, TaskState.BACKOFF, reason=reason, exited=body, restart_at=math.inf)
    elif record.hurried and not body.raised:
        draft.move(record, TaskState.SUCCEEDED, exited=body)
    elif record.state is TaskState.STOPPING and not record.hurried:
        ended_well = body.exit_code == 0 and record.task.role is not Role.PS
        draft.move(record, TaskState.SUCCEEDED if ended_well else TaskState.STOPPED, exited=body)
    elif body.exit_code == 0 and not ended_early(draft, record):
        tell_of_loss(draft, record)
        draft.move(record, TaskState.SUCCEEDED, exited=body)
    else:
        died(draft, record, body)


def tell_of_loss(draft: Draft, record: TaskRecord) -> None:
    """A program may end in the middle of training and say that all is well."""
    began = record.uses == protocol.ESTIMATOR and record.trained and record.ready
    if began and not record.finished and not record.nothing_left and draft.is_chief(record):
        words = "ended with exit code 0 in the middle of training: what was trained since the last checkpoint is lost"
        draft.notice("warning", f"{record.task} {words}", record.task)


def restarted(draft: Draft, record: TaskRecord, body: protocol.Exited) -> None:
    """A task that was taken down to be started again is gone. One that had died before, by itself, is told of later
    only because its host is farther away."""
    if record.restart_wanted != BY_HAND and not body.stopped and body.exit_code != 0:
        draft.set(failures=(*draft.state.failures, causes.of_exit(record.planned.host, body, known(draft))))
    draft.move(record, TaskState.BACKOFF, reason=record.restart_wanted, exited=body, restart_at=draft.now)
    if record.restart_wanted == BY_HAND:
        lost(draft, record, detected_s=body.since_s)
        restart_together(draft, record)


def ended_for_good(draft: Draft, record: TaskRecord, body: protocol.Exited) -> bool:
    """Whether a task that ends while its generation does has nothing left to do."""
    if record.task.role is Role.PS:
        return all(trainer.state.final for trainer in draft.of_role(*TRAINERS))
    if body.exit_code != 0:
        return False
    trained = draft.state.move is not None and draft.state.move.trained
    return record.state is not TaskState.STOPPING or (trained and record.finished)


def ended_early(draft: Draft, record: TaskRecord) -> bool:
    """A parameter server that returns while somebody trains with it has failed, whatever its exit code."""
    return record.task.role is Role.PS and any(
        trainer.ready or trainer.waits_for for trainer in draft.of_role(*TRAINERS) if trainer.alive
    )


def died(draft: Draft, record: TaskRecord, body: protocol.Exited) -> None:
    early_deaths = 0 if record.ready else record.early_deaths + 1
    record = draft.update(record, early_deaths=early_deaths)
    cause = blame_drill(draft, record, causes.of_exit(record.planned.host, body, known(draft)))
    record = count_alike(draft, record, cause)
    refusal = no_restart(draft, record, body, cause)
    reason = cause.message
    if (
        refusal is not None
        and not cause.permanent
        and restarts_left(draft, record) <= 0
        and len(record.alike_at) < most_alike(record)
    ):
        cause = causes.used_up(cause, record.task.role, draft.state.plan.policy.restarts[record.task.role])
    draft.set(failures=(*draft.state.failures, cause))
    if refusal is None:
        delay_s = backoff_s(draft, record)
        left = restarts_left(draft, record) - 1
        draft.move(
            record,
            TaskState.BACKOFF,
            reason=f"{cause.message}; starting again ({left} restart{'s' * (left != 1)} left after this one)",
            exited=body,
            restart_at=draft.now + delay_s,
            restarts=record.restarts + 1,
            restarted_at=(*recent_restarts(draft, record), draft.now),
        )
        lost(draft, record, detected_s=body.since_s)
        restart_together(draft, record)
        return
    record = draft.move(record, TaskState.FAILED, reason=f"{reason}; {refusal}", exited=body)
    failed_for_good(draft, record, cause)


def known(draft: Draft) -> causes.Known:
    """What helps to explain a failure."""
    state = draft.state
    return causes.Known(model_dir=state.trains_in or state.plan.model_dir, metrics=state.metrics)


def backoff_s(draft: Draft, record: TaskRecord) -> float:
    """The first restart of a task that had been ready comes at once; after that the waits double, to a minute."""
    recent = len(recent_restarts(draft, record))
    if recent == 0 and record.ready:
        return 0.0
    return float(min(60.0, draft.state.plan.policy.backoff_s * 2.0 ** max(0, recent - 1)))


def recent_restarts(draft: Draft, record: TaskRecord) -> tuple[float, ...]:
    """Those that the policy counts: the ones of the last ``restart_window_s``."""
    window_s = draft.state.plan.policy.restart_window_s
    return tuple(at for at in record.restarted_at if window_s is None or draft.now - at < window_s)


def restarts_left(draft: Draft, record: TaskRecord) -> int:
    return draft.state.plan.policy.restarts[record.task.role] - len(recent_restarts(draft, record))


def no_restart(draft: Draft, record: TaskRecord, body: protocol.Exited, cause: Cause) -> str | None:
    """Why a dead task is not started again, None if it is."""
    if draft.state.phase is Phase.STOPPING or draft.state.stop_how:
        return "the run is being stopped"
    if draft.state.phase is Phase.DRAINING and record.task.role is not Role.EVALUATOR:
        return "training is over"
    if body.unkilled:
        return "not started again where it cannot be killed"
    if has_lost_its_others(draft, record):
        return "the chief has ended"
    if cause.permanent:
        return "not started again, since it would fail the same way"
    if body.signal is None and record.early_deaths >= 2:
        return "not started again, since it failed twice before it was ready"
    if len(record.alike_at) >= most_alike(record):
        how_often = "twice" if most_alike(record) == 2 else "three times"
        return f"not started again, since it failed {how_often} the same way"
    if restarts_left(draft, record) <= 0:
        used = draft.state.plan.policy.restarts[record.task.role]
        return causes.its_restarts(used) if used else f"policy.restarts.{record.task.role} is 0"
    return None


def most_alike(record: TaskRecord) -> int:
    """How often it may die of one exception at one line: a program that has never trained gets one more try."""
    return MOST_ALIKE if record.trained or not record.task.role.trains else MOST_ALIKE - 1


def count_alike(draft: Draft, record: TaskRecord, cause: Cause) -> TaskRecord:
    """Counts deaths in a row that came from the same exception at the same line, within ``restart_window_s``."""
    window_s = draft.state.plan.policy.restart_window_s
    before = record.alike_at if cause.likeness == record.likeness else ()
    recent = tuple(at for at in before if window_s is None or draft.now - at < window_s)
    return draft.update(record, likeness=cause.likeness, alike_at=(*recent, draft.now) if cause.likeness else ())


def failed_for_good(draft: Draft, record: TaskRecord, cause: Cause) -> None:
    """What one task's final failure means for the run."""
    if draft.state.phase in (Phase.STOPPING, Phase.ENDED):
        return
    used_up = draft.state.plan.policy.used_up[record.task.role]
    if others_with(draft.state, record) and not has_lost_its_others(draft, record):
        used_up = UsedUp.FAIL
    if used_up is UsedUp.FAIL:
        draft.fail(cause)
        return
    consequence = "the others go on without it"
    if used_up is UsedUp.FAIL_AT_END:
        draft.blame(cause)
        consequence += "; the run has failed, whatever they reach"
    severity = "error" if used_up is UsedUp.FAIL_AT_END else "warning"
    draft.notice(severity, f"{record.task} has failed for good; {consequence}", record.task)


def agent_renewed(draft: Draft, host: str) -> None:
    """The tasks of an agent die with it; its successor starts them again."""
    draft.notice("warning", f"the agent of {host} died and was started again")
    tasks_died(draft, host)
    if draft.state.phase is Phase.STARTING and not math.isinf(draft.state.began_at):
        prepare(draft)  # what it was asked for may not have arrived
    if draft.state.gate.open:  # the others may be as they were, and then nothing of the gate would ever be said to it
        draft.do(TellTask(task=None, message=draft.state.gate))


def prepare(draft: Draft) -> None:
    """Has everything done that comes before the first start of a generation."""
    state = draft.state
    draft.do(Prepare(plan=state.plan, generation=state.generation, lost=state.lost))
    if state.trains_in and state.trains_in != state.plan.model_dir:
        draft.do(LockModelDir(path=state.trains_in))


def tasks_died(draft: Draft, host: str) -> None:
    for record in list(draft.tasks.values()):
        if record.planned.host == host and record.alive:
            death = protocol.Exited(task=record.task.name, attempt=record.attempt, exit_code=None, signal=9, tail="")
            exited(draft, record, death)


def restart_asked(draft: Draft, task: TaskId) -> None:
    record = draft.tasks.get(task)
    if record is None or not record.alive or draft.state.phase is not Phase.TRAINING:
        draft.notice("warning", f"{task} does not run now, so it is not restarted", task)
        return
    draft.update(record, restart_wanted=BY_HAND)
    draft.do(StopTask(task=task, attempt=record.attempt, grace_s=draft.state.plan.policy.grace_s))


def stop_asked(draft: Draft, asked: StopAsked) -> None:
    draft.record(events.StopRequested(how=asked.how, by=asked.by))
    again = bool(draft.state.stop_how)
    is_its_end = draft.state.endless and asked.how == "stop" and draft.state.phase is not Phase.MOVING
    if not again and not is_its_end and draft.state.outcome is Outcome.SUCCEEDED:
        draft.set(outcome=Outcome.INTERRUPTED)
    if asked.how == "kill" or again:
        draft.set(stop_how=draft.state.stop_how or asked.how)
        for record in list(draft.tasks.values()):
            draft.stop(record, 0.0, "stopped at once")
        draft.go(Phase.STOPPING, "stopped at once")
        return
    draft.set(stop_how=asked.how)
    stop_trainers(draft, f"asked to end ({asked.how})")


def stop_trainers(draft: Draft, reason: str) -> None:
    """Trainers that can hear are told to stop at the next step, so that the chief's last save holds what the workers
    have done; SIGTERM follows after the grace time. The others get SIGTERM at once."""
    for record in trainers(draft):
        stop_trainer(draft, record, reason)
    if draft.state.phase is Phase.MOVING:
        draft.go(Phase.STOPPING, reason)


def stop_trainer(draft: Draft, record: TaskRecord, reason: str) -> None:
    grace_s = trainer_grace_s(draft)
    if record.ready and record.running and "save-on-term" in draft.state.plan.adjustments:
        if record.state is not TaskState.STOPPING:
            draft.move(record, TaskState.STOPPING, reason=reason, term_at=draft.now + grace_s)
        draft.do(TellTask(task=record.task, message=protocol.StopTraining(reason=reason)))
    else:
        draft.stop(record, grace_s, reason)


def trainer_grace_s(draft: Draft) -> float:
    """A trainer whose parameter server is dead can save nothing; it gets little time."""
    ps_dead = any(not record.alive for record in draft.of_role(Role.PS))
    return min(2.0, draft.state.plan.policy.grace_s) if ps_dead else draft.state.plan.policy.grace_s
