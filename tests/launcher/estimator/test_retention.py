"""The chief does not delete the checkpoint that the evaluator has taken."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.estimator import task as tasks
from launcher.estimator.adjustments import adjust
from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.saving import retention
from launcher.estimator.channel import Channel
from launcher.estimator.task import Task
from tests.launcher.estimator.small_models import embedding, eval_input_fn, input_fn, model

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


@pytest.fixture
def both_roles() -> Iterator[None]:
    """This process is chief and evaluator at once."""
    patches = Patches()
    task = Task(channel=Channel(path=None), role="evaluator")
    retention.note_what_is_read(patches, task)
    retention.keep_what_is_read(patches, task)
    yield
    patches.undo()


def indexes(model_dir: Path) -> set[str]:
    return {path.stem for path in model_dir.glob("model.ckpt-*.index")}


def train(model_dir: Path, steps: int) -> None:
    every = model(embedding(6), model_dir, save_checkpoints_steps=1, keep_checkpoint_max=2)
    every.train(input_fn, steps=steps)


def test_a_checkpoint_that_is_being_read_outlives_its_turn(tmp_path: Path, both_roles: None) -> None:
    train(tmp_path, 2)
    evaluated = model(embedding(6), tmp_path)
    taken = evaluated.latest_checkpoint()
    assert taken.endswith("model.ckpt-2")
    train(tmp_path, 4)
    assert indexes(tmp_path) == {"model.ckpt-2", "model.ckpt-5", "model.ckpt-6"}
    assert evaluated.evaluate(eval_input_fn, checkpoint_path=taken)["global_step"] == 2


def test_it_goes_when_another_is_taken(tmp_path: Path, both_roles: None) -> None:
    evaluated = model(embedding(6), tmp_path, save_checkpoints_steps=1, keep_checkpoint_max=2)
    seen: list[set[str]] = []

    def look(step: int) -> None:
        seen.append(indexes(tmp_path))
        if step in (2, 5):
            evaluated.latest_checkpoint()

    from jobs._tf import tf

    class Look(tf.compat.v1.train.CheckpointSaverListener):  # type: ignore[misc]
        def after_save(self, session: object, step: int) -> None:
            look(step)

    evaluated.train(input_fn, steps=8, saving_listeners=[Look()])
    assert "model.ckpt-2" in seen[5]
    assert indexes(tmp_path) == {"model.ckpt-5", "model.ckpt-7", "model.ckpt-8"}


def test_without_it_the_checkpoint_is_gone(tmp_path: Path) -> None:
    train(tmp_path, 2)
    train(tmp_path, 4)
    assert indexes(tmp_path) == {"model.ckpt-5", "model.ckpt-6"}


def test_a_checkpoint_that_went_between_look_and_note_is_not_taken(tmp_path: Path, both_roles: None) -> None:
    train(tmp_path, 2)
    evaluated = model(embedding(6), tmp_path)
    noted = tmp_path / retention.NOTE
    estimator = importlib.import_module(retention.ESTIMATOR).Estimator
    original = estimator.latest_checkpoint.__wrapped__
    stale = iter([str(tmp_path / "model.ckpt-0")])
    patches = Patches()
    patches.set(estimator, "latest_checkpoint", lambda self: next(stale, None) or original(self))
    try:
        retention.note_what_is_read(patches, Task(channel=Channel(path=None), role="evaluator"))
        assert evaluated.latest_checkpoint().endswith("model.ckpt-2")
        assert noted.read_text() == "model.ckpt-2"
    finally:
        patches.undo()


def test_an_evaluator_that_ends_takes_its_note_away(tmp_path: Path) -> None:
    train(tmp_path, 2)
    program = """
import os, sys
from launcher.estimator import task as tasks
from launcher.estimator.adjustments import adjust
adjust.apply({"keep-evaluated"}, {"TF_CONFIG": '{"task": {"type": "evaluator", "index": 0}}'})
import tensorflow_estimator.python.estimator.estimator as estimators
model = estimators.Estimator(model_fn=lambda features: None, model_dir=sys.argv[1])
print(os.path.basename(model.latest_checkpoint()), open(f"{sys.argv[1]}/evaluating").read())
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["model.ckpt-2", "model.ckpt-2"], done.stderr
    assert not (tmp_path / retention.NOTE).exists()


def test_only_an_evaluator_takes_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_current", Task(channel=Channel(path=None)))
    adjust.ensure({"keep-evaluated"})
    try:
        train(tmp_path, 2)
        model(embedding(6), tmp_path).latest_checkpoint()
    finally:
        adjust.undo()
    assert not (tmp_path / retention.NOTE).exists()
