"""What must hold whatever happens to the queue."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.queue import queue as queues
from launcher.estimator.streaming.queue.queue import Done, Holder, Queue, QueueStateError, Ticket, decode, encode


def ticket(name: str, epoch: int = 0) -> Ticket:
    return Ticket(shard=Shard(path=name, first_record=3, records=None, byte_offset=9), epoch=epoch, modified_s=1.5)


def fed(*names: str) -> Queue:
    queue = queues.feed(Queue(token="t"), [ticket(name) for name in names], {"next": len(names)}, ended=True)
    return queues.enter(queue, Holder(id="a", task="worker:0"))


def names(queue: Queue) -> list[str]:
    return [item.shard.path for item in queue.pending]


def test_a_ticket_goes_from_pending_to_held_to_done() -> None:
    queue = queues.lease(fed("x", "y", "z"), "a", 2)
    assert [(held.lease, held.ticket.shard.path) for held in queue.held] == [(1, "x"), (2, "y")]
    assert names(queue) == ["z"]
    queue = queues.acknowledge(queue, "a", [Done(lease=2, rows=7, skipped=1)])
    assert [held.lease for held in queue.held_by("a")] == [1]
    assert (queue.counts.examples, queue.counts.skipped, queue.counts.tickets) == (7, 1, 1)
    assert queue.counts.newest_s == 1.5 and queue.counts.most_held == 2
    assert not queue.is_over


def test_only_the_holder_of_a_lease_acknowledges_it() -> None:
    queue = queues.lease(fed("x"), "a", 1)
    queue = queues.enter(queue, Holder(id="b", task="worker:1"))
    assert queues.acknowledge(queue, "b", [Done(lease=1, rows=7)]) is queue
    gone = queues.release(queue, {"a"})
    assert queues.acknowledge(gone, "a", [Done(lease=1, rows=7)]) is gone
    assert queues.lease(gone, "a", 1) is gone
    again = queues.lease(gone, "b", 1)
    assert queues.acknowledge(again, "b", [Done(lease=1, rows=7)]) is again  # a lease's number is never used twice


def test_a_task_that_comes_back_gives_back_what_it_had() -> None:
    queue = queues.lease(fed("x", "y"), "a", 1)
    queue = queues.enter(queue, Holder(id="b", task="worker:0"))
    assert names(queue) == ["x", "y"] and queue.held == ()
    assert [holder.id for holder in queue.holders] == ["b"]
    assert queue.counts.returned == 1


def test_what_is_given_back_comes_first() -> None:
    queue = queues.lease(fed("x", "y", "z"), "a", 2)
    queue = queues.give_back(queue, "a", {2, 99}, {})
    assert names(queue) == ["y", "z"] and [held.lease for held in queue.held] == [1]
    assert queue.has_holder("a")


def test_a_restore_takes_everything_from_everybody_and_notes_where_it_went_on() -> None:
    queue = queues.snapshot(queues.lease(fed("x", "y"), "a", 1))
    again = queues.reopen(queue, "new")
    assert again.token == "new" and again.lineage == (("t", 1),)
    assert names(again) == ["x", "y"] and again.held == () and again.holders == ()


def test_it_is_over_when_all_is_done_and_nothing_more_comes() -> None:
    queue = queues.lease(fed("x"), "a", 1)
    assert not queue.is_over
    assert queues.acknowledge(queue, "a", [Done(lease=1, rows=1)]).is_over
    assert not queues.feed(Queue(token="t"), [], {"next": 0}).is_over


def test_what_changes_nothing_gives_the_same_object_back() -> None:
    queue = fed("x")
    assert queues.repeat(queue, 0) is queue
    assert queues.feed(queue, [], queue.bookmark, ended=True) is queue
    assert queues.lease(queue, "nobody", 1) is queue


@pytest.mark.parametrize("data", [b"", b"no zlib", __import__("zlib").compress(b'{"format":99}')])
def test_bytes_that_are_no_queue_are_refused(data: bytes) -> None:
    with pytest.raises(QueueStateError, match="another version"):
        decode(data)


@dataclass
class World:
    """A cluster as a model: what was really trained, and the queue."""

    queue: Queue
    trained: Counter[str] = field(default_factory=Counter)
    saved: tuple[Queue, Counter[str]] | None = None
    holders: int = 0


STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "lease", "train", "lose", "save", "restore"]), st.integers(0, 2)), max_size=60
)


@settings(max_examples=200)
@given(steps=STEPS, shards=st.integers(1, 8))
def test_every_ticket_is_trained_in_the_lineage_of_whatever_happens(steps: list[tuple[str, int]], shards: int) -> None:
    """Leases, acknowledgements, deaths, checkpoints and restores in any order; at the end somebody trains the rest."""
    world = World(queue=queues.feed(Queue(token="0"), [ticket(f"s{i}") for i in range(shards)], {"n": 1}, ended=True))
    for number, (what, index) in enumerate(steps):
        happen(world, what, f"worker:{index}", number)
        world.queue = decode(encode(world.queue))
        tickets = [*world.queue.pending, *(held.ticket for held in world.queue.held)]
        assert len(tickets) + world.queue.counts.tickets == shards
    happen(world, "enter", "worker:9", -1)
    world.queue = queues.release(
        world.queue, {holder.id for holder in world.queue.holders if holder.task != "worker:9"}
    )
    world.queue = queues.feed(world.queue, [], world.queue.bookmark, ended=True)
    for _ in range(shards):
        happen(world, "lease", "worker:9", 0)
        happen(world, "train", "worker:9", 0)
    assert world.queue.is_over
    assert set(world.trained) == {f"s{i}" for i in range(shards)}


def happen(world: World, what: str, task: str, number: int) -> None:
    queue = world.queue
    holder = next((known.id for known in queue.holders if known.task == task), "")
    if what == "enter":
        world.holders += 1
        world.queue = queues.enter(queue, Holder(id=f"h{world.holders}", task=task))
    elif what == "lease":
        world.queue = queues.lease(queue, holder, 2)
    elif what == "train" and queue.held_by(holder):
        held = queue.held_by(holder)[0]
        world.trained[held.ticket.shard.path] += 1
        world.queue = queues.acknowledge(queue, holder, [Done(lease=held.lease, rows=1)])
    elif what == "lose":
        world.queue = queues.release(queue, {holder})
    elif what == "save":
        world.queue = queues.snapshot(queue)
        world.saved = (world.queue, world.trained.copy())
    elif what == "restore" and world.saved:
        world.queue, world.trained = queues.reopen(world.saved[0], f"t{number}"), world.saved[1].copy()
