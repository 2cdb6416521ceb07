"""Changing the queue while others do."""

from __future__ import annotations

from dataclasses import replace

from launcher.estimator.streaming.queue.client import Client, new_token
from launcher.estimator.streaming.queue.queue import Queue, repeat
from tests.launcher.estimator.streaming.memory import MemoryCells, NoSession


def test_another_thread_that_looks_meanwhile_hides_no_change_of_others() -> None:
    """A chief saves in one thread and talks to the queue in another, both through one client."""
    cells = MemoryCells()
    shared, other = Client(cells, NoSession()), Client(cells, NoSession())
    shared.open(lambda _: Queue(token=new_token()))
    tried = []

    def change(queue: Queue) -> Queue:
        if not tried:
            other.update(lambda queue: repeat(queue, 51))
            shared.look()  # as the other thread does
        tried.append(queue)
        return replace(queue, snapshots=queue.snapshots + 1)

    shared.update(change)
    assert (len(tried), cells.queue.counts.duplicates, cells.queue.snapshots) == (2, 51, 1)
