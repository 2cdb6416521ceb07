"""When training is over: whether it has come to anything, and its last evaluation.

*Judging*, as far as tasks let us see. Seen is a trainer that made an Estimator or a monitored session, which reports
its steps, and one that imported TensorFlow and used nothing of it. Of all others the exit code is believed.

*Draining*: the last checkpoint is evaluated, in bounded time. The loop of ``train_and_evaluate`` is told to end, and
does when it has evaluated that. A loop of the program's own gets SIGTERM: when it has said that it evaluated the last
checkpoint (``launcher.estimator.evaluated``, or by ``Estimator.evaluate``) or asks for the next one after it, at once
where there is none, and when its time is over.
"""

from __future__ import annotations

import math

from launcher import causes
from launcher.lifecycle import together
from launcher.lifecycle.hangs import inspected, standing
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import TRANSITIONS, TaskRecord
from launcher.lifecycle.values import TellTask
from launcher.record.states import Outcome, Phase, StopHow, TaskState
from launcher.wire import protocol
from launcher.wire.roles import Role


def judge_training(run: Run) -> None:
    """Fails the run in which nobody has trained, and names each who has not."""
    state = run.state
    if state.stop_how or state.outcome is not Outcome.SUCCEEDED:
        return
    trainers = together.trainers(run)
    idle = [record for record in trainers if not record.past.trained]
    if len(idle) == len(trainers):
        if all(_is_seen(record) for record in trainers) and not _was_done_before(run, trainers):
            chief = run.state.chief
            run.fail(causes.untrained(chief.task.name, chief.planned.host, _why_not(chief)))
        return
    for record in idle:
        is_seen = _is_seen(record) or run.is_chief(record)  # whose steps others would have counted
        if is_seen and not record.attempt.nothing_left and record.state is TaskState.SUCCEEDED:
            words = f"{record.task} has not trained a step: {_why_not(record)}"
            run.notice("warning", words, record.task)


def _is_seen(record: TaskRecord) -> bool:
    return record.attempt.uses in (protocol.ESTIMATOR, protocol.SESSION) or record.attempt.used_nothing


def _was_done_before(run: Run, trainers: list[TaskRecord]) -> bool:
    """Whether there was nothing left to do: the last step was reached, or the input used up, by an earlier run."""
    return run.state.exhausted or any(record.attempt.nothing_left for record in trainers)


def _why_not(record: TaskRecord) -> str:
    if record.attempt.used_nothing:
        return "it imports TensorFlow, and then makes no Estimator and no session (is `main` called?)"
    if record.attempt.uses and not record.attempt.began:
        return "it makes an Estimator, and trains nothing with it"
    return "it came late, or its share of the input was empty"


def drain(run: Run, record: TaskRecord, training: str = "") -> None:
    """Tells an evaluator that runs to end, or to end this training's evaluation. One that is being restarted is told
    when it runs."""
    if TaskState.DRAINING in TRANSITIONS[record.state]:
        run.move(record, TaskState.DRAINING)
        step = run.state.global_step or None
        run.do(TellTask(task=record.task, message=protocol.Drain(global_step=step, training=training)))


def leave_out(run: Run, record: TaskRecord) -> None:
    """An evaluator whose program knows no such role, and trains as all others do."""
    if record.task.role is Role.EVALUATOR and record.alive and record.state is not TaskState.STOPPING:
        advice = "start it without (--no-evaluator), or let the program look at its task's type"
        run.notice("warning", f"{record.task} trains instead of evaluating, and was ended: {advice}", record.task)
        run.stop(record, 0.0, "it trains, and is no evaluator")


def begin_drain(run: Run) -> None:
    policy = run.state.plan.policy
    bound_s = policy.grace_s if run.state.stop_how is StopHow.INTERRUPT else policy.evaluator_drain_s
    run.state.drain_until = run.now + bound_s
    open_ones = [record.task.name for record in run.state.of_role(Role.EVALUATOR) if not record.state.final]
    waits = f"; waiting for {', '.join(open_ones)}, up to {bound_s:g} s" if open_ones else ""
    run.go(Phase.DRAINING, f"training is over{waits}")


def watch_drain(run: Run) -> None:
    evaluators = run.state.of_role(Role.EVALUATOR)
    if all(record.state.final for record in evaluators):
        has_evaluated = any(record.attempt.evaluated for record in evaluators)
        run.go(Phase.STOPPING, "evaluation is done" if has_evaluated else "nothing is left to evaluate")
        return
    for record in evaluators:
        drain(run, record)
        to_be_ended = not record.attempt.listens and record.alive and record.state is not TaskState.STOPPING
        if to_be_ended and (why := _why_done(run, record)):
            grace_s = run.state.plan.policy.grace_s
            run.stop(record, min(2.0, grace_s) if record.attempt.doing == protocol.SERVING else grace_s, why)
    if run.now >= run.state.drain_until:
        late = next(record for record in evaluators if not record.state.final)
        if run.state.stop_how is StopHow.INTERRUPT:
            run.notice("warning", f"the last checkpoint is not evaluated: {late.task} took too long", late.task)
            run.go(Phase.STOPPING, "interrupted")
        elif _loops_by_itself(run, late):
            _end_unheard(run, late)
        elif inspected(run, [late]):
            cause = causes.drain_timeout(standing(run, late.task), run.state.plan.policy.evaluator_drain_s)
            run.fail(cause, outcome=Outcome.TIMED_OUT)


def _why_done(run: Run, record: TaskRecord) -> str:
    """Why a loop of the program's own has nothing left to evaluate; empty if it has, or that is not known."""
    saved, done = run.state.saved, record.attempt.evaluated
    if record.attempt.doing == protocol.SERVING:
        return "training is over, and it only serves"
    if saved is None:
        return "training is over, and there is no checkpoint" if _loops_by_itself(run, record) else ""
    last = saved.path.rpartition("/")[2]
    if record.attempt.done_with.rpartition("/")[2] == last:
        return "it waits for a checkpoint after the last one"
    if done is None:
        return ""
    same = done.checkpoint.rpartition("/")[2] == last
    return "the last checkpoint is evaluated" if same or done.global_step >= saved.global_step > 0 else ""


def _loops_by_itself(run: Run, record: TaskRecord) -> bool:
    """Whether it is known that no Estimator evaluates."""
    if record.attempt.listens or protocol.ESTIMATOR in (record.attempt.uses, *run.state.uses):
        return record.attempt.evaluated is not None and not record.attempt.listens
    return bool(run.state.uses) or not run.state.spoken


def _end_unheard(run: Run, record: TaskRecord) -> None:
    bound_s = run.state.plan.policy.evaluator_drain_s
    run.state.drain_until = math.inf
    if record.state is not TaskState.STOPPING:
        words = f"{record.task} has not said within {bound_s:g} s that it evaluated the last checkpoint: it was ended"
        run.notice("warning", f"{words} (launcher.estimator.evaluated)", record.task)
        run.stop(record, run.state.plan.policy.grace_s, "training is over")
