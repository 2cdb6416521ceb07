"""Evaluations are read from event files, as they come, without a word of the past."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


_numbers = itertools.count()


class Writer:
    """Writes what ``Estimator.evaluate`` writes."""

    def __init__(self, folder: Path) -> None:
        from jobs._tf import tf

        with tf.Graph().as_default():
            self._writer = tf.compat.v1.summary.FileWriter(str(folder), filename_suffix=f".{next(_numbers)}")
        self._tf = tf

    def add(self, step: int, **metrics: float) -> None:
        values = [self._tf.compat.v1.Summary.Value(tag=tag, simple_value=value) for tag, value in metrics.items()]
        self._writer.add_summary(self._tf.compat.v1.Summary(value=values), step)
        self._writer.flush()

    def add_graph(self) -> None:
        with self._tf.Graph().as_default() as graph:
            self._tf.constant(1.0)
        self._writer.add_graph(graph)


def log_of(*arguments: Any) -> Any:
    from launcher.estimator.training.evaluations import EvaluationLog

    return EvaluationLog(*map(str, arguments[:1]), *arguments[1:])


def found(log: Any) -> dict[int, dict[str, float]]:
    return {evaluation.step: dict(evaluation.metrics) for evaluation in log.read()}


def test_they_are_read_as_they_come(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    assert found(log) == {}
    writer = Writer(tmp_path / "eval")
    writer.add_graph()
    writer.add(100, auc=0.5, loss=2.0)
    assert found(log) == {100: {"auc": 0.5, "loss": 2.0}}
    writer.add(200, auc=0.75)
    Writer(tmp_path / "eval").add(100, auc=0.25)  # a second evaluator's file: the later one counts
    assert found(log) == {100: {"auc": 0.25, "loss": 2.0}, 200: {"auc": 0.75}}


def test_half_a_record_is_read_when_it_is_whole(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "eval")
    writer.add(100, auc=0.5)
    writer.add(200, auc=0.75)
    (file,) = (tmp_path / "eval").iterdir()
    whole = file.read_bytes()
    log = log_of(tmp_path)
    for length in range(len(whole) - 40, len(whole)):
        file.write_bytes(whole[:length])
        assert found(log) == {100: {"auc": 0.5}}
    file.write_bytes(whole)
    assert found(log) == {100: {"auc": 0.5}, 200: {"auc": 0.75}}


def test_the_past_is_passed_over(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "eval")
    writer.add(100, auc=0.5)
    past = log_of(tmp_path).sizes()
    writer.add(200, auc=0.75)
    Writer(tmp_path / "eval").add(300, auc=1.0)
    assert found(log_of(tmp_path, None, past)) == {200: {"auc": 0.75}, 300: {"auc": 1.0}}


def test_a_named_evaluation_is_found(tmp_path: Path) -> None:
    from launcher.estimator.training.evaluations import SeveralEvaluationsError

    Writer(tmp_path / "eval_held_out").add(100, auc=0.5)
    assert found(log_of(tmp_path)) == {100: {"auc": 0.5}}
    Writer(tmp_path / "eval_other").add(100, auc=0.75)
    with pytest.raises(SeveralEvaluationsError, match=r"eval_held_out, .*eval_other: name the one that counts"):
        log_of(tmp_path).read()
    assert found(log_of(tmp_path, str(tmp_path / "eval_other"))) == {100: {"auc": 0.75}}
    Writer(tmp_path / "eval").add(100, auc=1.0)
    assert found(log_of(tmp_path)) == {100: {"auc": 1.0}}
