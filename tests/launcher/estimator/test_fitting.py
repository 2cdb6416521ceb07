"""What is said of a checkpoint that does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher import causes
from launcher.estimator.adjustments.start.fitting import (
    CheckpointMismatchError,
    Stored,
    compare,
    left_out,
    refusal,
    renamed,
)
from launcher.wire.protocol import Exited


def stored(**variables: tuple[list[int | None] | None, str]) -> dict[str, Stored]:
    return {
        name.replace("__", "/"): Stored(shape=None if shape is None else tuple(shape), dtype=dtype)
        for name, (shape, dtype) in variables.items()
    }


F = "float32"


def test_equal_ones_fit() -> None:
    same = stored(a=([10, 4], F), b=([], "int64"))
    differences = compare(graph=same, checkpoint=same)
    assert not differences.forbid_restoring
    assert differences.removed == ()


@pytest.mark.parametrize("shape", [None, [None, 4], [10, None], [None, None]])
def test_a_length_that_is_open_fits(shape: list[int | None] | None) -> None:
    assert not compare(graph=stored(a=(shape, F)), checkpoint=stored(a=([10, 4], F))).forbid_restoring


@pytest.mark.parametrize("shape", [[6, 4], [20, 4], [10], [10, 4, 1], [4, 10], [None], []])
def test_another_shape_does_not(shape: list[int | None]) -> None:
    differences = compare(graph=stored(a=(shape, F)), checkpoint=stored(a=([10, 4], F)))
    assert [name for name, _, _ in differences.reshaped] == ["a"]
    assert differences.forbid_restoring


def test_what_the_checkpoint_has_besides_is_said_and_does_no_harm() -> None:
    differences = compare(graph=stored(a=([1], F)), checkpoint=stored(a=([1], F), old=([2], F)))
    assert not differences.forbid_restoring
    queue = replace(differences, removed=(("streaming/queue", differences.removed[0][1]),))
    assert left_out(queue, "m/model.ckpt-7") == "", "the streaming input takes it over"
    assert left_out(differences, "m/model.ckpt-7") == (
        "m/model.ckpt-7 has 1 variables that this model does not: old; they are not restored"
    )


def test_everything_is_said_in_words() -> None:
    differences = compare(
        graph=stored(emb=([6, 4], F), n=([], "int64"), new__kernel=([3, 2], F), both=([1], F)),
        checkpoint=stored(emb=([10, 4], F), n=([], "int32"), old__kernel=([3, 2], F), both=([1], F)),
    )
    lines = refusal(differences, "/m/model.ckpt-20").splitlines()
    assert lines[0] == (
        "model.ckpt-20 does not fit the model: 1 of another shape (emb: [10, 4] stored, [6, 4] wanted); 1 of another "
        "type (n: int32 stored, int64 wanted); 1 missing in the checkpoint (new/kernel); train in a new model_dir, or "
        "warm-start it from the part that fits"
    )
    assert lines[1:-1] == [
        "  checkpoint: /m/model.ckpt-20 (nothing of it was restored)",
        "  another shape: emb: [10, 4] stored, [6, 4] wanted",
        "  another type: n: int32 stored, int64 wanted",
        "  only in the model: new/kernel [3, 2] float32",
        "  only in the checkpoint: old/kernel [3, 2] float32",
        "  perhaps renamed: new/kernel was old/kernel",
    ]
    assert "--warm-start" in lines[-1] and "new model_dir" in lines[-1]


def test_a_renaming_is_guessed_only_where_it_is_the_only_one() -> None:
    twins = stored(a=([3], F), b=([3], F), c=([4], F))
    olds = stored(x=([3], F), y=([4], F))
    assert renamed(compare(graph=twins, checkpoint=olds)) == (("c", "y"),)


def test_a_thousand_differences_are_not_all_listed() -> None:
    graph = {f"v{i:04}": Stored(shape=(1,), dtype=F) for i in range(1000)}
    text = refusal(compare(graph=graph, checkpoint={}), "m")
    assert text.count("\n") < 30
    assert "1000 missing in the checkpoint (v0000, and 999 more)" in text
    assert "... and 980 more" in text


def test_the_launcher_says_it_as_the_cause() -> None:
    text = refusal(compare(graph=stored(emb=([6, 4], F)), checkpoint=stored(emb=([10, 4], F))), "/m/model.ckpt-20")
    name = f"{CheckpointMismatchError.__module__}.{CheckpointMismatchError.__name__}"
    tail = f'Traceback (most recent call last):\n  File "job.py", line 3, in main\n    train()\n{name}: {text}\n'
    cause = causes.of_exit("a", Exited(task="chief:0", attempt=1, exit_code=1, signal=None, tail=tail))
    assert (cause.kind, cause.permanent) == ("checkpoint_mismatch", True)
    assert "model.ckpt-20 does not fit the model: 1 of another shape (emb: [10, 4] stored" in cause.message
    assert "--warm-start" in cause.advice
