"""What is said when a dead task trains again: from when it counts, who is waited for, what was rolled back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher import lifecycle
from launcher.lifecycle.state.deadlines import SILENT_S
from launcher.record import events
from launcher.record.states import StopHow
from launcher.spec.policy import Policy
from launcher.wire import protocol
from launcher.wire.roles import Role
from tests.launcher.lifecycle.test_lifecycle import ALL, Run, make_plan


def recoveries(run: Run) -> list[events.Recovered]:
    told = [item.event for item in run.actions if isinstance(item, lifecycle.Record)]
    return [event for event in told if isinstance(event, events.Recovered)]


def dies(run: Run, task: str, *, since_s: float = 0.0) -> None:
    attempt = run.record(task).attempt.number
    run.told(protocol.Exited(task=task, attempt=attempt, exit_code=None, signal=9, since_s=since_s))


def steps(run: Run, task: str, step: int) -> None:
    run.report(task, protocol.Step(global_step=step, local_steps=1))


def test_a_worker_has_recovered_when_it_trains() -> None:
    run = Run(make_plan()).until_training()
    run.now += 0.25
    dies(run, "worker:0", since_s=0.25)
    run.started("worker:0")
    run.now += 1
    run.report("worker:0", protocol.Ready(global_step=10))
    assert recoveries(run) == []
    run.now += 1
    steps(run, "worker:0", 12)
    assert recoveries(run) == [events.Recovered(task="worker:0", attempt=2, detected_s=0.25, recovered_s=2.25)]
    run.now += 1
    steps(run, "worker:0", 13)
    assert len(recoveries(run)) == 1


def test_a_ps_has_recovered_when_everybody_trains_who_did_before() -> None:
    run = Run(make_plan()).until_training()
    steps(run, "worker:1", 80)
    dies(run, "ps:0")
    run.started("ps:0")
    run.now += 1
    run.listening("ps:0")
    run.now += 1
    run.report("chief:0", protocol.Ready(global_step=30))
    steps(run, "chief:0", 31)
    steps(run, "worker:0", 32)
    assert recoveries(run) == []
    run.now += 2
    steps(run, "worker:1", 40)
    assert recoveries(run) == [
        events.Recovered(task="ps:0", attempt=2, detected_s=0.0, recovered_s=4.0, steps_rolled_back=50)
    ]


@pytest.mark.parametrize("end", ["finishes", "is dead itself", "has failed"])
def test_a_ps_does_not_wait_for_who_will_not_train(end: str) -> None:
    restarts = {role: 0 if end == "has failed" and role is Role.WORKER else 3 for role in Role}
    run = Run(make_plan(policy=Policy(restarts=restarts))).until_training()
    dies(run, "ps:0")
    run.started("ps:0")
    run.now += 1
    run.listening("ps:0")
    run.report("chief:0", protocol.Ready(global_step=10))
    steps(run, "chief:0", 11)
    steps(run, "worker:0", 12)
    assert recoveries(run) == []
    if end == "finishes":
        run.finished("worker:1", step=90)
    else:
        dies(run, "worker:1")
    assert [event.task for event in recoveries(run)] == ["ps:0"]


def test_a_ps_is_not_back_before_a_chief_has_filled_it() -> None:
    run = Run(make_plan()).until_training()
    for task in ("ps:0", "chief:0", "worker:0", "worker:1"):
        dies(run, task)
    run.after(1)
    run.started("ps:0", "chief:0")
    run.listening("ps:0")
    assert recoveries(run) == []
    run.report("chief:0", protocol.Ready(global_step=4))
    assert [(event.task, event.steps_rolled_back) for event in recoveries(run)] == [("ps:0", 6)]


@pytest.mark.parametrize(("resumed_at", "rolled_back"), [(70, 0), (20, 40), (None, 0)])
def test_a_chief_says_where_training_goes_on(resumed_at: int | None, rolled_back: int) -> None:
    """Workers train on while the chief is away: that is lost, too, if it restores."""
    run = Run(make_plan()).until_training()
    dies(run, "chief:0")
    run.started("chief:0")
    steps(run, "worker:0", 60)
    run.report("chief:0", protocol.Ready(global_step=resumed_at))
    steps(run, "chief:0", 71)
    assert [(event.task, event.steps_rolled_back) for event in recoveries(run)] == [("chief:0", rolled_back)]


def test_a_chief_is_back_when_those_who_wait_for_its_session_are() -> None:
    run = Run(make_plan()).until_training()
    dies(run, "chief:0")
    run.report("worker:1", protocol.Waiting(what="session"))
    run.started("chief:0")
    run.now += 3
    run.trains("chief:0", step=20)
    assert recoveries(run) == []
    run.report("worker:1", protocol.Waiting(what=""))
    run.now += 1
    steps(run, "worker:1", 25)
    assert [(event.task, event.recovered_s) for event in recoveries(run)] == [("chief:0", 4.0)]


def test_an_evaluator_is_back_when_it_is_ready() -> None:
    run = Run(make_plan()).until_training()
    run.report("evaluator:0", protocol.Ready())
    dies(run, "evaluator:0")
    run.started("evaluator:0")
    run.now += 2
    run.report("evaluator:0", protocol.Ready())
    assert [(event.task, event.recovered_s) for event in recoveries(run)] == [("evaluator:0", 2.0)]


def test_who_dies_again_before_that_has_one_outage() -> None:
    run = Run(make_plan()).until_training()
    dies(run, "worker:0", since_s=0.5)
    run.started("worker:0")
    run.now += 1
    dies(run, "worker:0", since_s=0.1)
    run.after(1)
    run.started("worker:0")
    run.now += 1
    run.trains("worker:0", step=20)
    assert recoveries(run) == [events.Recovered(task="worker:0", attempt=3, detected_s=0.5, recovered_s=3.5)]


def test_a_worker_that_finds_nothing_left_to_do_has_recovered() -> None:
    run = Run(make_plan()).until_training()
    dies(run, "worker:0")
    run.started("worker:0")
    run.report("worker:0", protocol.Ready(global_step=100))
    run.report("worker:0", protocol.Finished(global_step=100, local_steps=0))
    assert [event.task for event in recoveries(run)] == ["worker:0"]


@pytest.mark.parametrize(("adjustments", "after_s"), [((), 0.0), (ALL, SILENT_S)], ids=["cannot say", "says nothing"])
@pytest.mark.parametrize("task", ["worker:0", "evaluator:0", "ps:0"])
def test_a_task_that_says_nothing_of_what_it_does_is_back_when_it_runs(
    task: str, adjustments: tuple[str, ...], after_s: float
) -> None:
    run = Run(make_plan(adjustments=adjustments)).begin()
    run.started("ps:0", "evaluator:0")
    run.listening("ps:0")
    run.started("chief:0", "worker:0", "worker:1")
    dies(run, task)
    run.after(1)
    run.started(task)
    if task == "ps:0":
        run.listening(task)
        after_s = 0.0
    run.after(after_s)
    assert [(event.task, event.recovered_s) for event in recoveries(run)] == [(task, 1 + after_s)]


def test_a_pause_of_a_task_that_says_nothing_is_over_when_it_goes_on() -> None:
    run = Run(replace(make_plan(), inject=("pause worker:0 for 5s after 3s",))).begin()
    run.started("ps:0", "chief:0", "worker:0", "worker:1")
    run.after(3)
    run.after(5)
    over = [item.event for item in run.actions if isinstance(item, lifecycle.Record)]
    assert [event.recovered_s for event in over if isinstance(event, events.DrillOver)] == [5.0]


def test_no_recovery_of_what_never_comes_back() -> None:
    run = Run(make_plan()).until_training()
    dies(run, "worker:0")
    run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    run.happen(lifecycle.StopAsked, how=StopHow.KILL)
    run.end_stopping()
    assert recoveries(run) == [] and not run.state.outages
