"""What follows from the state as a whole. ``settle`` may be called at any time, any number of times."""

from __future__ import annotations

import math

from launcher import causes
from launcher.lifecycle.clock import (
    evaluation_deadline,
    hang_deadline,
    is_elsewhere,
    leaving_deadline,
    may_train,
    run_deadline,
    start_deadline,
    straggler_deadline,
)
from launcher.lifecycle.draft import Draft
from launcher.lifecycle.drilling import account_for_drills, carry_out_drills
from launcher.lifecycle.ends import stop_trainers, trainer_grace_s
from launcher.lifecycle.hangs import despair_of_answers, inspected, standing, standings
from launcher.lifecycle.moves import watch_move, watch_moved
from launcher.lifecycle.outages import watch_outages
from launcher.lifecycle.over import drain, judge_training, watch_drain
from launcher.lifecycle.shape import agree_on_the_end, servers, trainers, waits_for_others
from launcher.lifecycle.state import RunState, TaskRecord
from launcher.lifecycle.values import End, TellTask
from launcher.record.states import Outcome, Phase, TaskState
from launcher.spec.policy import Success
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, Role


def settle(draft: Draft) -> None:
    """Does whatever the state as a whole asks for. Safe to call at any time, any number of times."""
    despair_of_answers(draft)
    watch_deadline(draft)
    look_at_the_clock(draft)
    watch_move(draft)
    launch(draft)
    watch_gate(draft)
    restart_the_dead(draft)
    hurry_the_stopping(draft)
    hurry_the_leaving(draft)
    agree_on_the_end(draft)
    watch_barrier(draft)
    drain_early(draft)
    watch_training(draft)
    hasten_drain(draft)
    watch_drain(draft)
    watch_outages(draft)
    watch_moved(draft)
    carry_out_drills(draft)
    unwind(draft)


def watch_deadline(draft: Draft) -> None:
    if draft.state.phase not in (Phase.STARTING, Phase.TRAINING, Phase.MOVING) or draft.now < run_deadline(draft.state):
        return
    timeout_s = draft.state.plan.policy.timeout_s or 0.0
    cause = causes.deadline(timeout_s, draft.state.trains_in or draft.state.plan.model_dir)
    draft.set(outcome=Outcome.TIMED_OUT, cause=cause, stop_how="deadline")
    stop_trainers(draft, cause.message)


def look_at_the_clock(draft: Draft) -> None:
    if draft.state.phase not in (Phase.STARTING, Phase.TRAINING):
        return
    policy = draft.state.plan.policy
    for record in draft.tasks.values():
        if draft.now >= start_deadline(draft.current, record):
            if inspected(draft, draft.tasks.values()):
                late = standing(draft, record.task)
                cause = causes.not_ready(standings(draft), late, policy.start_timeout_s)
                draft.fail(cause, outcome=Outcome.TIMED_OUT)
            return
    for record in draft.of_role(*TRAINERS):
        if draft.now >= evaluation_deadline(draft.state, record):
            if inspected(draft, [record]):
                cause = causes.drain_timeout(standing(draft, record.task), policy.evaluator_drain_s)
                draft.fail(cause, outcome=Outcome.TIMED_OUT)
            return
    hangs = draft.now >= hang_deadline(draft.current)
    if hangs and inspected(draft, draft.tasks.values()):
        cause = causes.hang(standings(draft), draft.state.global_step, policy.hang_timeout_s or 0.0)
        draft.fail(cause, outcome=Outcome.TIMED_OUT)


def launch(draft: Draft) -> None:
    state = draft.state
    if state.stop_how and not state.launched and state.phase is Phase.STARTING:
        draft.go(Phase.STOPPING, "stopped before it had started")
    hosts = {planned.host for planned in state.plan.tasks} - state.lost
    prepared = state.reserved >= hosts and (state.plan.model_dir is None or state.plan.model_dir in state.locked)
    if state.launched or not prepared or state.phase is not Phase.STARTING or state.stop_how:
        return
    draft.set(launched=True)
    gated = "session-gate" in state.plan.adjustments
    for record in sorted(draft.tasks.values(), key=lambda record: record.task):
        waits_inside = gated and record.planned.program  # what a wrapper starts may know of no gate
        if not record.state.final and (waits_inside or not record.task.role.trains):
            draft.start(record)
    draft.go(Phase.TRAINING)


def watch_gate(draft: Draft) -> None:
    """Says how the gate stands, when that has changed. A ps that has ended of its own accord, before anybody needed
    it, bars nobody."""
    if not draft.state.launched or draft.state.phase is not Phase.TRAINING:
        return
    servers = draft.of_role(Role.PS)
    proven = all((record.ready and record.running) or record.state is TaskState.SUCCEEDED for record in servers)
    trains_in = draft.state.trains_in
    locked = not trains_in or trains_in in draft.state.locked
    gate = protocol.Gate(
        open=proven and locked,
        variables_alive=draft.state.initialised,
        model_dir=trains_in if locked else "",
        training=draft.state.holds,
        over=draft.state.over,
        closed=draft.chief.state.final,
    )
    if gate != draft.state.gate:
        if gate.open != draft.state.gate.open:
            draft.set(gate_at=draft.now if gate.open else math.inf)
        draft.set(gate=gate)
        draft.do(TellTask(task=None, message=gate))
    if gate.open:
        for record in draft.of_role(*TRAINERS):
            if record.state is TaskState.WAITING and not draft.state.stop_how:
                draft.start(record)


def hurry_the_stopping(draft: Draft) -> None:
    """Those who have not stopped at a word get SIGTERM, and soon SIGKILL."""
    for record in list(draft.tasks.values()):
        if record.state is TaskState.STOPPING and draft.now >= record.term_at:
            draft.stop(record, min(5.0, draft.state.plan.policy.grace_s), "did not stop when it was told to")


def hurry_the_leaving(draft: Draft) -> None:
    """A task whose program has ended, and whose process has not, has done what it was to do."""
    for record in list(draft.tasks.values()):
        if draft.now >= leaving_deadline(draft.state, record) and inspected(draft, [record]):
            last = draft.state.plan.policy.grace_s
            threads = ", ".join(record.threads[:3])
            what = f"thread {threads} goes on" if threads else f"it {causes.does(standing(draft, record.task))}"
            words = f"{record.task} had not exited {last:g} s after its program's end, since {what}: it was ended"
            draft.notice("warning", words, record.task)
            draft.stop(draft.update(record, hurried=True), 0.0, "")


def restart_the_dead(draft: Draft) -> None:
    for record in list(draft.tasks.values()):
        is_due = record.state is TaskState.BACKOFF and draft.now >= record.restart_at
        if is_due and not waits_for_others(draft.current, record):
            draft.start(record)


def watch_barrier(draft: Draft) -> None:
    chief = draft.chief
    finished = chief.state is TaskState.FINISHED and chief.finished
    arrived = finished or (chief.state is TaskState.STOPPING and chief.speaks)
    if not arrived or draft.state.training.barrier_open:
        draft.training(barrier_at=math.inf)
        return
    if math.isinf(draft.state.training.barrier_at):
        draft.training(barrier_at=draft.now)
    for record in draft.workers:
        if draft.now >= straggler_deadline(draft.state, record):
            leave_behind(draft, record)
    if not any(may_train(draft.state, record) for record in draft.workers):
        draft.training(barrier_open=True)
        draft.set(progress_at=draft.now)  # its last save is timed from here
        draft.do(TellTask(task=chief.task, message=protocol.Barrier(training=draft.state.training.name)))


def leave_behind(draft: Draft, record: TaskRecord) -> None:
    """The chief waits no longer for a worker that hangs. Where each worker matters, that is the run's failure. One that
    only has not come from its former training may do what it likes."""
    if is_elsewhere(draft.state, record):
        draft.update(record, left_out=draft.state.training.name)
        return
    if not inspected(draft, [record]):
        return
    late = standing(draft, record.task)
    if draft.state.plan.policy.success is Success.ALL_WORKERS and not draft.state.stop_how:
        draft.set(outcome=Outcome.TIMED_OUT, cause=draft.state.cause or causes.straggler(late))
    draft.notice(
        "warning",
        f"{record.task} has not trained for {late.since_s:.0f} s, it {causes.does(late)}: the others end without it",
        record.task,
    )
    draft.stop(record, 0.0, "hangs while the chief waits for it")


def drain_early(draft: Draft) -> None:
    """When the last checkpoint is there, the evaluator need not wait until the trainers' processes have gone."""
    training = draft.state.training
    if training.saved_last and draft.state.phase is Phase.TRAINING and _evaluates_at_the_end(draft.state):
        for record in draft.of_role(Role.EVALUATOR):
            if record.training in ("", training.name):
                drain(draft, record, training.name)


def _evaluates_at_the_end(state: RunState) -> bool:
    """Whoever is in a hurry, or has no terminal any more, gets a checkpoint and no evaluation."""
    return state.stop_how not in ("terminate", "hangup", "kill")


def watch_training(draft: Draft) -> None:
    """Training is over when the success policy says so, or when it was stopped and every trainer has ended."""
    if draft.state.phase is not Phase.TRAINING or not draft.state.launched:
        return
    if all(record.state.final for record in trainers(draft)):
        training_over(draft)
    elif draft.chief.state is TaskState.SUCCEEDED and draft.state.plan.policy.success is Success.CHIEF:
        stop_late_workers(draft)


def stop_late_workers(draft: Draft) -> None:
    """After the chief has gone nothing that workers train is saved; they get the grace period to end. Those that are
    known to do something else may do it."""
    grace_s = draft.state.plan.policy.grace_s
    if math.isinf(draft.state.drain_until):
        draft.set(drain_until=draft.now + grace_s)
    elif draft.now >= draft.state.drain_until:
        late = [record for record in draft.workers if not record.state.final and not record.doing]
        if not inspected(draft, late):
            return
        draft.set(drain_until=draft.now + grace_s)
        for record in late:
            what = (
                f"still running {grace_s:g} s after the chief had ended: it {causes.does(standing(draft, record.task))}"
            )
            if record.state is not TaskState.STOPPING:
                draft.notice("warning", f"{record.task} was {what}", record.task)
            draft.stop(record, 0.0, what)


def training_over(draft: Draft) -> None:
    draft.set(drain_until=math.inf)
    judge_training(draft)
    if draft.state.phase is Phase.STOPPING:
        return
    if not _evaluates_at_the_end(draft.state):
        draft.go(Phase.STOPPING, "stopped")
        return
    draft.go(Phase.DRAINING, "training is over")
    for record in servers(draft):
        draft.stop(record, min(2.0, draft.state.plan.policy.grace_s), "training is over")
    draft.set(drain_until=draft.now + draft.state.plan.policy.evaluator_drain_s)
    for record in draft.of_role(Role.EVALUATOR):
        drain(draft, record)


def hasten_drain(draft: Draft) -> None:
    """What an evaluation may still take when somebody has asked for the end: after Ctrl-C the grace time."""
    if draft.state.phase is not Phase.DRAINING:
        return
    if not _evaluates_at_the_end(draft.state):
        draft.go(Phase.STOPPING, "stopped")
    elif draft.state.stop_how == "interrupt":
        draft.set(drain_until=min(draft.state.drain_until, draft.now + draft.state.plan.policy.grace_s))


def unwind(draft: Draft) -> None:
    """Stops what is left, in order: trainers, evaluator, parameter servers. Then the run ends."""
    if draft.state.phase is not Phase.STOPPING:
        return
    draft.set(drain_until=math.inf)
    grace_s = draft.state.plan.policy.grace_s
    for roles, patience_s in ((TRAINERS, trainer_grace_s(draft)), ((Role.EVALUATOR,), grace_s), ((Role.PS,), 2.0)):
        left = [record for record in draft.of_role(*roles) if not record.state.final]
        for record in left:
            if record.state is not TaskState.STOPPING:
                draft.stop(record, min(patience_s, grace_s), "the run is being stopped")
        if any(not record.state.final for record in draft.of_role(*roles)):
            return
    account_for_drills(draft)
    draft.go(Phase.ENDED)
    # Only now is it known what else failed: of two hosts the one with the consequence may be heard first.
    cause = draft.state.cause and causes.first(draft.state.failures, draft.state.cause)
    draft.do(End(outcome=draft.state.outcome, cause=cause, how=draft.state.stop_how))
