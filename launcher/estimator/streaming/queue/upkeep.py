"""What the chief does for the queue: it feeds it, and takes leases from holders that are gone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from launcher.estimator.streaming.queue import journal as journals
from launcher.estimator.streaming.queue import queue as queues
from launcher.estimator.streaming.queue.feeding import Feeder
from launcher.estimator.streaming.queue.queue import Queue

_log = logging.getLogger("tensorflow")


@dataclass
class Watchman:
    """Knows when each holder last showed a sign of life, by this process's clock."""

    timeout_s: float
    seen: dict[str, tuple[int, float]] = field(default_factory=dict)

    def silent(self, queue: Queue, now: float) -> frozenset[str]:
        """Those of the holders that have not beaten for so long."""
        known = {holder.id: holder.beat for holder in queue.holders}
        self.seen = {name: item for name, item in self.seen.items() if name in known}
        for name, beat in known.items():
            if name not in self.seen or self.seen[name][0] != beat:
                self.seen[name] = (beat, now)
        return frozenset(name for name, (_, at) in self.seen.items() if now - at > self.timeout_s)


class ChiefUpkeep:
    """Of one session: a feeder knows how far the queue of its session is. ``folder``: of the journals."""

    def __init__(self, make_feeder: Callable[[], Feeder], *, timeout_s: float, folder: Path | None) -> None:
        self._make_feeder = make_feeder
        self._feeder: Feeder | None = None
        self._watchman = Watchman(timeout_s=timeout_s)
        self._folder = folder

    def look(self) -> None:
        if self._feeder is None:
            self._feeder = self._make_feeder()
        self._feeder.look()

    def change(self, queue: Queue) -> Queue:
        silent = self._watchman.silent(queue, monotonic())
        if silent:
            queue = self._without(queue, silent)
        assert self._feeder is not None
        return self._feeder.feed(queue)

    def _without(self, queue: Queue, silent: frozenset[str]) -> Queue:
        lost = tuple(held for held in queue.held if held.holder in silent)
        if lost:  # else they have ended in peace
            _log.warning("No sign of life from %s: %d shards go to others.", ", ".join(sorted(silent)), len(lost))
        rows = 0
        if self._folder is not None:
            for name in silent:
                journals.mark_released(self._folder, name, queue.snapshots)
            rows = journals.rows_in_vain(self._folder, lost)
        return queues.repeat(queues.release(queue, silent), rows)
