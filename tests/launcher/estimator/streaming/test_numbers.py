"""What is said of the shared input."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.queue import queue as queues
from launcher.estimator.streaming.queue.numbers import Numbers, Source
from launcher.estimator.streaming.queue.queue import Done, Holder, Queue, Ticket
from launcher.wire.protocol import InputState, Message


class Listener:
    """Takes what is said, by a clock that the test moves."""

    def __init__(self, source: Source) -> None:
        self.now = 100.0
        self.said: list[InputState] = []
        self.numbers = Numbers(self.take, source, clock=lambda: self.now)

    def take(self, message: Message) -> None:
        assert isinstance(message, InputState)
        self.said.append(message)

    def see(self, queue: Queue, *, at: float) -> InputState:
        self.now = at
        self.numbers.see(queue)
        return self.said[-1]


def fed(*epochs: int, position: int, ended: bool = False) -> Queue:
    """A queue over a list of four shards, that waits for one ticket of each of ``epochs``; ``a`` trains."""
    tickets = [Ticket(shard=Shard(path="x"), epoch=epoch, modified_s=90.0) for epoch in epochs]
    mark = {"epoch": position // 4, "next": position % 4, "shards": 4}
    return queues.enter(queues.feed(Queue(token="t"), tickets, mark, ended=ended), Holder(id="a", task="chief:0"))


def done(queue: Queue, rows: int) -> Queue:
    queue = queues.lease(queue, "a", 1)
    return queues.acknowledge(queue, "a", [Done(lease=queue.held[0].lease, rows=rows)])


FILES = Source(epochs=2, is_folder=False)


def test_progress_and_the_time_that_is_left() -> None:
    listener = Listener(FILES)
    first = listener.see(fed(0, 0, position=2), at=100)
    assert (first.progress, first.left_s, first.epoch, first.epochs, first.pending) == (0.0, None, 1, 2, 2)
    second = listener.see(done(fed(0, 0, position=2), 7), at=110)
    assert (second.progress, second.left_s, second.examples) == (0.125, 70.0, 7)


def test_the_end_is_said_at_once() -> None:
    listener = Listener(FILES)
    queue = fed(1, position=8, ended=True)
    assert listener.see(queue, at=100).progress == 0.875
    over = listener.see(done(queue, 1), at=100.1)
    assert (over.progress, over.left_s, over.epoch, over.pending) == (1.0, 0.0, 2, 0)
    listener.see(done(queue, 1), at=100.2)
    assert len(listener.said) == 2


def test_no_more_than_once_a_second() -> None:
    listener = Listener(FILES)
    for tenth in range(25):
        listener.see(fed(0, position=1), at=100 + tenth / 10)
    assert len(listener.said) == 3


def test_the_lag_is_the_age_of_the_newest_example_when_it_was_trained() -> None:
    listener = Listener(Source(epochs=None, is_folder=True, endless=True))
    queue = replace(fed(0, position=1), bookmark={})
    assert listener.see(queue, at=95).lag_s is None
    assert listener.see(done(queue, 1), at=97).lag_s == pytest.approx(7.0)
    later = listener.see(done(queue, 1), at=150)
    assert later.lag_s == pytest.approx(7.0) and later.endless and later.progress is None


def test_what_tensorboard_shows() -> None:
    listener = Listener(FILES)
    assert listener.numbers.summary(0.5) == {}
    listener.see(done(fed(0, 0, position=2), 10), at=100)
    assert "input/examples_per_s" not in listener.numbers.summary(0.5)
    listener.see(done(done(fed(0, 0, position=2), 10), 20), at=110)
    values = listener.numbers.summary(0.25)
    assert values["input/examples_per_s"] == pytest.approx(2.0)
    assert values["input/waiting_share"] == 0.25 and values["input/progress"] == 0.25
