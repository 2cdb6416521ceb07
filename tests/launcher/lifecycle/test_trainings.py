"""Several trainings one after the other in one run: what is kept, who is waited for, and what is over."""

from __future__ import annotations

from launcher import lifecycle
from launcher.record import events
from launcher.record.states import Outcome, StopHow, TaskState
from launcher.spec.policy import Policy
from launcher.wire import protocol
from tests.launcher.lifecycle.test_lifecycle import Run, make_plan

FIRST, SECOND = "/m1#1", "/m2#1"


def begins(run: Run, training: str, *tasks: str) -> None:
    for task in tasks:
        run.report(task, protocol.Begun(training=training, model_dir=training.partition("#")[0]))


def trained_once(policy: Policy | None = None) -> Run:
    """The first training has ended, and the chief and the workers are about to go on."""
    run = Run(make_plan(policy=policy or Policy(), max_steps=None)).begin()
    run.told(protocol.Locked(path="/m1"))
    run.started("ps:0", "chief:0", "worker:0", "worker:1", "evaluator:0")
    run.listening("ps:0")
    begins(run, FIRST, "chief:0", "worker:0", "worker:1", "evaluator:0")
    run.trains("chief:0", "worker:0", "worker:1")
    run.finished("chief:0", "worker:0", "worker:1")
    run.report("chief:0", protocol.CheckpointSaved(global_step=100, path="/m1/100"))
    run.report("chief:0", protocol.Ended(training=FIRST, saved=True))
    return run


def barriers(run: Run) -> list[str]:
    return [message.training for message in run.told_to("chief:0", protocol.Barrier)]  # type: ignore[attr-defined]


def test_variables_belong_to_the_training_that_the_chief_has_a_session_in() -> None:
    run = trained_once()
    assert (run.state.generation.gate.training, run.state.generation.gate.over) == (FIRST, (FIRST,))
    begins(run, SECOND, "chief:0")
    assert run.state.generation.gate.training == FIRST, "they are still those of the first"
    run.told(protocol.Locked(path="/m2"))
    run.report("chief:0", protocol.Ready(global_step=0))
    assert (run.state.generation.gate.training, run.state.generation.gate.model_dir) == (SECOND, "/m2")
    assert run.state.generation.gate.variables_alive and run.state.generation.gate.over == (FIRST,)


def test_each_training_has_its_own_barrier() -> None:
    run = trained_once()
    assert barriers(run) == [FIRST]
    begins(run, SECOND, "chief:0", "worker:0", "worker:1")
    run.trains("chief:0", "worker:0")
    run.finished("chief:0", "worker:0")
    assert barriers(run) == [FIRST]
    run.trains("worker:1")
    run.finished("worker:1")
    assert barriers(run) == [FIRST, SECOND]


def test_who_has_not_come_from_the_last_training_is_waited_for_a_while_and_left_alone() -> None:
    run = trained_once(Policy(grace_s=7))
    begins(run, SECOND, "chief:0", "worker:0")
    run.trains("chief:0", "worker:0")
    run.finished("chief:0", "worker:0")
    run.after(6.9)
    assert barriers(run) == [FIRST], "worker:1 may be on its way"
    run.after(0.1)
    assert barriers(run) == [FIRST, SECOND] and not run.stops()


def test_a_worker_that_is_late_for_the_last_step_is_neither_waited_for_nor_ended() -> None:
    run = trained_once(Policy(grace_s=7))
    begins(run, SECOND, "chief:0", "worker:0", "worker:1")
    run.trains("chief:0", "worker:0")
    run.report("chief:0", protocol.MaxSteps(max_steps=50))
    run.finished("chief:0", "worker:0")
    assert barriers(run) == [FIRST, SECOND] and not run.stops()


def test_who_does_something_else_is_not_waited_for() -> None:
    run = trained_once()
    for worker in ("worker:0", "worker:1"):
        run.report(worker, protocol.Doing(what="predict"))
    begins(run, SECOND, "chief:0")
    run.trains("chief:0")
    run.finished("chief:0")
    assert barriers(run) == [FIRST, SECOND]


def test_a_worker_that_predicts_may_do_so_when_the_chief_has_ended() -> None:
    run = trained_once(Policy(grace_s=7))
    run.report("worker:0", protocol.Doing(what="predict"))
    run.exits("chief:0")
    assert run.state.generation.gate.closed
    run.after(8)
    assert run.stops() == ["worker:1"], "it may have trained on, and nobody saves that"
    run.report("worker:0", protocol.Doing(what=""))
    run.exits("worker:0")
    run.exits("worker:1", None, signal=9)
    assert run.end_stopping().outcome is Outcome.SUCCEEDED


def test_the_evaluator_ends_each_training_and_not_the_run() -> None:
    run = trained_once()
    assert [drain.training for drain in run.told_to("evaluator:0", protocol.Drain)] == [FIRST]  # type: ignore[attr-defined]
    begins(run, SECOND, "evaluator:0")
    assert run.record("evaluator:0").state is TaskState.READY
    for task in ("worker:0", "worker:1", "chief:0"):
        run.exits(task)
    drains = run.told_to("evaluator:0", protocol.Drain)
    assert [drain.training for drain in drains] == [FIRST, ""]  # type: ignore[attr-defined]


def test_steps_and_targets_are_those_of_the_present_training() -> None:
    run = trained_once()
    assert run.state.global_step == 100
    begins(run, SECOND, "chief:0")
    run.report("chief:0", protocol.Ready(global_step=0))
    run.report("chief:0", protocol.MaxSteps(max_steps=50))
    run.report("chief:0", protocol.Step(global_step=3, local_steps=103))
    assert (run.state.global_step, run.state.training.max_steps) == (3, 50)
    assert run.record("chief:0").state is TaskState.TRAINING


def test_a_training_that_only_stops_is_not_over() -> None:
    run = Run(make_plan()).until_training()
    begins(run, FIRST, "chief:0")
    run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    run.finished("chief:0", "worker:0", "worker:1")
    run.report("chief:0", protocol.CheckpointSaved(global_step=50, path="/m1/50"))
    run.report("chief:0", protocol.Ended(training=FIRST, saved=True))
    assert run.state.over == ()


def test_what_an_outage_costs_is_counted_in_its_own_training() -> None:
    run = Run(make_plan(max_steps=None)).until_training()
    begins(run, FIRST, "chief:0", "worker:0", "worker:1")
    run.told(protocol.Locked(path="/m1"))
    run.trains("chief:0", "worker:0", "worker:1", step=70)
    run.exits("chief:0", None, signal=9)
    run.finished("worker:0", "worker:1")
    run.started("chief:0")
    begins(run, SECOND, "worker:0", "worker:1")
    for worker in ("worker:0", "worker:1"):
        run.report(worker, protocol.Waiting(what="gate"))
    begins(run, FIRST, "chief:0")
    run.now += 3
    run.trains("chief:0", step=60)
    told = [item.event for item in run.actions if isinstance(item, lifecycle.Record)]
    assert [event.recovered_s for event in told if isinstance(event, events.Recovered)] == [3.0]


def test_a_chief_that_comes_back_is_told_what_is_over() -> None:
    run = trained_once()
    begins(run, SECOND, "chief:0")
    run.told(protocol.Locked(path="/m2"))
    run.report("chief:0", protocol.Ready(global_step=0))
    run.exits("chief:0", None, signal=9)
    run.after(5)
    run.started("chief:0")
    gate = run.state.generation.gate
    assert (gate.over, gate.training, gate.variables_alive) == ((FIRST,), SECOND, True)
    begins(run, FIRST, "chief:0")
    begins(run, SECOND, "chief:0")
    run.report("chief:0", protocol.Ready(global_step=5, kept=True))
    assert run.state.training.name == SECOND
