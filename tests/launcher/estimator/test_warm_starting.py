"""A new model begins as the part of an old one that fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.estimator import CheckpointMismatchError
from launcher.estimator.adjustments.start.fitting import Stored
from tests.launcher.estimator.small_models import Build, embedding, input_fn, model

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def test_names_are_mapped_one_by_one_and_by_folder() -> None:
    from launcher.estimator.training.warm_starting import match

    form = Stored(shape=(2,), dtype="float32")
    grown = Stored(shape=(3,), dtype="float32")
    wanted = {"a/w": form, "a/w/Adam": form, "tower/b": form, "same": form, "grown": grown}
    stored = {"old/w": form, "old/w/Adam": form, "b": form, "same": form, "grown": form}
    found = match(wanted, stored, {"a/": "old/", "tower/b": "b"})
    assert found.taken == {"a/w": "old/w", "a/w/Adam": "old/w/Adam", "tower/b": "b", "same": "same"}
    assert found.left == {"grown": "[2] float32 stored, [3] float32 wanted"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"embeding": "x"}, "the model has no variable embeding; did you mean embedding?"),
        ({"embedding": "tabel"}, "the checkpoint has no variable tabel; did you mean table?"),
        ({"embedding": "folder/"}, "the checkpoint has no variable folder/"),
    ],
)
def test_a_name_that_is_not_there_is_refused(names: dict[str, str], message: str) -> None:
    from launcher.estimator.training.warm_starting import match

    form = Stored(shape=(2,), dtype="float32")
    with pytest.raises(ValueError) as caught:
        match({"embedding": form}, {"table": form}, names)
    assert message in str(caught.value)


def begun(build: Build, checkpoint: Path, model_dir: Path, **names: str) -> Any:
    """A model of which the first step has been trained, beginning from ``checkpoint``."""
    from launcher.estimator import warm_start

    def build_and_start(tf: Any) -> Any:
        made = build(tf)
        warm_start(str(checkpoint), names=names)
        return made

    new = model(build_and_start, model_dir)
    new.train(input_fn, steps=1)
    return new


def test_what_fits_is_taken_and_a_step_is_counted_from_zero(tmp_path: Path) -> None:
    old = model(embedding(6), tmp_path / "old")
    old.train(input_fn, steps=5)
    value = old.get_variable_value("embedding")
    assert value[1, 0] < 1.0
    new = begun(embedding(6, name="table", extra=True), tmp_path / "old", tmp_path / "new", table="embedding")
    assert new.get_variable_value("global_step") == 1
    assert new.get_variable_value("table")[0] == pytest.approx(value[0])
    assert new.get_variable_value("table")[1, 0] < value[1, 0]


def test_a_table_in_parts_begins_as_a_whole_one(tmp_path: Path) -> None:
    old = model(embedding(6), tmp_path / "old")
    old.train(input_fn, steps=5)

    def parts(tf: Any) -> Any:
        partitioner = tf.compat.v1.fixed_size_partitioner(2)
        with tf.compat.v1.variable_scope("", partitioner=partitioner, use_resource=True):
            whole = tf.compat.v1.get_variable("embedding", [6, 4])
        return tf.compat.v1.nn.embedding_lookup(whole, [1], partition_strategy="div")

    new = begun(parts, tmp_path / "old", tmp_path / "new")
    found = new.get_variable_value("embedding")
    assert found[[0, 2, 3, 4, 5]] == pytest.approx(old.get_variable_value("embedding")[[0, 2, 3, 4, 5]])


def test_nothing_that_fits_and_nothing_that_can_be_read_are_refused(tmp_path: Path) -> None:
    model(embedding(6), tmp_path / "old").train(input_fn, steps=1)
    with pytest.raises(
        CheckpointMismatchError, match=r"nothing of .*model.ckpt-1 fits the model: embedding \(\[6, 4\]"
    ):
        begun(embedding(7), tmp_path / "old", tmp_path / "new")
    with pytest.raises(ValueError, match=r"cannot warm-start from .*: there is no checkpoint that can be read"):
        begun(embedding(6), tmp_path / "nowhere", tmp_path / "new")
