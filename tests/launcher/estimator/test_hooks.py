"""The hooks by themselves, with a session and a graph that are not TensorFlow's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.reporting.heartbeat import Pace, numeric
from launcher.estimator.adjustments.sessions.termination import SaveOnTerm
from launcher.estimator.adjustments.sessions.trainer import Trainer
from launcher.estimator.channel import Channel
from launcher.estimator.task import Task, Training
from launcher.wire.protocol import StopTraining


class Context:
    """A SessionRunContext."""

    stopped = False

    def request_stop(self) -> None:
        self.stopped = True


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    before = signal.getsignal(signal.SIGTERM)
    training = Training(name="/model#1", model_dir="/model")
    monitored = SimpleNamespace(_hooks=())
    yield Trainer(task=Task(channel=Channel(path=None)), training=training, monitored=monitored, is_chief=True)
    signal.signal(signal.SIGTERM, before)


def stops(hook: SaveOnTerm) -> bool:
    context = Context()
    hook.after_run(context, None)
    return context.stopped


def term() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_term_stops_at_the_next_step_and_the_second_does_what_it_did(trainer: Trainer) -> None:
    hook = SaveOnTerm(trainer)
    before = signal.getsignal(signal.SIGTERM)
    hook.after_create_session(None, None)
    assert signal.getsignal(signal.SIGTERM) is not before
    assert not stops(hook)
    term()
    assert stops(hook)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_handler_goes_with_the_session(trainer: Trainer) -> None:
    hook = SaveOnTerm(trainer)
    before = signal.getsignal(signal.SIGTERM)
    hook.after_create_session(None, None)
    hook.after_create_session(None, None)  # a recovery
    hook.closed()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_handler_of_the_script_is_called_each_time(trainer: Trainer) -> None:
    calls: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    hook = SaveOnTerm(trainer)
    hook.after_create_session(None, None)
    term()
    assert stops(hook)
    term()
    assert calls == [signal.SIGTERM, signal.SIGTERM]


def test_a_script_that_ignores_term_goes_on_ignoring_it(trainer: Trainer) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hook = SaveOnTerm(trainer)
    hook.after_create_session(None, None)
    term()
    assert not stops(hook)


def test_the_launcher_may_stop_training_too(trainer: Trainer) -> None:
    hook = SaveOnTerm(trainer)
    assert not stops(hook)
    trainer.task.channel.stop = StopTraining(reason="deadline")
    assert stops(hook)


def test_metrics_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    metrics: dict[str, Any] = {
        "loss": numpy.float32(0.5),
        "global_step": numpy.int64(7),
        "plain": 3,
        "nan": float("nan"),
        "image": b"png",
        "matrix": numpy.zeros([2, 2]),
        "text": "x",
    }
    assert numeric(metrics) == {"loss": 0.5, "global_step": 7.0, "plain": 3.0, "nan": None}


def fetches(pace: Pace, steps_per_s: float, *, until: int) -> list[int]:
    """The steps at which a trainer of that speed fetches the global step."""
    found, step, due_at = [], 0, 0.0
    while step < until:
        step += 1
        now = step / steps_per_s
        if now >= due_at:
            found.append(step)
            due_at = now + pace.wait_s(step, now)
    return found


def test_steps_are_fetched_once_a_second() -> None:
    assert fetches(Pace(()), 100.0, until=450) == [1, 101, 201, 301, 401]


@pytest.mark.parametrize("steps_per_s", [0.1, 7.0, 900.0])
def test_steps_that_are_waited_for_are_found_in_time(steps_per_s: float) -> None:
    found = fetches(Pace((2600, 200)), steps_per_s, until=5000)
    for wanted in (200, 2600):
        assert next(step for step in found if step >= wanted) <= wanted + max(3, steps_per_s / 100)
    if steps_per_s > 100:
        assert len(found) < 60


def test_patches_are_put_back_in_reverse() -> None:
    class Owner:
        def value(self) -> int:
            return 1

    original = Owner.value
    patches = Patches()
    patches.wrap(Owner, "value", lambda inner, self: inner(self) + 1)
    patches.wrap(Owner, "value", lambda inner, self: inner(self) * 10)
    assert Owner().value() == 20
    patches.undo()
    assert Owner.value is original
    with pytest.raises(AttributeError):
        patches.set(Owner, "renamed", None)
