"""How tasks end and what follows: restarts, failures, and being asked to stop."""

from __future__ import annotations

import math
from dataclasses import replace

from launcher import causes
from launcher.causes import Cause
from launcher.lifecycle.drilling import blame_drill
from launcher.lifecycle.outages import death_known, lost
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import TaskRecord
from launcher.lifecycle.state.roster import Is
from launcher.lifecycle.state.shape import others_with
from launcher.lifecycle.together import has_lost_its_others, loses_a_share, restart_together, servers, trainers
from launcher.lifecycle.values import LockModelDir, Prepare, StopAsked, StopTask, TellTask
from launcher.record import events
from launcher.record.states import Outcome, Phase, StopHow, TaskState
from launcher.spec.policy import UsedUp
from launcher.wire import adjustments, protocol
from launcher.wire.roles import TRAINERS, Role, TaskId

MOST_ALIKE = 3
BY_HAND = "restarted by hand"


def exited(run: Run, record: TaskRecord, body: protocol.Exited) -> None:
    record.attempt.gone()
    death_known(run, record)
    if record.task.role is Role.PS:
        run.state.generation.initialised = False
    if run.is_chief(record):
        run.state.training.barrier_open = False  # another attempt is told again
    if body.unkilled:
        words = f"{record.task} on {record.planned.host} was killed in vain: {body.unkilled}; it is counted as gone"
        run.notice("warning", words, record.task)
    elif body.resisted_s and record not in servers(run):  # those have nothing to save, and TensorFlow's hear nothing
        words = f"{record.task} did not end within {body.resisted_s:g} s of SIGTERM: it was killed"
        run.notice("warning", words, record.task)
    if record.leaves:
        run.move(record, TaskState.LEFT, exited=body)
    elif record.attempt.restart_wanted and not body.unkilled and run.state.phase in (Phase.STARTING, Phase.TRAINING):
        restarted(run, record, body)
    elif run.state.phase is Phase.MOVING and not ended_for_good(run, record, body):
        reason = "its host is lost" if record.planned.host in run.state.lost else "stopped, for a new generation"
        record.restart_at = math.inf
        run.move(record, TaskState.BACKOFF, reason=reason, exited=body)
    elif record.attempt.hurried and not body.raised:
        run.move(record, TaskState.SUCCEEDED, exited=body)
    elif record.state is TaskState.STOPPING and not record.attempt.hurried:
        ended_well = body.exit_code == 0 and record.task.role is not Role.PS
        run.move(record, TaskState.SUCCEEDED if ended_well else TaskState.STOPPED, exited=body)
    elif body.exit_code == 0 and not ended_early(run, record):
        tell_of_loss(run, record)
        run.move(record, TaskState.SUCCEEDED, exited=body)
    else:
        died(run, record, body)


def tell_of_loss(run: Run, record: TaskRecord) -> None:
    """A program may end in the middle of training and say that all is well."""
    began = record.attempt.uses == protocol.ESTIMATOR and record.past.trained and record.attempt.ready
    if began and not record.attempt.finished and not record.attempt.nothing_left and run.is_chief(record):
        words = "ended with exit code 0 in the middle of training: what was trained since the last checkpoint is lost"
        run.notice("warning", f"{record.task} {words}", record.task)


def restarted(run: Run, record: TaskRecord, body: protocol.Exited) -> None:
    """A task that was taken down to be started again is gone. One that had died before, by itself, is told of later
    only because its host is farther away."""
    if record.attempt.restart_wanted != BY_HAND and not body.stopped and body.exit_code != 0:
        run.state.failures.append(causes.of_exit(record.planned.host, body, known(run)))
    record.restart_at = run.now
    run.move(record, TaskState.BACKOFF, reason=record.attempt.restart_wanted, exited=body)
    if record.attempt.restart_wanted == BY_HAND:
        lost(run, record, detected_s=body.since_s)
        restart_together(run, record)


def ended_for_good(run: Run, record: TaskRecord, body: protocol.Exited) -> bool:
    """Whether a task that ends while its generation does has nothing left to do."""
    if record.task.role is Role.PS:
        return all(trainer.state.final for trainer in run.state.of_role(*TRAINERS))
    if body.exit_code != 0:
        return False
    trained = run.state.move is not None and run.state.move.trained
    return record.state is not TaskState.STOPPING or (trained and record.attempt.finished)


def ended_early(run: Run, record: TaskRecord) -> bool:
    """A parameter server that returns while somebody trains with it has failed, whatever its exit code."""
    return record.task.role is Role.PS and any(
        trainer.attempt.ready or trainer.attempt.waits_for for trainer in run.state.of_role(*TRAINERS) if trainer.alive
    )


def died(run: Run, record: TaskRecord, body: protocol.Exited) -> None:
    record.early_deaths = 0 if record.attempt.ready else record.early_deaths + 1
    cause = blame_drill(run, record, causes.of_exit(record.planned.host, body, known(run)))
    count_alike(run, record, cause)
    refusal = no_restart(run, record, body, cause)
    reason = cause.message
    if (
        refusal is not None
        and not cause.permanent
        and restarts_left(run, record) <= 0
        and len(record.past.alike_at) < most_alike(record)
    ):
        cause = causes.used_up(cause, record.task.role, run.state.plan.policy.restarts[record.task.role])
    run.state.failures.append(cause)
    if refusal is None:
        delay_s = backoff_s(run, record)
        left = restarts_left(run, record) - 1
        record.restart_at = run.now + delay_s
        record.past = replace(record.past, restarted_at=(*recent_restarts(run, record), run.now))
        reason = f"{reason}; starting again ({left} restart{'s' * (left != 1)} left after this one)"
        run.move(record, TaskState.BACKOFF, reason=reason, exited=body)
        lost(run, record, detected_s=body.since_s)
        restart_together(run, record)
        return
    run.move(record, TaskState.FAILED, reason=f"{reason}; {refusal}", exited=body)
    failed_for_good(run, record, cause)


def known(run: Run) -> causes.Known:
    """What helps to explain a failure."""
    state = run.state
    return causes.Known(model_dir=state.trains_in or state.plan.model_dir, metrics=state.metrics)


def backoff_s(run: Run, record: TaskRecord) -> float:
    """The first restart of a task that had been ready comes at once; after that the waits double, to a minute."""
    recent = len(recent_restarts(run, record))
    if recent == 0 and record.attempt.ready:
        return 0.0
    return float(min(60.0, run.state.plan.policy.backoff_s * 2.0 ** max(0, recent - 1)))


def recent_restarts(run: Run, record: TaskRecord) -> tuple[float, ...]:
    """Those that the policy counts: the ones of the last ``restart_window_s``."""
    window_s = run.state.plan.policy.restart_window_s
    return tuple(at for at in record.past.restarted_at if window_s is None or run.now - at < window_s)


def restarts_left(run: Run, record: TaskRecord) -> int:
    return run.state.plan.policy.restarts[record.task.role] - len(recent_restarts(run, record))


def no_restart(run: Run, record: TaskRecord, body: protocol.Exited, cause: Cause) -> str | None:
    """Why a dead task is not started again, None if it is."""
    if run.state.phase is Phase.STOPPING or run.state.stop_how:
        return "the run is being stopped"
    if run.state.phase is Phase.DRAINING and record.task.role is not Role.EVALUATOR:
        return "training is over"
    if body.unkilled:
        return "not started again where it cannot be killed"
    if has_lost_its_others(run, record):
        return "the chief has ended"
    if cause.permanent:
        return "not started again, since it would fail the same way"
    if body.signal is None and record.early_deaths >= 2:
        return "not started again, since it failed twice before it was ready"
    if len(record.past.alike_at) >= most_alike(record):
        how_often = "twice" if most_alike(record) == 2 else "three times"
        return f"not started again, since it failed {how_often} the same way"
    if restarts_left(run, record) <= 0:
        used = run.state.plan.policy.restarts[record.task.role]
        return causes.its_restarts(used) if used else f"policy.restarts.{record.task.role} is 0"
    return None


def most_alike(record: TaskRecord) -> int:
    """How often it may die of one exception at one line: a program that has never trained gets one more try."""
    return MOST_ALIKE if record.past.trained or not record.task.role.trains else MOST_ALIKE - 1


def count_alike(run: Run, record: TaskRecord, cause: Cause) -> None:
    """Counts deaths in a row that came from the same exception at the same line, within ``restart_window_s``."""
    window_s = run.state.plan.policy.restart_window_s
    before = record.past.alike_at if cause.likeness == record.past.likeness else ()
    recent = tuple(at for at in before if window_s is None or run.now - at < window_s)
    alike_at = (*recent, run.now) if cause.likeness else ()
    record.past = replace(record.past, likeness=cause.likeness, alike_at=alike_at)


def failed_for_good(run: Run, record: TaskRecord, cause: Cause) -> None:
    """What one task's final failure means for the run."""
    if run.state.phase in (Phase.STOPPING, Phase.ENDED):
        return
    used_up = run.state.plan.policy.used_up[record.task.role]
    needs_it = others_with(run.state, record) and not has_lost_its_others(run, record)
    if needs_it or used_up is UsedUp.FAIL or loses_a_share(run, record):
        run.fail(cause)
        return
    consequence = "the others go on without it"
    if used_up is UsedUp.FAIL_AT_END:
        run.blame(cause)
        consequence += "; the run has failed, whatever they reach"
    severity = "error" if used_up is UsedUp.FAIL_AT_END else "warning"
    run.notice(severity, f"{record.task} has failed for good; {consequence}", record.task)


def agent_renewed(run: Run, host: str) -> None:
    """The tasks of an agent die with it; its successor starts them again."""
    run.notice("warning", f"the agent of {host} died and was started again")
    tasks_died(run, host)
    if run.state.phase is Phase.STARTING:
        prepare(run)  # what it was asked for may not have arrived
    gate = run.state.generation.gate
    if gate.open:  # the others may be as they were, and then nothing of the gate would ever be said to it
        run.do(TellTask(task=None, message=gate))


def prepare(run: Run) -> None:
    """Has everything done that comes before the first start of a generation."""
    state = run.state
    lost = state.lost
    run.do(
        Prepare(
            plan=state.plan,
            generation=state.generation.number,
            hosts=frozenset(state.hosts) - lost,
            locker=locker(run),
            # A task that has ended on a lost host only fills a place in the others' lists.
            kept=frozenset(record.task for record in run.tasks if record.planned.host in lost),
            # All hosts or none: who has no key gets no answer from those who ask for one.
            guarded=adjustments.PORT_GUARD in state.plan.adjustments
            and not any(record.open_ports for record in state.hosts.values()),
        )
    )
    if state.trains_in and state.trains_in != state.plan.model_dir:
        run.do(LockModelDir(path=state.trains_in, task=locker(run)))


def locker(run: Run) -> TaskId:
    """Whose host locks the folder: the chief's; without that, the host of whoever evaluates its last checkpoint."""
    users, lost = (run.state.chief, *run.state.of_role(Role.EVALUATOR)), run.state.lost
    return next((record for record in users if record.planned.host not in lost), users[0]).task


def tasks_died(run: Run, host: str) -> None:
    for record in run.tasks:
        if record.planned.host == host and record.alive:
            name, number = record.task.name, record.attempt.number
            exited(run, record, protocol.Exited(task=name, attempt=number, exit_code=None, signal=9, tail=""))


def restart_asked(run: Run, task: TaskId) -> None:
    if why_not := run.why_no_restart(task):
        run.notice("warning", why_not, task)
        return
    record = run.state.tasks[task]
    record.attempt.restart_wanted = BY_HAND
    run.do(StopTask(task=task, attempt=record.attempt.number, grace_s=run.state.plan.policy.grace_s))


def stop_asked(run: Run, asked: StopAsked) -> None:
    if run.state.is_said_again(asked.how):
        return
    run.record(events.StopRequested(how=asked.how.value, by=asked.by))
    if run.state.phase is Phase.ENDED:
        return
    again = bool(run.state.stop_how)
    is_its_end = run.state.endless and asked.how is StopHow.STOP and run.state.phase is not Phase.MOVING
    if not again and not is_its_end and run.state.outcome is Outcome.SUCCEEDED:
        run.state.outcome = Outcome.INTERRUPTED
    run.state.stop_how = run.state.stop_how or asked.how
    if asked.how is StopHow.KILL or again:
        for record in run.tasks:
            run.stop(record, 0.0, "stopped at once")
        run.go(Phase.STOPPING, "stopped at once")
        return
    stop_trainers(run, f"asked to end ({asked.how})")


def stop_trainers(run: Run, reason: str) -> None:
    """Trainers that can hear are told to stop at the next step, so that the chief's last save holds what the workers
    have done; SIGTERM follows after the grace time. The others get SIGTERM at once."""
    for record in trainers(run):
        stop_trainer(run, record, reason)
    if run.state.phase is Phase.MOVING:
        run.go(Phase.STOPPING, reason)


def stop_trainer(run: Run, record: TaskRecord, reason: str) -> None:
    grace_s = trainer_grace_s(run)
    if record.attempt.ready and record.attempt.running and "save-on-term" in run.state.plan.adjustments:
        if record.state is not TaskState.STOPPING:
            record.attempt.term_at = run.now + grace_s
            run.move(record, TaskState.STOPPING, reason=reason)
        run.do(TellTask(task=record.task, message=protocol.StopTraining(reason=reason)))
    else:
        run.stop(record, grace_s, reason)


def trainer_grace_s(run: Run) -> float:
    """A trainer whose parameter server is dead can save nothing; it gets little time."""
    grace_s = run.state.plan.policy.grace_s
    return min(2.0, grace_s) if run.any(Is.DOWN, Role.PS) else grace_s
