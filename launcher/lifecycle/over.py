"""When training is over: whether it has come to anything, and its last evaluation.

*Judging*, as far as tasks let us see. Seen is a trainer that made an Estimator or a monitored session, which reports
its steps, and one that imported TensorFlow and used nothing of it. Of all others the exit code is believed.

*Draining*: the last checkpoint is evaluated, in bounded time. The loop of ``train_and_evaluate`` is told to end, and
does when it has evaluated that. A loop of the program's own gets SIGTERM: when it has said that it evaluated the last
checkpoint (``launcher.estimator.evaluated``, or by ``Estimator.evaluate``), at once where there is none, and when its
time is over.
"""

from __future__ import annotations

import math

from launcher import causes
from launcher.lifecycle import shape
from launcher.lifecycle.draft import Draft
from launcher.lifecycle.hangs import inspected, standing
from launcher.lifecycle.state import TRANSITIONS, TaskRecord
from launcher.lifecycle.values import TellTask
from launcher.record.states import Outcome, Phase, TaskState
from launcher.wire import protocol
from launcher.wire.roles import Role


def judge_training(draft: Draft) -> None:
    """Fails the run in which nobody has trained, and names each who has not."""
    state = draft.state
    if state.stop_how or state.outcome is not Outcome.SUCCEEDED:
        return
    trainers = shape.trainers(draft)
    idle = [record for record in trainers if not record.trained]
    if len(idle) == len(trainers):
        if all(_is_seen(record) for record in trainers) and not _was_done_before(draft, trainers):
            chief = draft.chief
            draft.fail(causes.untrained(chief.task.name, chief.planned.host, _why_not(chief)))
        return
    for record in idle:
        is_seen = _is_seen(record) or draft.is_chief(record)  # whose steps others would have counted
        if is_seen and not record.nothing_left and record.state is TaskState.SUCCEEDED:
            words = f"{record.task} has not trained a step: {_why_not(record)}"
            draft.notice("warning", words, record.task)


def _is_seen(record: TaskRecord) -> bool:
    return record.uses in (protocol.ESTIMATOR, protocol.SESSION) or record.used_nothing


def _was_done_before(draft: Draft, trainers: list[TaskRecord]) -> bool:
    """Whether there was nothing left to do: the last step was reached, or the input used up, by an earlier run."""
    return draft.state.exhausted or any(record.nothing_left for record in trainers)


def _why_not(record: TaskRecord) -> str:
    if record.used_nothing:
        return "it imports TensorFlow, and then makes no Estimator and no session (is `main` called?)"
    if record.uses and not record.began:
        return "it makes an Estimator, and trains nothing with it"
    return "it came late, or its share of the input was empty"


def drain(draft: Draft, record: TaskRecord, training: str = "") -> None:
    """Tells an evaluator that runs to end, or to end this training's evaluation. One that is being restarted is told
    when it runs."""
    if TaskState.DRAINING in TRANSITIONS[record.state]:
        draft.move(record, TaskState.DRAINING)
        step = draft.state.global_step or None
        draft.do(TellTask(task=record.task, message=protocol.Drain(global_step=step, training=training)))


def watch_drain(draft: Draft) -> None:
    if draft.state.phase is not Phase.DRAINING:
        return
    evaluators = draft.of_role(Role.EVALUATOR)
    if all(record.state.final for record in evaluators):
        draft.go(Phase.STOPPING, "evaluation is done")
        return
    for record in evaluators:
        drain(draft, record)
        to_be_ended = not record.listens and record.alive and record.state is not TaskState.STOPPING
        if to_be_ended and (why := _why_done(draft, record)):
            draft.stop(draft.tasks[record.task], draft.state.plan.policy.grace_s, why)
    if draft.now >= draft.state.drain_until:
        late = next(record for record in evaluators if not record.state.final)
        if draft.state.stop_how == "interrupt":
            draft.notice("warning", f"the last checkpoint is not evaluated: {late.task} took too long", late.task)
            draft.go(Phase.STOPPING, "interrupted")
        elif _loops_by_itself(draft, late):
            _end_unheard(draft, late)
        elif inspected(draft, [late]):
            cause = causes.drain_timeout(standing(draft, late.task), draft.state.plan.policy.evaluator_drain_s)
            draft.fail(cause, outcome=Outcome.TIMED_OUT)


def _why_done(draft: Draft, record: TaskRecord) -> str:
    """Why a loop of the program's own has nothing left to evaluate; empty if it has, or that is not known."""
    saved, done = draft.state.saved, record.evaluated
    if saved is None:
        return "training is over, and there is no checkpoint" if _loops_by_itself(draft, record) else ""
    if done is None:
        return ""
    same = done.checkpoint.rpartition("/")[2] == saved.path.rpartition("/")[2]
    return "the last checkpoint is evaluated" if same or done.global_step >= saved.global_step > 0 else ""


def _loops_by_itself(draft: Draft, record: TaskRecord) -> bool:
    """Whether it is known that no Estimator evaluates."""
    if record.listens or protocol.ESTIMATOR in (record.uses, *draft.state.uses):
        return record.evaluated is not None and not record.listens
    return bool(draft.state.uses) or not draft.state.spoken


def _end_unheard(draft: Draft, record: TaskRecord) -> None:
    bound_s = draft.state.plan.policy.evaluator_drain_s
    draft.set(drain_until=math.inf)
    if record.state is not TaskState.STOPPING:
        words = f"{record.task} has not said within {bound_s:g} s that it evaluated the last checkpoint: it was ended"
        draft.notice("warning", f"{words} (launcher.estimator.evaluated)", record.task)
        draft.stop(record, draft.state.plan.policy.grace_s, "training is over")
