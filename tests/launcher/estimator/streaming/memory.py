"""The queue's cells in memory, and sessions that train from them: everything but TensorFlow is real."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.estimator.channel import Channel
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.queue import queue as queues
from launcher.estimator.streaming.queue.cells import CLOSED
from launcher.estimator.streaming.queue.feeding import Feeder, ListFeeder
from launcher.estimator.streaming.queue.numbers import Source
from launcher.estimator.streaming.queue.queue import Queue
from launcher.estimator.streaming.queue.session import Graph, Place, Sitting
from launcher.estimator.streaming.reading.leases import Lease
from launcher.estimator.task import Task


class MemoryCells:
    """As ``cells.Cells``. ``fails`` is raised by every access, as when the parameter server is gone."""

    def __init__(self) -> None:
        self.live = self.saved = CLOSED
        self.fails: Exception | None = None
        self._lock = threading.Lock()

    def read(self, session: Any) -> bytes:
        self._check()
        return self.live

    def read_saved(self, session: Any) -> bytes:
        self._check()
        return self.saved

    def swap(self, session: Any, expected: bytes, new: bytes, *, saves: bool = False) -> bool:
        self._check()
        with self._lock:
            if self.live != expected:
                return False
            self.live = new
            self.saved = new if saves else self.saved
            return True

    def restore(self) -> None:
        """What a Saver's restore does to them."""
        with self._lock:
            self.live = CLOSED

    @property
    def queue(self) -> Queue:
        return queues.decode(self.live)

    def _check(self) -> None:
        if self.fails is not None:
            raise self.fails


class MemoryShelf(dict[str, str]):
    def keep(self, name: str, text: str) -> None:
        self[name] = text

    def find(self, name: str) -> str | None:
        return self.get(name)


class NoSession:
    """Stands for a TensorFlow session: nothing is run in it but the iterator's initialiser."""

    def run(self, fetches: Any) -> None:
        pass


class Cluster:
    """Trainers of one queue over shards ``s0``, ``s1``, ... of ``rows`` rows each."""

    def __init__(self, folder: Path, *, shards: int, rows: int, epochs: int = 1, timeout_s: float = 60.0) -> None:
        self.cells = MemoryCells()
        self.folder = folder
        self.rows = rows
        self.timeout_s = timeout_s
        self._shards = [Shard(path=f"s{number}") for number in range(shards)]
        self._epochs = epochs
        self.trainers = 1
        self.shelf = MemoryShelf()
        self._sittings: list[Sitting] = []

    def sitting(self, task: str) -> Sitting:
        """A trainer's process; ``open`` begins a session."""
        place = Place(
            task=task,
            is_chief=task == "chief:0",
            model_dir=str(self.folder),
            folder=self.folder,
            source=Source(epochs=self._epochs, is_folder=False),
            is_audit=True,
            holder_timeout_s=self.timeout_s,
            trainers=self.trainers,
        )
        graph = Graph(cells=self.cells, initializer=None, fetches={})
        sitting = Sitting(place, graph, Task(channel=Channel(path=None)), self._feeder, self.shelf)
        self._sittings.append(sitting)
        return sitting

    def close(self) -> None:
        for sitting in self._sittings:
            sitting.close()

    def _feeder(self) -> Feeder:
        return ListFeeder(self._shards, epochs=self._epochs, seed=1, shelf=self.shelf, notice=lambda _: None)


def take(sitting: Sitting, timeout_s: float = 20.0) -> Lease:
    """The next lease; waits for it."""
    from time import monotonic

    assert sitting.holder is not None
    ends_at = monotonic() + timeout_s
    while monotonic() < ends_at:
        lease = sitting.holder.take()
        if isinstance(lease, Lease):
            return lease
        assert lease is not None, "the input is at its end"
    raise AssertionError("nothing was leased")


def step(sitting: Sitting, rows: Mapping[int, list[int]]) -> None:
    """A finished step with these rows of these leases."""
    leases = [lease for lease, numbers in rows.items() for _ in numbers]
    ids = [number for numbers in rows.values() for number in numbers]
    sitting.trained({"lease": leases, "row": ids, "began": 0.0, "got": 0.0})
