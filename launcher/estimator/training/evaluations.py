"""The evaluations of a model, read from the event files that ``Estimator.evaluate`` writes.

``_write_dict_to_summary`` in ``tensorflow_estimator/python/estimator/estimator.py`` puts the metrics of one evaluation
into one event of the folder ``eval``, or ``eval_<name>`` with ``EvalSpec(name=...)``. Only what is new is read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from launcher.estimator.training.stopping import Evaluation

_EVENTS = "events.out.tfevents.*"
_HEADER_BYTES = 12
_FOOTER_BYTES = 4


class SeveralEvaluationsError(ValueError):
    """The model is evaluated into several folders, and nobody said which one counts."""


class EvaluationLog:
    """Reads the evaluations below ``model_dir``, in ``eval_dir`` where that is given. ``past``: how much of each file
    is to be passed over, in bytes."""

    def __init__(self, model_dir: str, eval_dir: str | None = None, past: Mapping[str, int] | None = None) -> None:
        self._model_dir = model_dir
        self._eval_dir = eval_dir
        self._offsets: dict[str, int] = dict(past or {})
        self._found: dict[str, dict[int, dict[str, float]]] = {}

    def sizes(self) -> dict[str, int]:
        """Bytes of each event file there is, by its path."""
        return {path: int(tf.io.gfile.stat(path).length) for path in self._files()}

    def read(self) -> tuple[Evaluation, ...]:
        """All evaluations since ``past``, by rising step; of two of one step the later. Raises
        SeveralEvaluationsError."""
        for path in self._files():
            self._read_on(path)
        chosen = self._found.get(self._folder(), {})
        return tuple(Evaluation(step=step, metrics=chosen[step]) for step in sorted(chosen))

    def _folder(self) -> str:
        folders = sorted(self._found)
        if self._eval_dir is not None and folders:
            return folders[0]
        plain = f"{self._model_dir}/eval"
        if plain in folders or not folders:
            return plain
        if len(folders) > 1:
            raise SeveralEvaluationsError(
                f"the model is evaluated in {', '.join(folders)}: name the one that counts by eval_dir="
            )
        return folders[0]

    def _files(self) -> list[str]:
        folders = [self._eval_dir] if self._eval_dir else [f"{self._model_dir}/eval", f"{self._model_dir}/eval_*"]
        return sorted(tf.io.gfile.glob([f"{folder}/{_EVENTS}" for folder in folders]))

    def _read_on(self, path: str) -> None:
        start = self._offsets.get(path, 0)
        try:
            with tf.io.gfile.GFile(path, "rb") as file:
                more = int(file.size()) - start
                if more <= 0:
                    return
                file.seek(start)
                data: bytes = file.read(more)
        except tf.errors.OpError:  # deleted since, or a store that is away; OutOfRangeError would end the training
            return
        folder = str(path).rpartition("/")[0]
        for record, length in _records(data):
            self._offsets[path] = start = start + length
            step, metrics = _evaluation(record)
            if metrics:
                self._found.setdefault(folder, {}).setdefault(step, {}).update(metrics)


def _records(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each whole record, and how many bytes of ``data`` it takes. The last one may still be being written."""
    at = 0
    while at + _HEADER_BYTES <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        end = at + _HEADER_BYTES + length + _FOOTER_BYTES
        if end > len(data):
            return
        yield data[at + _HEADER_BYTES : end - _FOOTER_BYTES], end - at
        at = end


def _evaluation(record: bytes) -> tuple[int, dict[str, float]]:
    event: Any = tf.compat.v1.Event.FromString(record)
    values = event.summary.value if event.HasField("summary") else ()
    metrics = {value.tag: float(value.simple_value) for value in values if value.HasField("simple_value")}
    return int(event.step), metrics
