"""The process that reads for a trainer (see ``reader.py``): serves batches until the trainer closes its input."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, Literal

import tensorflow as tf

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.formats.framing import BadRecord
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.reading.leases import Lease, Pause
from launcher.estimator.streaming.reading.reader_calls import Ended, Failed, Open, Serving, Skipped, Take
from launcher.estimator.streaming.reading.threads import read_by_threads

Call = Callable[[Any], Any]


class RemoteLeases:
    """Leases that the trainer hands out. ``call`` waits for its answer, ``note`` does not."""

    def __init__(self, number: int, call: Call, note: Callable[[Any], None]) -> None:
        self._number = number
        self._call = call
        self._note = note
        call(Open(number=number))

    def take(self, *, opened: int = 0) -> Lease | Literal[Pause.NOTHING_NOW] | None:
        taken: Lease | Literal[Pause.NOTHING_NOW] | None = self._call(Take(number=self._number, opened=opened))
        return taken

    def ended(self, lease: int, rows: int) -> None:
        self._note(Ended(number=self._number, lease=lease, rows=rows))


class Line:
    """The two pipes to the trainer; thread-safe."""

    def __init__(self, calls: Connection, notes: Connection) -> None:
        self._calls, self._calling = calls, threading.Lock()
        self._notes, self._noting = notes, threading.Lock()

    def call(self, message: Any) -> Any:
        """Raises StreamingError with what went wrong in the trainer."""
        with self._calling:
            self._calls.send(message)
            answer = self._calls.recv()
        if isinstance(answer, Failed):
            raise StreamingError(answer.reason)
        return answer

    def note(self, message: Any) -> None:
        with self._noting:
            self._notes.send(message)

    def skipped(self, record: BadRecord) -> None:
        self.note(Skipped(record=record))


def main(calls: int, notes: int) -> None:
    """Serves by these descriptors until standard input ends, which is when the trainer does."""
    pipe = Connection(calls)
    options: ReadingOptions = pipe.recv()
    line, numbers = Line(pipe, Connection(notes)), itertools.count()
    dataset = read_by_threads(
        lambda: RemoteLeases(next(numbers), line.call, line.note), replace(options, on_skipped=line.skipped)
    )
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=0))
    address = dispatcher.target.partition("://")[2]
    _worker = service.WorkerServer(service.WorkerConfig(dispatcher_address=address))
    name = service.register_dataset(dispatcher.target, dataset, compression=None)
    line.note(Serving(address=dispatcher.target, dataset=_text(name)))
    sys.stdin.buffer.read()
    os._exit(0)  # whoever was fed is gone; to take the worker down would wait for threads that want this one's lock


def _text(name: Any) -> str:
    """TensorFlow 2.15 gives a number, newer ones a text."""
    value = name.numpy() if hasattr(name, "numpy") else name
    return value.decode() if isinstance(value, bytes) else str(value)
