"""A checkpoint that does not fit is refused in words, and nothing is restored from it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.estimator import CheckpointMismatchError
from launcher.estimator.adjustments import adjust
from launcher.estimator.adjustments.start.fitting import LostCheckpointError
from tests.launcher.estimator.small_models import Build, embedding, eval_input_fn, input_fn, model

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


@pytest.fixture(autouse=True)
def preflight() -> Iterator[None]:
    adjust.ensure({"preflight"})
    yield
    adjust.undo()


def refused(build: Build, model_dir: Path) -> str:
    before = sorted(path.name for path in model_dir.iterdir())
    with pytest.raises(CheckpointMismatchError) as caught:
        model(build, model_dir).train(input_fn, steps=1)
    assert sorted(path.name for path in model_dir.iterdir() if "tfevents" not in path.name) == [
        name for name in before if "tfevents" not in name
    ]
    return str(caught.value)


@pytest.mark.parametrize(("old", "new"), [(10, 6), (6, 20)])
def test_another_vocabulary_is_refused(old: int, new: int, tmp_path: Path) -> None:
    model(embedding(old), tmp_path).train(input_fn, steps=2)
    said = refused(embedding(new), tmp_path)
    assert said.startswith("model.ckpt-2 does not fit the model: 2 of another shape (embedding: ")
    assert f"another shape: embedding: [{old}, 4] stored, [{new}, 4] wanted" in said
    assert f"another shape: embedding/Momentum: [{old}, 4] stored, [{new}, 4] wanted" in said
    with pytest.raises(CheckpointMismatchError, match="of another shape"):
        model(embedding(new), tmp_path).evaluate(eval_input_fn)
    with pytest.raises(CheckpointMismatchError, match="of another shape"):
        next(iter(model(embedding(new), tmp_path).predict(eval_input_fn)))


def test_without_it_tensorflow_says_nothing(tmp_path: Path) -> None:
    """Why all this is needed; if it goes red, TensorFlow has got better."""
    adjust.undo()
    model(embedding(10), tmp_path).train(input_fn, steps=2)
    smaller = model(embedding(6), tmp_path)
    smaller.train(input_fn, steps=1)
    assert smaller.get_variable_value("embedding").shape == (10, 4)


def test_another_type_is_refused(tmp_path: Path) -> None:
    model(embedding(6), tmp_path).train(input_fn, steps=1)
    assert "embedding: float32 stored, float64 wanted" in refused(embedding(6, dtype="float64"), tmp_path)


def test_a_new_variable_is_refused_and_a_lost_one_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model(embedding(6), tmp_path / "a").train(input_fn, steps=1)
    assert "2 missing in the checkpoint (extra, and 1 more)" in refused(embedding(6, extra=True), tmp_path / "a")
    model(embedding(6, extra=True), tmp_path / "b").train(input_fn, steps=1)
    logging.getLogger("tensorflow").addHandler(caplog.handler)
    with caplog.at_level(logging.INFO, "tensorflow"):  # a tool in this process may have asked it to be quiet
        model(embedding(6), tmp_path / "b").train(input_fn, steps=1)
    logging.getLogger("tensorflow").removeHandler(caplog.handler)
    assert "has 2 variables that this model does not: extra, extra/Momentum; they are not restored" in caplog.text


def test_a_renamed_variable_is_recognised(tmp_path: Path) -> None:
    model(embedding(6), tmp_path).train(input_fn, steps=1)
    said = refused(embedding(6, name="table"), tmp_path)
    assert "only in the model: table [6, 4] float32" in said
    assert "only in the checkpoint: embedding [6, 4] float32" in said


def test_what_fits_goes_on(tmp_path: Path) -> None:
    for _ in range(2):
        model(embedding(6), tmp_path).train(input_fn, steps=2)
    assert model(embedding(6), tmp_path).evaluate(eval_input_fn)["global_step"] == 4


@pytest.mark.parametrize("text", [None, "", "garbage"])
def test_checkpoints_that_nothing_names_are_not_trained_over(text: str | None, tmp_path: Path) -> None:
    model(embedding(6), tmp_path).train(input_fn, steps=2)
    names = tmp_path / "checkpoint"
    names.unlink() if text is None else names.write_text(text)
    with pytest.raises(LostCheckpointError, match=r"has model\.ckpt-2, but its file 'checkpoint' is gone") as caught:
        model(embedding(6), tmp_path).train(input_fn, steps=2)
    advised = str(caught.value).partition("this line there: ")[2].partition(";")[0]
    names.write_text(advised)
    model(embedding(6), tmp_path).train(input_fn, steps=2)
    assert model(embedding(6), tmp_path).evaluate(eval_input_fn)["global_step"] == 4


def test_the_first_save_of_all_may_have_been_cut_short(tmp_path: Path) -> None:
    model(embedding(6), tmp_path).train(input_fn, steps=1)
    (tmp_path / "checkpoint").unlink()
    for file in tmp_path.glob("model.ckpt-1.*"):
        file.unlink()
    assert list(tmp_path.glob("model.ckpt-0.index"))
    model(embedding(6), tmp_path).train(input_fn, steps=1)


@pytest.mark.parametrize("parts", [1, 3])
def test_a_table_in_parts_is_one_variable(parts: int, tmp_path: Path) -> None:
    def table(rows: int, parts: int) -> Build:
        def build(tf):  # type: ignore[no-untyped-def]
            partitioner = tf.compat.v1.fixed_size_partitioner(parts)
            with tf.compat.v1.variable_scope("", partitioner=partitioner, use_resource=True):
                ones = tf.compat.v1.ones_initializer()
                whole = tf.compat.v1.get_variable("embedding", [rows, 4], initializer=ones)
            return tf.compat.v1.nn.embedding_lookup(whole, [1], partition_strategy="div")

        return build

    model(table(6, 2), tmp_path).train(input_fn, steps=1)
    model(table(6, parts), tmp_path).train(input_fn, steps=1)
    assert "embedding: [6, 4] stored, [9, 4] wanted" in refused(table(9, parts), tmp_path)


def test_savers_of_the_script(tmp_path: Path) -> None:
    """Names of its own, a part of the variables, reshape=True: only what it would restore is looked at."""
    from jobs._tf import tf

    def restore(rows: int, **saver: object) -> None:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            table = tf.compat.v1.get_variable("renamed", [rows, 4], use_resource=True)
            tf.compat.v1.get_variable("other", [rows])
            names = {"embedding": table}
            tf.compat.v1.train.Saver(names, **saver).restore(session, tf.train.latest_checkpoint(str(tmp_path)))

    model(embedding(6), tmp_path).train(input_fn, steps=1)
    restore(6)
    with pytest.raises(CheckpointMismatchError, match=r"1 of another shape \(embedding"):
        restore(10)


def test_what_cannot_be_compared_is_left_to_tensorflow(tmp_path: Path) -> None:
    """Names in a checkpoint of tf.train.Checkpoint are of objects; a file may be gone, or be none."""
    from jobs._tf import tf
    from launcher.estimator.adjustments.start.preflight import check

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable("v", [3], use_resource=True)
        session.run(variable.initializer)
        path = tf.compat.v1.train.Checkpoint(v=variable).save(str(tmp_path / "c"), session=session)
        (tmp_path / "d.index").write_bytes(b"no table")
        for unknown in (path, str(tmp_path / "nothing"), str(tmp_path / "d")):
            assert check(unknown, [variable]) is None
