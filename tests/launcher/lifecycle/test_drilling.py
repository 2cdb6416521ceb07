"""Fault drills: when each is carried out, by what, and what is said about it afterwards."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from launcher import lifecycle
from launcher.lifecycle import SignalTask, TellTask
from launcher.record import events
from launcher.record.states import Outcome, StopHow
from launcher.spec import drills
from launcher.spec.policy import DEFAULT_RESTARTS, Policy
from launcher.wire import protocol
from launcher.wire.roles import Role, TaskId
from tests.launcher.lifecycle.test_lifecycle import ALL, ONE_OF_EACH, Run, make_plan

KILL, STOP, CONT = int(signal.SIGKILL), int(signal.SIGSTOP), int(signal.SIGCONT)


def drilled(*inject: str, adjustments: tuple[str, ...] = ALL, policy: Policy | None = None) -> Run:
    return Run(replace(make_plan(adjustments=adjustments, policy=policy), inject=inject))


def signals(run: Run) -> list[tuple[str, int]]:
    return [(item.task.name, item.signal) for item in run.actions if isinstance(item, SignalTask)]


def told(run: Run, kind: type[events.RunEvent]) -> list[events.RunEvent]:
    return [item.event for item in run.actions if isinstance(item, lifecycle.Record) and isinstance(item.event, kind)]


def warnings(run: Run) -> list[str]:
    return [event.message for event in told(run, events.Noticed) if isinstance(event, events.Noticed)]


def step(run: Run, task: str, at: int) -> None:
    run.report(task, protocol.Step(global_step=at, local_steps=1))


def test_a_kill_at_a_step_comes_once_when_anybody_has_reached_it() -> None:
    run = drilled("kill ps:0 at step 50").until_training()
    step(run, "chief:0", 49)
    assert signals(run) == []
    step(run, "worker:1", 52)
    assert signals(run) == [("ps:0", KILL)]
    fired = events.DrillFired(fault="kill ps:0 at step 50", task="ps:0", global_step=52, number=0)
    assert told(run, events.DrillFired) == [fired]
    run.exits("ps:0", None, signal=9)
    run.started("ps:0")
    run.listening("ps:0")
    step(run, "chief:0", 60)
    assert len(signals(run)) == 1


def test_seconds_count_from_when_the_task_is_ready() -> None:
    run = drilled("kill chief:0 after 5s").begin()
    run.started(*ONE_OF_EACH)
    run.listening("ps:0")
    run.report("chief:0", protocol.Uses(what=protocol.ESTIMATOR))
    run.after(100)
    run.report("chief:0", protocol.Ready(global_step=0))
    assert run.lifecycle.next_wakeup() == run.now + 5
    run.after(4)
    assert signals(run) == []
    run.after(1)
    assert signals(run) == [("chief:0", KILL)]


@pytest.mark.parametrize("uses", ["", protocol.TENSORFLOW])
def test_seconds_count_from_the_start_of_what_is_not_known_to_train(uses: str) -> None:
    run = drilled("kill chief:0 after 5s").begin()
    run.started(*ONE_OF_EACH)
    if uses:
        run.report("chief:0", protocol.Uses(what=uses))
    run.after(4)
    assert signals(run) == []
    run.after(1)
    assert signals(run) == [("chief:0", KILL)]


def test_seconds_count_from_the_start_where_tasks_do_not_report() -> None:
    run = drilled("kill worker:0 after 5s", adjustments=()).begin()
    run.started("ps:0")
    run.listening("ps:0")
    run.started("worker:0")
    run.after(5)
    assert signals(run) == [("worker:0", KILL)]


def test_a_drill_waits_until_its_task_runs() -> None:
    run = drilled("kill worker:0 at step 50").until_training()
    run.exits("worker:0", None, signal=9)
    step(run, "chief:0", 60)
    assert signals(run) == []
    run.started("worker:0")
    assert signals(run) == [("worker:0", KILL)]


def test_two_kills_of_one_task_hit_two_attempts() -> None:
    run = drilled("kill worker:0 at step 50", "kill worker:0 at step 50").until_training()
    step(run, "chief:0", 60)
    assert len(signals(run)) == 1
    run.exits("worker:0", None, signal=9)
    run.started("worker:0")
    assert signals(run) == [("worker:0", KILL)] * 2
    assert [event.number for event in told(run, events.DrillFired) if isinstance(event, events.DrillFired)] == [0, 1]


def test_exit_is_asked_of_the_task_itself() -> None:
    run = drilled("exit chief:0 with 3 at step 50").until_training()
    step(run, "worker:0", 50)
    assert TellTask(task=TaskId.parse("chief:0"), message=protocol.ExitNow(code=3)) in run.actions
    assert signals(run) == []


def test_a_task_that_does_not_listen_is_not_made_to_exit_and_that_is_said() -> None:
    run = drilled("exit ps:0 with 3 after 1s").until_training()
    run.after(5)
    assert told(run, events.DrillFired) == []
    run.happen(lifecycle.StopAsked, how=StopHow.KILL)
    run.end_stopping()
    assert any("ps:0 does not listen" in text for text in warnings(run))


def test_a_pause_ends_by_itself() -> None:
    run = drilled("pause worker:1 for 20s at step 50").until_training()
    step(run, "chief:0", 50)
    assert signals(run) == [("worker:1", STOP)]
    assert run.lifecycle.next_wakeup() == run.now + 20
    run.after(20)
    assert signals(run) == [("worker:1", STOP), ("worker:1", CONT)]
    assert told(run, events.DrillOver) == []
    run.now += 0.5
    step(run, "worker:1", 70)
    (over,) = told(run, events.DrillOver)
    fault = "pause worker:1 for 20s at step 50"
    assert over == events.DrillOver(fault=fault, number=0, task="worker:1", recovered_s=20.5)
    assert told(run, events.Recovered) == [], "nothing died"


def test_a_paused_ps_is_back_when_the_trainers_do_steps() -> None:
    run = drilled("pause ps:0 for 4s at step 50").until_training()
    step(run, "chief:0", 50)
    run.after(4)
    run.now += 1
    step(run, "chief:0", 51)
    step(run, "worker:0", 51)
    assert told(run, events.DrillOver) == []
    step(run, "worker:1", 52)
    assert [getattr(event, "recovered_s", None) for event in told(run, events.DrillOver)] == [5.0]


def test_of_two_pauses_the_longer_one_counts() -> None:
    run = drilled("pause worker:1 for 20s at step 50", "pause worker:1 for 5s at step 50").until_training()
    step(run, "chief:0", 50)
    run.after(5)
    assert ("worker:1", CONT) not in signals(run)
    run.after(15)
    assert signals(run).count(("worker:1", CONT)) == 1


@pytest.mark.parametrize("how", ["interrupt", "terminate", "hangup", "kill"])
def test_a_paused_task_goes_on_when_the_run_is_to_end(how: str) -> None:
    run = drilled("pause chief:0 for 1000s at step 50").until_training()
    step(run, "worker:0", 50)
    run.happen(lifecycle.StopAsked, how=StopHow(how))
    assert signals(run)[-1] == ("chief:0", CONT)


def test_a_paused_task_goes_on_when_it_is_restarted_by_hand() -> None:
    run = drilled("pause worker:1 for 1000s at step 50").until_training()
    step(run, "chief:0", 50)
    run.happen(lifecycle.RestartAsked, task=TaskId.parse("worker:1"))
    assert signals(run)[-1] == ("worker:1", CONT)


def test_a_successor_of_a_paused_task_is_not_signalled() -> None:
    run = drilled("pause worker:1 for 20s at step 50").until_training()
    step(run, "chief:0", 50)
    run.exits("worker:1", None, signal=9)
    run.started("worker:1")
    run.after(20)
    assert signals(run) == [("worker:1", STOP)]


def test_what_a_death_caused_is_told_when_it_is_made_good() -> None:
    run = drilled("kill ps:0 at step 50").until_training()
    for task in ("chief:0", "worker:0", "worker:1"):
        step(run, task, 50)
    run.now += 0.2
    run.exits("ps:0", None, signal=9)
    run.started("ps:0")
    run.listening("ps:0")
    run.now += 2
    run.report("chief:0", protocol.Ready(global_step=20))
    for task in ("chief:0", "worker:0", "worker:1"):
        step(run, task, 25)
    (over,) = told(run, events.DrillOver)
    assert isinstance(over, events.DrillOver)
    assert (over.detected_s, over.recovered_s, over.steps_rolled_back) == (0.2, 2.2, 30)


def test_what_is_never_made_good_is_told_too() -> None:
    policy = Policy(restarts={**DEFAULT_RESTARTS, Role.WORKER: 0})
    run = drilled("kill worker:1 at step 50", policy=policy).until_training()
    step(run, "chief:0", 50)
    run.now += 0.5
    run.exits("worker:1", None, signal=9)
    (over,) = told(run, events.DrillOver)
    assert isinstance(over, events.DrillOver)
    assert (over.detected_s, over.recovered_s) == (0.5, None)


def test_a_drill_that_no_restart_mends_is_named_as_the_cause() -> None:
    run = drilled("kill chief:0 at step 50", policy=Policy(restarts=dict.fromkeys(Role, 0))).until_training()
    step(run, "worker:0", 50)
    run.exits("chief:0", None, signal=9)
    end = run.end_stopping()
    assert end.cause is not None and end.cause.task == "chief:0" and "by a fault drill" in end.cause.message
    assert "'kill chief:0 at step 50'" in end.cause.advice


def test_a_drill_that_never_comes_is_said_and_changes_no_outcome() -> None:
    run = drilled("kill worker:1 at step 5000", "kill ps:0 after 9999s").until_training()
    run.finished("worker:0", "worker:1", "chief:0")
    for task in ("worker:0", "worker:1", "chief:0", "evaluator:0"):
        run.exits(task, 0)
    assert run.end_stopping().outcome is Outcome.SUCCEEDED
    assert [text.partition(" was not carried out: ")[2] for text in warnings(run)] == [
        "the run ended before that, at step 100"
    ] * 2


@pytest.mark.parametrize("text", ["kill ps:0 at step 1", "pause ps:0 for 1s at step 1", "exit ps:0 with 1 at step 1"])
def test_nothing_is_drilled_in_a_run_that_is_being_stopped(text: str) -> None:
    run = drilled(text).begin()
    run.started(*ONE_OF_EACH)
    run.listening("ps:0")
    run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    step(run, "chief:0", 5)
    assert told(run, events.DrillFired) == []


def test_a_plan_says_which_drills_cannot_be_carried_out() -> None:
    inject = ("kill ps:0 at step 5", "exit chief:0 with 3 after 1s", "kill worker:0 after 5s")
    assert drills.notes(inject, reports=True) == ()
    of_step, of_exit = drills.notes(inject, reports=False)
    assert "'kill ps:0 at step 5' is never carried out" in of_step and "use kill" in of_exit


def test_steps_that_trainers_are_to_report_at_once() -> None:
    inject = ("kill ps:0 at step 500", "exit chief:0 with 3 after 1s", "pause ps:0 for 1s at step 20")
    assert drills.steps_of(inject) == (20, 500)
