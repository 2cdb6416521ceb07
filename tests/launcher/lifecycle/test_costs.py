"""What a move and a change of size cost: who trained nothing, for how long, and what is trained again."""

from __future__ import annotations

from launcher import lifecycle
from launcher.record import events
from launcher.record.states import StopHow
from launcher.wire import protocol
from tests.launcher.lifecycle.test_moves import Cluster
from tests.launcher.lifecycle.test_roaming import lose, reserved, roaming
from tests.launcher.lifecycle.test_scaling import scale, training


def step(run: Cluster, task: str, global_step: int) -> None:
    run.report(task, protocol.Step(global_step=global_step, local_steps=global_step))


def counted(run: Cluster, duplicates: int) -> None:
    run.report("chief:0", protocol.InputState(examples=1000, duplicates=duplicates, pending=3))


def lost() -> Cluster:
    """Without the host of worker:1, while the others report steps twice a second."""
    run = roaming()
    counted(run, 5)
    for n in range(4):
        run.now += 0.5
        for task in ("chief:0", "worker:0", "worker:1"):
            step(run, task, 50 + n)
    lose(run, "c")
    reserved(run)
    return run


def back(run: Cluster) -> None:
    run.after(0.5)
    run.started("worker:1", "evaluator:0")
    run.report("evaluator:0", protocol.Ready())
    run.trains("worker:1", step=90)


def test_each_trainer_has_its_own_gap_and_the_input_is_counted_afterwards() -> None:
    run = lost()
    for n in range(20):
        run.now += 0.5
        for task in ("chief:0", "worker:0"):
            step(run, task, 60 + n)
    back(run)
    assert run.recorded(events.MoveOver) == [], "what is trained again is not known yet"
    run.now += 0.7
    counted(run, 105)
    (over,) = run.recorded(events.MoveOver)
    assert over.idle_s == {"worker:1": 10.0}, "10.5 s, of which half a second is usual"
    assert over.examples_again == 100


def test_who_has_not_trained_since_counts_up_to_the_end() -> None:
    run = lost()
    run.now += 5.5
    back(run)
    run.after(3.0)
    (over,) = run.recorded(events.MoveOver)
    assert over.idle_s == {"chief:0": 5.5, "worker:0": 5.5, "worker:1": 5.5}
    assert over.examples_again == 0, "the input was not counted again in time"


def test_a_run_that_ends_says_it_before() -> None:
    run = lost()
    run.now += 1.0
    back(run)
    run.happen(lifecycle.StopAsked, how=StopHow.KILL)
    for task in ("chief:0", "worker:0", "worker:1"):
        run.exits(task, None, signal=9)
    assert len(run.recorded(events.MoveOver)) == 1


def test_a_change_of_size_is_over_when_those_who_came_train_and_the_others_have_left() -> None:
    run = training()

    def told() -> list[events.Scaled]:
        recorded = [getattr(action, "event", None) for action in run.actions]
        return [event for event in recorded if isinstance(event, events.Scaled)]

    scale(run, 4)
    run.now += 2.0
    run.started("worker:2", "worker:3")
    run.trains("worker:2", step=50)
    assert told() == []
    run.now += 1.0
    run.trains("worker:3", step=50)
    assert told() == [events.Scaled(before=2, after=4, lasted_s=3.0, idle_s=dict.fromkeys(IDLE, 2.5))]
    run.actions.clear()
    scale(run, 1)
    scale(run, 2)
    run.trains("worker:0", "chief:0", step=60)
    for name in ("worker:1", "worker:2", "worker:3"):
        assert told() == []
        run.exits(name, 0)
    run.started("worker:4")
    run.trains("worker:4", step=70)
    (event,) = told()
    assert (event.before, event.after) == (4, 2)


IDLE = ("chief:0", "worker:0", "worker:1")
