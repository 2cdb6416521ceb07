"""What an event costs, in calls of functions: the same with ten tasks and with hundreds."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import partial

import pytest

from launcher import lifecycle
from launcher.wire import protocol
from tests.launcher.lifecycle.test_lifecycle import Run, make_plan

FEW, MANY = 10, 640


def training(workers: int) -> Run:
    run = Run(make_plan("ps:0", "chief:0", *(f"worker:{number}" for number in range(workers)), "evaluator:0"))
    run.until_training()
    run.lifecycle.next_wakeup()  # as the supervisor asks after each event: what was due at the start is forgotten
    return run


def calls_of(act: Callable[[], object]) -> int:
    """How many functions, of Python and of C, ``act`` calls."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    former = sys.getprofile()
    gc.disable()  # who has asked to hear of collections (hypothesis has) would be counted
    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(former)
        gc.enable()
    return count


def die_and_recover(run: Run) -> None:
    run.exits("worker:3", None, signal=9)
    run.started("worker:3")
    run.trains("worker:3", step=11)


STORIES: dict[str, Callable[[Run], object]] = {
    "a step": lambda run: run.report("worker:3", protocol.Step(global_step=40, local_steps=9)),
    "a death and a recovery": die_and_recover,
    "a checkpoint": lambda run: run.report("chief:0", protocol.CheckpointSaved(global_step=20, path="/m/20")),
    "the clock": lambda run: run.happen(lifecycle.Ticked),
    "the next wake-up": lambda run: run.lifecycle.next_wakeup(),
}


@pytest.mark.parametrize("story", sorted(STORIES))
def test_an_event_costs_the_same_whatever_the_number_of_tasks(story: str) -> None:
    costs = [calls_of(partial(STORIES[story], training(workers))) for workers in (FEW, MANY)]
    assert costs[1] <= costs[0] + 20, costs  # a heap is some levels deeper


def end(run: Run, workers: int) -> None:
    """Everybody finishes, at once; then the run ends."""
    names = ["chief:0", *(f"worker:{number}" for number in range(workers))]
    run.finished(*names)
    for name in names:
        run.exits(name)
    for name in ("evaluator:0", "ps:0"):
        run.exits(name)
    assert run.ended() is not None


def test_the_end_of_a_run_costs_in_proportion_to_its_tasks() -> None:
    costs = [calls_of(partial(end, training(workers), workers)) / workers for workers in (40, MANY)]
    assert costs[1] <= costs[0] * 1.5, costs
