"""Programs that are no between-graph training: collectives, coordinators, and evaluators with a loop of their own."""

from __future__ import annotations

import math

import pytest

from launcher import lifecycle
from launcher.lifecycle.state.deadlines import SILENT_S
from launcher.record import events
from launcher.record.states import Outcome, StopHow, TaskState
from launcher.spec.policy import DEFAULT_RESTARTS, Policy, Success
from launcher.wire import protocol
from launcher.wire.roles import Role
from tests.launcher.lifecycle.test_lifecycle import Run, make_plan

MEMBERS = ("chief:0", "worker:0", "worker:1")
SERVING = ("worker:0", "worker:1")


def uses(run: Run, what: str, *tasks: str) -> None:
    for task in tasks:
        run.report(task, protocol.Uses(what=what))


def collective(*names: str, policy: Policy | None = None) -> Run:
    run = Run(make_plan(*(names or MEMBERS), policy=policy)).begin()
    members = [name for name in names or MEMBERS if not name.startswith("evaluator")]
    run.started(*(names or MEMBERS))
    uses(run, protocol.COLLECTIVE, *members)
    run.trains(*members)
    return run


def coordinated(policy: Policy | None = None) -> Run:
    run = Run(make_plan("ps:0", *MEMBERS, policy=policy)).begin()
    run.started("ps:0", *MEMBERS)
    run.listening("ps:0")
    for task in SERVING:
        run.report(task, protocol.Ready())
        run.report(task, protocol.Doing(what=protocol.SERVING))
    uses(run, protocol.COORDINATOR, "chief:0")
    run.trains("chief:0")
    return run


def new_starts(run: Run, number: int = 2) -> list[str]:
    return [task for task, attempt in run.starts() if attempt == number]


def test_a_collective_that_has_lost_a_member_starts_again_together() -> None:
    run = collective()
    run.exits("worker:1", None, signal=9)
    stops = [(item.task.name, item.grace_s) for item in run.actions if isinstance(item, lifecycle.StopTask)]
    assert stops == [("chief:0", 0.0), ("worker:0", 0.0)], "nothing of theirs can be saved"
    run.exits("chief:0", 1)
    assert new_starts(run) == [], "a new member would meet an old one"
    assert run.lifecycle.next_wakeup() > run.now
    run.exits("worker:0", None, signal=9)
    assert sorted(new_starts(run)) == sorted(MEMBERS)
    assert {name: len(run.record(name).past.restarted_at) for name in MEMBERS} == {
        "chief:0": 0,
        "worker:0": 0,
        "worker:1": 1,
    }


def test_a_member_that_has_ended_starts_again_with_the_others() -> None:
    run = collective()
    run.exits("worker:0")
    run.exits("worker:1", None, signal=9)
    run.exits("chief:0", None, signal=9)
    assert sorted(new_starts(run)) == sorted(MEMBERS)


@pytest.mark.parametrize(("success", "goes_on"), [(Success.CHIEF, False), (Success.ALL_WORKERS, True)])
def test_a_member_that_dies_when_the_chief_has_ended(success: Success, goes_on: bool) -> None:
    run = collective(policy=Policy(success=success))
    run.exits("chief:0")
    run.exits("worker:0")
    run.exits("worker:1", None, signal=9)
    assert sorted(new_starts(run)) == (sorted(MEMBERS) if goes_on else [])
    end = run.ended()
    assert end is None if goes_on else end is not None and end.outcome is Outcome.SUCCEEDED


def test_the_member_that_died_is_the_cause_and_not_who_lost_it() -> None:
    run = collective(policy=Policy(restarts={**DEFAULT_RESTARTS, Role.WORKER: 0, Role.CHIEF: 1}))
    run.exits("worker:1", None, signal=9)
    end = run.end_stopping()
    assert end.outcome is Outcome.FAILED and end.cause is not None and end.cause.task == "worker:1"


def test_all_members_of_a_collective_end_after_the_same_step() -> None:
    run = collective()
    run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    run.report("chief:0", protocol.Reached(steps=7))
    run.report("worker:1", protocol.Reached(steps=8))
    assert not [told for told in stops_told(run, "chief:0") if told.after is not None]
    run.report("worker:0", protocol.Reached(steps=7))
    assert [[told.after for told in stops_told(run, name)] for name in MEMBERS] == [[None, 8]] * 3


def stops_told(run: Run, task: str) -> list[protocol.StopTraining]:
    return [told for told in run.told_to(task, protocol.StopTraining) if isinstance(told, protocol.StopTraining)]


def test_who_only_serves_ends_when_the_coordinator_has() -> None:
    run = coordinated()
    run.exits("chief:0")
    assert sorted(run.stops()) == ["ps:0", *SERVING]
    for task in ("ps:0", *SERVING):
        run.exits(task, None, signal=15)
    end = run.ended()
    assert end is not None and end.outcome is Outcome.SUCCEEDED


def test_only_the_coordinator_is_asked_to_end() -> None:
    run = coordinated()
    run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    assert len(run.told_to("chief:0", protocol.StopTraining)) == 1 and not run.stops()
    run.exits("chief:0", 143)
    assert sorted(run.stops()) == ["ps:0", *SERVING]


@pytest.mark.parametrize(
    ("dead", "restarted"),
    [("worker:0", ["worker:0"]), ("ps:0", ["ps:0", *MEMBERS]), ("chief:0", ["ps:0", *MEMBERS])],
)
def test_a_coordinator_survives_its_workers_alone(dead: str, restarted: list[str]) -> None:
    run = coordinated()
    run.exits(dead, None, signal=9)
    for task in run.stops():
        run.exits(task, None, signal=9)
    assert sorted(new_starts(run)) == sorted(restarted)


def test_a_worker_that_serves_does_not_hang() -> None:
    run = coordinated(Policy(hang_timeout_s=50.0))
    assert run.lifecycle.next_wakeup() == run.now + 50.0
    silent = Run(make_plan("ps:0", *MEMBERS, policy=Policy(hang_timeout_s=50.0))).begin()
    silent.started("ps:0", *MEMBERS)
    silent.listening("ps:0")
    uses(silent, protocol.COORDINATOR, "chief:0")
    silent.report("chief:0", protocol.Ready(global_step=0))
    assert silent.lifecycle.next_wakeup() == math.inf, "not every step of such a loop is seen"


def test_an_evaluator_of_its_own_is_ended_when_there_is_nothing_to_evaluate() -> None:
    run = collective(*MEMBERS, "evaluator:0")
    for task in MEMBERS:
        run.exits(task)
    assert run.stops() == ["evaluator:0"]


@pytest.mark.parametrize(
    ("report", "is_last"),
    [
        (protocol.Evaluated(global_step=0, metrics={"loss": 1.0}, checkpoint="/m/ckpt-3"), True),
        (protocol.Evaluated(global_step=30, metrics={"loss": 1.0}), True),
        (protocol.Evaluated(global_step=20, metrics={"loss": 1.0}, checkpoint="/m/ckpt-2"), False),
        (protocol.Waiting(what="checkpoint", done_with="/m/ckpt-3"), True),
        (protocol.Waiting(what="checkpoint", done_with="/m/ckpt-2"), False),
        (protocol.Waiting(what="checkpoint"), False),
    ],
)
def test_an_evaluator_of_its_own_ends_with_the_last_checkpoint(report: protocol.Message, is_last: bool) -> None:
    run = collective(*MEMBERS, "evaluator:0", policy=Policy(evaluator_drain_s=9.0))
    run.report("chief:0", protocol.CheckpointSaved(global_step=30, path="/model/ckpt-3"))
    for task in MEMBERS:
        run.exits(task)
    assert run.stops() == []
    run.report("evaluator:0", report)
    assert (run.stops() == ["evaluator:0"]) is is_last
    run.after(9.0)
    assert run.stops() == ["evaluator:0"]
    warned = [
        item.event
        for item in run.actions
        if isinstance(item, lifecycle.Record) and isinstance(item.event, events.Noticed)
    ]
    assert any("launcher.estimator.evaluated" in notice.message for notice in warned) is not is_last
    end = run.end_stopping()
    assert end.outcome is Outcome.SUCCEEDED


def events_of(run: Run, kind: type[events.Event]) -> list[events.Event]:
    records = [item.event for item in run.actions if isinstance(item, lifecycle.Record)]
    return [event for event in records if isinstance(event, kind)]


def test_an_evaluator_that_trains_is_ended_at_once_and_nobody_waits_for_it() -> None:
    run = collective(*MEMBERS, "evaluator:0")
    uses(run, protocol.COLLECTIVE, "evaluator:0")
    assert run.stops() == [], "it may well evaluate under a strategy"
    uses(run, protocol.TRAINING, "evaluator:0")
    assert run.stops() == ["evaluator:0"]
    assert any("evaluator:0 trains instead" in str(event) for event in events_of(run, events.Noticed))
    run.exits("evaluator:0", signal=9)
    run.report("chief:0", protocol.CheckpointSaved(global_step=30, path="/model/ckpt-3"))
    for task in MEMBERS:
        run.exits(task)
    end = run.ended()
    assert end is not None and end.outcome is Outcome.SUCCEEDED
    reasons = [event.reason for event in events_of(run, events.PhaseChanged) if isinstance(event, events.PhaseChanged)]
    assert reasons[-3:] == ["training is over", "nothing is left to evaluate", ""]


def test_who_is_waited_for_at_the_end_is_said() -> None:
    run = collective(*MEMBERS, "evaluator:0", policy=Policy(evaluator_drain_s=9.0))
    run.report("chief:0", protocol.CheckpointSaved(global_step=30, path="/model/ckpt-3"))
    for task in MEMBERS:
        run.exits(task)
    told = str(events_of(run, events.PhaseChanged)[-1])
    assert "training is over; waiting for evaluator:0, up to 9 s" in told


def test_an_evaluator_that_only_serves_ends_with_training() -> None:
    run = collective(*MEMBERS, "evaluator:0")
    run.report("evaluator:0", protocol.Ready())
    run.report("evaluator:0", protocol.Doing(what=protocol.SERVING))
    run.report("chief:0", protocol.CheckpointSaved(global_step=30, path="/model/ckpt-3"))
    for task in MEMBERS:
        run.exits(task)
    assert run.stops() == ["evaluator:0"]


def test_without_a_chief_the_first_worker_decides() -> None:
    run = collective("worker:0", "worker:1")
    run.exits("worker:0")
    run.exits("worker:1", None, signal=9)
    end = run.ended()
    assert run.record("worker:1").state is TaskState.FAILED
    assert end is not None and end.outcome is Outcome.SUCCEEDED


def test_a_task_that_says_nothing_of_what_it_does_is_running() -> None:
    run = Run(make_plan()).begin()
    run.started("ps:0", "chief:0", "worker:0", "evaluator:0")
    run.after(SILENT_S)
    for task in ("ps:0", "chief:0", "worker:0", "evaluator:0"):
        assert run.record(task).state is TaskState.RUNNING
    assert run.record("worker:1").state is TaskState.STARTING, "its process is not there yet"
    run.listening("ps:0")
    run.trains("chief:0")
    run.report("worker:0", protocol.Finished(global_step=10, local_steps=0))
    assert [run.record(task).state for task in ("ps:0", "chief:0", "worker:0")] == [
        TaskState.READY,
        TaskState.TRAINING,
        TaskState.FINISHED,
    ]


@pytest.mark.parametrize("known", ["connects", "uses", "waits"])
def test_a_task_that_is_known_to_say_more_is_starting(known: str) -> None:
    run = Run(make_plan()).begin()
    run.started("chief:0")
    if known == "connects":
        run.told(protocol.Connected(task="chief:0", attempt=1))
    elif known == "waits":
        run.report("chief:0", protocol.Waiting(what="gate"))
    else:
        uses(run, protocol.ESTIMATOR, "worker:0")  # all run one program
    run.after(SILENT_S)
    assert run.record("chief:0").state is TaskState.STARTING


def test_a_task_that_cannot_say_what_it_does_is_running_at_once() -> None:
    run = Run(make_plan(adjustments=())).begin()
    run.started("ps:0", "evaluator:0")
    assert run.record("evaluator:0").state is TaskState.RUNNING
    assert run.record("ps:0").state is TaskState.STARTING, "its agent will say"


def test_a_silent_start_is_timed_when_it_is_known_to_train() -> None:
    run = Run(make_plan(policy=Policy(start_timeout_s=60))).begin()
    run.started("ps:0", "chief:0")
    run.listening("ps:0")
    run.after(SILENT_S)
    assert run.record("chief:0").state is TaskState.RUNNING
    uses(run, protocol.ESTIMATOR, "chief:0")
    run.after(60)
    assert run.end_stopping().outcome is Outcome.TIMED_OUT
