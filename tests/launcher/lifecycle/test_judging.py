"""Success that has to be earned: who trained, where, and whether anything came of it."""

from __future__ import annotations

import pytest

from launcher import lifecycle
from launcher.lifecycle.state.deadlines import LATE_S
from launcher.record import events
from launcher.record.states import Outcome, TaskState
from launcher.spec.policy import Policy
from launcher.wire import protocol
from tests.launcher.lifecycle.test_lifecycle import ALL, Run, make_plan

TRAINERS = ("chief:0", "worker:0", "worker:1")


def started(policy: Policy | None = None) -> Run:
    run = Run(make_plan(policy=policy or Policy())).begin()
    run.started("ps:0", *TRAINERS, "evaluator:0")
    run.listening("ps:0")
    return run


def begins(run: Run, *tasks: str, folder: str = "/model", number: int = 1) -> None:
    for task in tasks:
        run.report(task, protocol.Begun(training=f"{folder}#{number}", model_dir=folder))


def warnings(run: Run) -> list[str]:
    told = [item.event for item in run.actions if isinstance(item, lifecycle.Record)]
    return [event.message for event in told if isinstance(event, events.Noticed) and event.severity == "warning"]


def end(run: Run, *tasks: str) -> lifecycle.End:
    for task in tasks or TRAINERS:
        run.exits(task)
    return run.end_stopping()


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (protocol.Leaving(used_nothing=True), "is `main` called"),
        (protocol.Uses(what="estimator"), "trains nothing with it"),
        (protocol.Uses(what="session"), "trains nothing"),
    ],
)
def test_a_run_in_which_nobody_trains_has_failed(report: protocol.Message, why: str) -> None:
    run = started()
    for task in TRAINERS:
        run.report(task, report)
    ended = end(run)
    assert ended.outcome is Outcome.FAILED and ended.cause is not None and ended.cause.kind == "untrained"
    assert "no trainer has trained a step" in ended.cause.message and why in ended.cause.message


@pytest.mark.parametrize("adjustments", [(), ALL])
def test_a_ps_that_does_not_listen_is_named_to_those_who_wait_outside(adjustments: tuple[str, ...]) -> None:
    run = Run(make_plan(adjustments=adjustments)).begin()
    run.started("ps:0", "evaluator:0", *(TRAINERS if adjustments else ()))
    for _ in range(3):
        run.after(LATE_S)
    told = [item.event for item in run.actions if isinstance(item, lifecycle.Record)]
    words = [event.message for event in told if isinstance(event, events.Noticed) and event.task == "ps:0"]
    named = "ps:0 does not listen at its address yet; not started before it does: chief:0, worker:0, worker:1"
    assert words == ([] if adjustments else [f"{named} (policy.start_timeout_s: 300)"])


def test_an_empty_input_trains_nobody() -> None:
    run = started()
    for task in TRAINERS:
        run.report(task, protocol.Uses(what="estimator"))
    begins(run, *TRAINERS)
    for task in TRAINERS:
        run.report(task, protocol.Ready(global_step=0))
        run.report(task, protocol.Finished(global_step=0, local_steps=0))
    ended = end(run)
    assert ended.cause is not None and "input was empty" in ended.cause.message


def test_what_cannot_be_seen_is_believed() -> None:
    run = started()
    for task in TRAINERS[1:]:
        run.report(task, protocol.Uses(what="estimator"))
    assert end(run).outcome is Outcome.SUCCEEDED, "the chief may have trained in a way of its own"


@pytest.mark.parametrize("way", ["last step", "input"])
def test_where_nothing_was_left_to_do_nobody_need_train(way: str) -> None:
    run = started()
    for task in TRAINERS:
        run.report(task, protocol.Uses(what="estimator"))
    if way == "input":
        run.report("chief:0", protocol.InputState(examples=5))
    else:
        run.report("chief:0", protocol.Finished(global_step=9, local_steps=0, reason="already", nothing_left=True))
    ended = end(run)
    assert (ended.outcome, ended.cause) == (Outcome.SUCCEEDED, None)
    assert not any("not trained" in message for message in warnings(run))


def test_one_that_did_not_train_is_named() -> None:
    run = started()
    run.trains("chief:0", "worker:0")
    run.report("worker:1", protocol.Uses(what="estimator"))
    begins(run, "worker:1")
    assert end(run).outcome is Outcome.SUCCEEDED
    assert [message for message in warnings(run) if "worker:1 has not trained a step" in message]


def test_steps_of_an_attempt_that_died_count() -> None:
    run = started()
    for task in TRAINERS:
        run.report(task, protocol.Uses(what="estimator"))
    run.trains("chief:0")
    run.exits("chief:0", None, signal=9)
    run.after(5)
    run.started("chief:0")
    run.report("chief:0", protocol.Uses(what="estimator"))
    assert end(run).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("finishes", [True, False])
def test_a_chief_that_leaves_in_the_middle_of_training_is_told_of(finishes: bool) -> None:
    run = started()
    run.report("chief:0", protocol.Uses(what="estimator"))
    run.trains("chief:0", "worker:0", "worker:1")
    if finishes:
        run.report("chief:0", protocol.Finished(global_step=1, local_steps=1))
    run.exits("chief:0", 0)
    assert any("in the middle of training" in message for message in warnings(run)) is not finishes


@pytest.mark.parametrize("task", ["worker:1", "evaluator:0"])
def test_a_model_dir_that_differs_fails_at_once(task: str) -> None:
    run = started()
    begins(run, "chief:0", folder="/m-170001")
    begins(run, task, folder="/m-170002")
    ended = run.end_stopping()
    assert ended.outcome is Outcome.FAILED and ended.cause is not None
    assert "model_dir differs" in ended.cause.message
    assert "/m-170001" in ended.cause.message and "/m-170002" in ended.cause.message


def test_who_is_ahead_or_behind_has_no_other_model_dir() -> None:
    run = started()
    begins(run, "chief:0", "worker:0", folder="/fold1")
    begins(run, "worker:0", folder="/fold2")
    begins(run, "chief:0", folder="/fold2")
    begins(run, "worker:1", folder="/fold1")
    assert run.state.outcome is Outcome.SUCCEEDED and not run.stops()


def test_a_chief_may_train_something_else_before_the_evaluator_has_a_part() -> None:
    run = started()
    run.report("chief:0", protocol.Begun(training="/before#train-1", model_dir="/before"))
    begins(run, "evaluator:0", folder="/model")
    begins(run, "chief:0", folder="/model")
    assert run.state.outcome is Outcome.SUCCEEDED and not run.stops()


def test_checkpoints_that_are_off_are_told() -> None:
    run = started()
    begins(run, *TRAINERS)
    run.trains(*TRAINERS)
    run.finished(*TRAINERS)
    run.report("chief:0", protocol.Ended(training="/model#1", saved=False))
    assert end(run).outcome is Outcome.SUCCEEDED
    assert "nothing was saved: checkpoints are off" in warnings(run)


def test_metrics_that_are_no_numbers_are_told() -> None:
    run = started()
    run.report("evaluator:0", protocol.Evaluated(global_step=1, metrics={"loss": None, "auc": 0.5}))
    assert any("not a finite number" in message and "loss" in message for message in warnings(run))


@pytest.mark.parametrize(
    "raised", ["", 'Traceback (most recent call last):\n  File "j.py", line 1, in m\nValueError: x\n']
)
def test_a_program_that_has_ended_may_not_go_on_for_ever(raised: str) -> None:
    policy = Policy(grace_s=7, restarts=dict.fromkeys(Policy().restarts, 0))
    run = started(policy)
    run.trains(*TRAINERS)
    run.finished(*TRAINERS)
    run.report("chief:0", protocol.Leaving(threads=("pusher",)))
    run.after(6.9)
    assert not run.stops()
    run.after(0.1)
    assert run.stops() == ["chief:0"]
    body = protocol.Exited(task="chief:0", attempt=1, exit_code=None, signal=9, stopped=True, raised=raised)
    run.told(body)
    assert run.record("chief:0").state is (TaskState.FAILED if raised else TaskState.SUCCEEDED)
    if not raised:
        assert any("thread pusher goes on" in message for message in warnings(run))
        assert end(run, "worker:0", "worker:1").outcome is Outcome.SUCCEEDED


def test_an_evaluation_that_never_ends_is_named() -> None:
    run = started(Policy(evaluator_drain_s=9))
    run.trains(*TRAINERS)
    run.report("evaluator:0", protocol.Doing(what="evaluate"))
    run.finished(*TRAINERS)
    for task in TRAINERS:
        run.exits(task)
    run.after(9)
    ended = run.end_stopping()
    assert ended.outcome is Outcome.TIMED_OUT and ended.cause is not None
    assert "this evaluation never ends" in ended.cause.message and "steps=" in ended.cause.advice


def test_a_trainer_that_evaluates_for_ever_after_training_is_bounded_too() -> None:
    run = started(Policy(evaluator_drain_s=9))
    run.trains(*TRAINERS)
    run.finished(*TRAINERS)
    run.report("chief:0", protocol.Doing(what="evaluate"))
    run.after(9)
    ended = run.end_stopping()
    assert ended.outcome is Outcome.TIMED_OUT and ended.cause is not None and ended.cause.task == "chief:0"


def test_a_trainer_with_an_estimator_has_its_time_from_the_opening_of_the_gate() -> None:
    run = Run(make_plan(policy=Policy(start_timeout_s=60))).begin()
    run.started("ps:0", *TRAINERS, "evaluator:0")
    run.report("chief:0", protocol.Uses(what="estimator"))
    run.after(50)
    run.listening("ps:0")
    run.after(59)
    assert run.state.outcome is Outcome.SUCCEEDED
    run.after(1)
    ended = run.end_stopping()
    assert ended.outcome is Outcome.TIMED_OUT and ended.cause is not None
    assert ended.cause.task == "chief:0" and "opened its session" in ended.cause.message
