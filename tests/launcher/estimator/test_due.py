"""save-look: the saver asks for the global step when a checkpoint may be due, and saves after the same steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.reporting.hook_times import HookTimes
from launcher.estimator.adjustments.saving import due
from launcher.estimator.channel import Channel
from launcher.estimator.task import Task

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


@pytest.fixture(params=["adjusted", "stock"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    patches = Patches()
    if request.param == "adjusted":
        due.look_when_due(patches, Task(channel=Channel(path=None)))
    yield request.param
    patches.undo()


def train(model_dir: Path, rises: list[int], *, own: int | None = None) -> tuple[list[int], int]:
    """Steps at which a saver that saves every ten steps has saved, and how often it has run something itself.
    ``rises``: of the global step, with what others do."""
    import tensorflow as tf

    v1 = tf.compat.v1
    asked: Counter[str] = Counter()

    class Context:
        def __init__(self, context: Any) -> None:
            self._context = context

        @property
        def session(self) -> Any:
            asked["saver"] += 1
            return self._context.session

    class Saver(v1.train.CheckpointSaverHook):  # type: ignore[misc]
        def after_run(self, run_context: Any, run_values: Any) -> None:
            super().after_run(Context(run_context), run_values)

        def _save(self, session: Any, step: Any) -> Any:
            saved.append(int(step))
            return super()._save(session, step)

    saved: list[int] = []
    with tf.Graph().as_default():
        step = v1.train.get_or_create_global_step()
        rise = v1.placeholder(tf.int64, [])
        train_op = step.assign_add(rise)
        hook = Saver(str(model_dir), save_steps=10)
        if own is not None:
            hook._set_steps_per_run(own)
        creator = v1.train.ChiefSessionCreator(checkpoint_dir=str(model_dir))
        with v1.train.MonitoredSession(creator, [hook]) as session:
            for number in rises:
                session.run(train_op, {rise: number})
    return saved, asked["saver"]


def test_it_saves_after_the_same_steps_and_seldom_asks(tmp_path: Path, way: str) -> None:
    saved, asked = train(tmp_path, [1] * 45)
    assert saved == [0, 10, 20, 30, 40, 45]
    # A step may fetch the global step before or after it rises, so that how often it asks is no exact number.
    assert (asked == 45 + 4) if way == "stock" else (asked <= 25), asked


def test_others_may_train_many_steps_meanwhile(tmp_path: Path, way: str) -> None:
    saved, _ = train(tmp_path, [3, 4, 3, 3, 4, 3, 30, 1, 1])
    assert [step for step in saved if step < 20] == [0, 10]
    assert any(20 <= step <= 51 for step in saved) and saved[-1] == 52  # late by a step at most


def test_what_a_program_has_set_stays(tmp_path: Path, way: str) -> None:
    assert train(tmp_path, [1] * 15, own=500_000) == ([0, 10, 15], 15 + 1)


def test_hooks_are_told_of_by_their_class_for_each_step() -> None:
    class Slow:
        def before_run(self, run_context: Any) -> None:
            sum(range(20_000))

        def after_run(self, run_context: Any, run_values: Any) -> None:
            raise RuntimeError

    class Fixed:
        __slots__ = ()

        def before_run(self, run_context: Any) -> None: ...

        def after_run(self, run_context: Any, run_values: Any) -> None: ...

    hook, fixed = Slow(), Fixed()
    HookTimes([fixed, hook])
    times = HookTimes([fixed, hook])  # the session is made again
    for _ in range(4):
        hook.before_run(None)
        with pytest.raises(RuntimeError):
            hook.after_run(None, None)
    whole = times._spent_s["Slow"] * 1e6
    assert times.take() == {"Slow": pytest.approx(whole / 4, abs=0.1)}
    assert times.take() == {}
