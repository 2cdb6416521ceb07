"""What follows from the state as a whole. ``settle`` may be called at any time, any number of times."""

from __future__ import annotations

import math
from collections.abc import Callable

from launcher import causes
from launcher.lifecycle.clock import hang_deadline
from launcher.lifecycle.drilling import account_for_drills, carry_out_drills
from launcher.lifecycle.ends import stop_trainers, trainer_grace_s
from launcher.lifecycle.hangs import despair_of_answers, inspected, standing, standings, watch_the_silent
from launcher.lifecycle.hosts.allocating import begin_when_all_answer
from launcher.lifecycle.hosts.moves import watch_move, watch_moved
from launcher.lifecycle.outages import restart_the_dead, watch_outages
from launcher.lifecycle.over import begin_drain, drain, judge_training, watch_drain
from launcher.lifecycle.roaming import costs
from launcher.lifecycle.roaming.alone import agree_on_leases, start_the_placed
from launcher.lifecycle.roaming.draining import watch_draining
from launcher.lifecycle.roaming.scaling import watch_least, watch_scaling
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import RunState, TaskRecord
from launcher.lifecycle.state.deadlines import (
    evaluation_deadline,
    is_elsewhere,
    leaving_deadline,
    run_deadline,
    start_deadline,
    straggler_deadline,
)
from launcher.lifecycle.state.roster import Is
from launcher.lifecycle.together import agree_on_the_end, is_training_over, servers
from launcher.lifecycle.values import End, TellTask
from launcher.record.states import Outcome, Phase, StopHow, TaskState
from launcher.spec.policy import Success
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, Role


def settle(run: Run) -> None:
    """Does whatever the state as a whole asks for. Safe to call at any time, any number of times."""
    for rule, phases in RULES:
        if run.state.phase in phases:
            rule(run)


def watch_deadline(run: Run) -> None:
    if run.now < run_deadline(run.state):
        return
    timeout_s = run.state.plan.policy.timeout_s or 0.0
    cause = causes.deadline(timeout_s, run.state.trains_in or run.state.plan.model_dir)
    run.state.outcome, run.state.cause, run.state.stop_how = Outcome.TIMED_OUT, cause, StopHow.DEADLINE
    stop_trainers(run, cause.message)


def look_at_the_clock(run: Run) -> None:
    if run.state.unanswered:
        return
    policy = run.state.plan.policy
    overdue = run.overdue()
    for record in overdue:
        if run.now >= start_deadline(run.state, record, awaited=run.any(Is.AWAITS_SERVERS)):
            if inspected(run, run.tasks):
                late = standing(run, record.task)
                cause = causes.not_ready(standings(run), late, policy.start_timeout_s)
                run.fail(cause, outcome=Outcome.TIMED_OUT)
            return
    for record in overdue:
        if run.now >= evaluation_deadline(run.state, record):
            if inspected(run, [record]):
                cause = causes.drain_timeout(standing(run, record.task), policy.evaluator_drain_s)
                run.fail(cause, outcome=Outcome.TIMED_OUT)
            return
    if run.now >= hang_deadline(run) and inspected(run, run.tasks):
        cause = causes.hang(standings(run), run.state.global_step, policy.hang_timeout_s or 0.0)
        run.fail(cause, outcome=Outcome.TIMED_OUT)


def launch(run: Run) -> None:
    """Starts everybody when all is prepared."""
    state, generation = run.state, run.state.generation
    if state.stop_how:
        run.go(Phase.STOPPING, "stopped before it had started")
        return
    locked = state.plan.model_dir is None or state.plan.model_dir in generation.locked
    holding = (state.hosts[name].reserved == generation.number for name in generation.hosts - state.lost)
    if not locked or not all(holding):
        return
    gated = "session-gate" in state.plan.adjustments
    for record in sorted(run.tasks, key=lambda record: record.task):
        waits_inside = gated and record.planned.program  # what a wrapper starts may know of no gate
        if not record.state.final and (waits_inside or not record.task.role.trains):
            run.start(record)
    run.go(Phase.TRAINING)


def watch_gate(run: Run) -> None:
    """Says how the gate stands, when that has changed, and starts those that wait for it outside."""
    state, generation = run.state, run.state.generation
    locked = not state.trains_in or state.trains_in in generation.locked
    gate = protocol.Gate(
        open=locked and not run.any(Is.UNPROVEN),
        variables_alive=generation.initialised,
        model_dir=state.trains_in if locked else "",
        training=generation.holds,
        over=state.over,
        closed=state.chief.state.final,
        ps=generation.ps,
        hold=state.holds,
    )
    if gate != generation.gate:
        if gate.open != generation.gate.open:
            generation.gate_at = run.now if gate.open else math.inf
        generation.gate = gate
        run.do(TellTask(task=None, message=gate))
    if gate.open and not state.stop_how:
        for record in run.each(Is.WAITING, *TRAINERS):
            if record.task not in generation.unplaced:
                run.start(record)


def hurry_the_stopping(run: Run) -> None:
    """Those who have not stopped at a word get SIGTERM, and soon SIGKILL."""
    for record in run.overdue():
        if record.state is TaskState.STOPPING and run.now >= record.attempt.term_at:
            run.stop(record, min(5.0, run.state.plan.policy.grace_s), "did not stop when it was told to")


def hurry_the_leaving(run: Run) -> None:
    """A task whose program has ended, and whose process has not, has done what it was to do."""
    for record in run.overdue():
        if run.now >= leaving_deadline(run.state, record) and inspected(run, [record]):
            last = run.state.plan.policy.grace_s
            threads = ", ".join(record.attempt.threads[:3])
            what = f"thread {threads} goes on" if threads else f"it {causes.does(standing(run, record.task))}"
            words = f"{record.task} had not exited {last:g} s after its program's end, since {what}: it was ended"
            run.notice("warning", words, record.task)
            record.attempt.hurried = True
            run.stop(record, 0.0, "")


def watch_barrier(run: Run) -> None:
    chief, training = run.state.chief, run.state.training
    finished = chief.state is TaskState.FINISHED and chief.attempt.finished
    arrived = finished or (chief.state is TaskState.STOPPING and chief.attempt.speaks)
    if not arrived or training.barrier_open:
        training.barrier_at = math.inf
        return
    if math.isinf(training.barrier_at):
        training.barrier_at = run.now
    for record in run.overdue():
        if run.now >= straggler_deadline(run.state, record):
            leave_behind(run, record)
    if not run.any(Is.MAY_TRAIN):
        training.barrier_open = True
        run.state.progress_at = run.now  # its last save is timed from here
        run.do(TellTask(task=chief.task, message=protocol.Barrier(training=training.name)))


def leave_behind(run: Run, record: TaskRecord) -> None:
    """The chief waits no longer for a worker that hangs. Where each worker matters, that is the run's failure. One that
    only has not come from its former training may do what it likes."""
    if is_elsewhere(run.state, record):
        record.attempt.left_out = run.state.training.name
        return
    if not inspected(run, [record]):
        return
    late = standing(run, record.task)
    if run.state.plan.policy.success is Success.ALL_WORKERS and not run.state.stop_how:
        run.state.outcome = Outcome.TIMED_OUT
        run.state.cause = run.state.cause or causes.straggler(late)
    run.notice(
        "warning",
        f"{record.task} has not trained for {late.since_s:.0f} s, it {causes.does(late)}: the others end without it",
        record.task,
    )
    run.stop(record, 0.0, "hangs while the chief waits for it")


def drain_early(run: Run) -> None:
    """When the last checkpoint is there, the evaluator need not wait until the trainers' processes have gone."""
    training = run.state.training
    if training.saved_last and _evaluates_at_the_end(run.state):
        for record in run.state.of_role(Role.EVALUATOR):
            if record.attempt.training in ("", training.name):
                drain(run, record, training.name)


def _evaluates_at_the_end(state: RunState) -> bool:
    """Whoever is in a hurry, or has no terminal any more, gets a checkpoint and no evaluation."""
    return state.stop_how not in (StopHow.TERMINATE, StopHow.HANGUP, StopHow.KILL)


def watch_training(run: Run) -> None:
    """Training is over when the success policy says so, or when it was stopped and every trainer has ended."""
    if is_training_over(run):
        training_over(run)
    elif run.state.chief.state is TaskState.SUCCEEDED and run.state.plan.policy.success is Success.CHIEF:
        stop_late_workers(run)


def stop_late_workers(run: Run) -> None:
    """After the chief has gone nothing that workers train is saved; they get the grace period to end. Those that are
    known to do something else may do it."""
    grace_s = run.state.plan.policy.grace_s
    if math.isinf(run.state.drain_until):
        run.state.drain_until = run.now + grace_s
    elif run.now >= run.state.drain_until and not run.state.unanswered:
        late = [record for record in run.each(Is.OPEN, *TRAINERS) if not record.attempt.doing]
        if not inspected(run, late):
            return
        run.state.drain_until = run.now + grace_s
        for record in late:
            what = (
                f"still running {grace_s:g} s after the chief had ended: it {causes.does(standing(run, record.task))}"
            )
            if record.state is not TaskState.STOPPING:
                run.notice("warning", f"{record.task} was {what}", record.task)
            run.stop(record, 0.0, what)


def training_over(run: Run) -> None:
    run.state.drain_until = math.inf
    judge_training(run)
    if run.state.phase is Phase.STOPPING:
        return
    if not _evaluates_at_the_end(run.state):
        run.go(Phase.STOPPING, "stopped")
        return
    begin_drain(run)
    for record in servers(run):
        run.stop(record, min(2.0, run.state.plan.policy.grace_s), "training is over")
    for record in run.state.of_role(Role.EVALUATOR):
        drain(run, record)


def hasten_drain(run: Run) -> None:
    """What an evaluation may still take when somebody has asked for the end: after Ctrl-C the grace time."""
    if not _evaluates_at_the_end(run.state):
        run.go(Phase.STOPPING, "stopped")
    elif run.state.stop_how is StopHow.INTERRUPT:
        run.state.drain_until = min(run.state.drain_until, run.now + run.state.plan.policy.grace_s)


def unwind(run: Run) -> None:
    """Stops what is left, in order: trainers, evaluator, parameter servers. Then the run ends."""
    run.state.drain_until = math.inf
    grace_s = run.state.plan.policy.grace_s
    for roles, patience_s in ((TRAINERS, trainer_grace_s(run)), ((Role.EVALUATOR,), grace_s), ((Role.PS,), 2.0)):
        for record in run.each(Is.TO_STOP, *roles):
            run.stop(record, min(patience_s, grace_s), "the run is being stopped")
        if run.any(Is.OPEN, *roles):
            return
    account_for_drills(run)
    run.go(Phase.ENDED)
    # Only now is it known what else failed: of two hosts the one with the consequence may be heard first.
    cause = run.state.cause and causes.first(tuple(run.state.failures), run.state.cause)
    run.do(End(outcome=run.state.outcome, cause=cause, how=run.state.stop_how, hosts=_hosts_left(run.state)))


def _hosts_left(state: RunState) -> frozenset[str]:
    """Where something may be left. A host that was lost long ago may be there again; one that ends the run has just
    been looked at."""
    return frozenset(state.hosts) - (state.lost if state.generation.number == state.first_generation else frozenset())


_ALWAYS = frozenset(Phase)
_TRAINING = frozenset({Phase.TRAINING})
_GOING_ON = frozenset({Phase.STARTING, Phase.TRAINING})

# In which phases each rule holds. The order counts where one decides for the next in the same step.
RULES: tuple[tuple[Callable[[Run], None], frozenset[Phase]], ...] = (
    (despair_of_answers, _ALWAYS),  # before the rules that wait for answers
    (watch_deadline, _GOING_ON | {Phase.MOVING}),
    (look_at_the_clock, _GOING_ON),
    (begin_when_all_answer, frozenset({Phase.ALLOCATING})),
    (watch_move, frozenset({Phase.MOVING})),
    (launch, frozenset({Phase.STARTING})),  # after a move, which ends by preparing a start
    (agree_on_leases, _TRAINING),
    (watch_draining, _TRAINING),  # before others see that somebody has left
    (watch_gate, _TRAINING),  # before a start, which needs to know it
    (start_the_placed, frozenset({Phase.TRAINING, Phase.DRAINING})),
    (restart_the_dead, _ALWAYS),
    (watch_the_silent, _ALWAYS),
    (hurry_the_stopping, _ALWAYS),
    (hurry_the_leaving, _ALWAYS),
    (agree_on_the_end, _ALWAYS),
    (watch_barrier, _ALWAYS),
    (drain_early, _TRAINING),
    (watch_training, _TRAINING),
    (hasten_drain, frozenset({Phase.DRAINING})),  # after the end of training, which begins the drain
    (watch_drain, frozenset({Phase.DRAINING})),
    (carry_out_drills, _ALWAYS),
    (watch_outages, _ALWAYS),  # after all that starts and ends tasks, or lets them go on
    (watch_moved, frozenset({Phase.TRAINING, Phase.DRAINING})),
    (watch_scaling, _TRAINING),
    (watch_least, _TRAINING),
    (costs.tell, _ALWAYS),  # after those who find that something is over
    (unwind, frozenset({Phase.STOPPING})),  # last: whatever failed above leads here
)
