"""Whether a training that has ended without a failure has come to anything, as far as its tasks let us see.

Seen is a trainer that made an Estimator or a monitored session, which reports its steps, and one that imported
TensorFlow and used nothing of it. Of all others the exit code is believed.
"""

from __future__ import annotations

from launcher import causes
from launcher.lifecycle.draft import Draft
from launcher.lifecycle.state import TaskRecord
from launcher.record.states import Outcome, TaskState
from launcher.wire.roles import TRAINERS


def judge_training(draft: Draft) -> None:
    """Fails the run in which nobody has trained, and names each who has not."""
    state = draft.state
    if state.stop_how or state.outcome is not Outcome.SUCCEEDED:
        return
    trainers = draft.of_role(*TRAINERS)
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
    return bool(record.uses) or record.used_nothing


def _was_done_before(draft: Draft, trainers: list[TaskRecord]) -> bool:
    """Whether there was nothing left to do: the last step was reached, or the input used up, by an earlier run."""
    return draft.state.exhausted or any(record.nothing_left for record in trainers)


def _why_not(record: TaskRecord) -> str:
    if record.used_nothing:
        return "it imports TensorFlow, and then makes no Estimator and no session (is `main` called?)"
    if record.uses and not record.began:
        return "it makes an Estimator, and trains nothing with it"
    return "it came late, or its share of the input was empty"
