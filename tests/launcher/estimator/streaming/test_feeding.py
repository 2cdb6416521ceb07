"""The order of tickets, and what a changed list of files means."""

from __future__ import annotations

from dataclasses import replace

from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.queue.feeding import ListFeeder
from launcher.estimator.streaming.queue.queue import Queue, Ticket


class MemoryShelf(dict[str, str]):
    def keep(self, fingerprint: str, text: str) -> None:
        self[fingerprint] = text

    def find(self, fingerprint: str) -> str | None:
        return self.get(fingerprint)


def shards(*names: str) -> list[Shard]:
    return [Shard(path=name) for name in names]


class Feeding:
    """Feeders of several sessions with one shelf, and the queue that they feed."""

    def __init__(self) -> None:
        self.shelf = MemoryShelf()
        self.notices: list[str] = []
        self.queue = Queue(token="t")

    def session(self, *names: str, epochs: int | None = 2, seed: int | None = 5, window: int = 3) -> ListFeeder:
        return ListFeeder(
            shards(*names), epochs=epochs, seed=seed, shelf=self.shelf, notice=self.notices.append, window=window
        )

    def take(self, feeder: ListFeeder, count: int) -> list[Ticket]:
        """So many tickets, fed and taken out one by one."""
        taken = []
        for _ in range(count):
            self.queue = feeder.feed(self.queue)
            first, *rest = self.queue.pending
            taken.append(first)
            self.queue = replace(self.queue, pending=tuple(rest))
        self.queue = feeder.feed(self.queue)
        return taken


def by_epoch(tickets: list[Ticket]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for ticket in tickets:
        found.setdefault(ticket.epoch, []).append(ticket.shard.path)
    return found


LETTERS = "abcdefgh"


def test_each_epoch_has_everything_once_in_an_order_of_its_own() -> None:
    feeding = Feeding()
    feeder = feeding.session(*LETTERS)
    epochs = by_epoch(feeding.take(feeder, 16))
    assert all(sorted(names) == list(LETTERS) for names in epochs.values()) and len(epochs) == 2
    assert epochs[0] != epochs[1] and epochs[0] != list(LETTERS)
    assert feeding.queue.ended and feeding.queue.is_over
    assert by_epoch(Feeding().take(Feeding().session(*LETTERS), 8)) == {0: epochs[0]}  # the seed decides


def test_no_more_is_pending_than_the_window() -> None:
    feeding = Feeding()
    queue = feeding.session(*LETTERS).feed(feeding.queue)
    assert len(queue.pending) == 3 and not queue.ended


def test_another_session_goes_on_where_the_bookmark_is() -> None:
    feeding = Feeding()
    first = feeding.take(feeding.session(*LETTERS, epochs=1), 5)
    rest = feeding.take(feeding.session(*LETTERS, epochs=1, seed=99), 3)
    assert sorted(ticket.shard.path for ticket in first + rest) == list(LETTERS)
    assert feeding.queue.is_over and not feeding.notices


def test_a_finished_job_reads_nothing_until_it_is_asked_for_more_epochs() -> None:
    feeding = Feeding()
    feeding.take(feeding.session(*LETTERS, epochs=1), 8)
    assert feeding.session(*LETTERS, epochs=1).feed(feeding.queue) is feeding.queue
    more = by_epoch(feeding.take(feeding.session(*LETTERS, epochs=2), 8))
    assert list(more) == [1] and sorted(more[1]) == list(LETTERS)


def test_new_files_belong_to_the_next_epoch() -> None:
    feeding = Feeding()
    first = feeding.take(feeding.session(*LETTERS), 4)
    rest = feeding.take(feeding.session(*LETTERS, "new"), 13)
    epochs = by_epoch(first + rest)
    assert sorted(epochs[0]) == list(LETTERS)
    assert sorted(epochs[1]) == [*LETTERS, "new"]
    assert len(feeding.notices) == 1 and "next epoch" in feeding.notices[0]


def test_vanished_files_are_left_out_and_named() -> None:
    feeding = Feeding()
    first = feeding.take(feeding.session(*LETTERS, epochs=1), 3)
    left = [name for name in LETTERS if name in {ticket.shard.path for ticket in first}]
    gone = [name for name in LETTERS if name not in left][:2]
    present = [name for name in LETTERS if name not in gone]
    rest = feeding.take(feeding.session(*present, epochs=1), 3)
    assert sorted(ticket.shard.path for ticket in first + rest) == present
    assert feeding.queue.is_over
    assert all(any(notice.startswith(f"{name} has vanished") for notice in feeding.notices) for name in gone)


def test_an_epoch_whose_list_is_lost_starts_anew() -> None:
    feeding = Feeding()
    feeding.take(feeding.session(*LETTERS, epochs=1), 3)
    feeding.shelf.clear()
    feeding.queue = replace(feeding.queue, pending=())
    again = feeding.take(feeding.session(*LETTERS, "new", epochs=1), 9)
    assert sorted(ticket.shard.path for ticket in again) == [*LETTERS, "new"]
    assert "starts anew" in feeding.notices[0]


def test_an_unshuffled_list_keeps_its_order_for_ever() -> None:
    feeding = Feeding()
    feeder = ListFeeder(
        shards("b", "a"), epochs=None, shuffle=False, shelf=feeding.shelf, notice=feeding.notices.append, window=3
    )
    assert [ticket.shard.path for ticket in feeding.take(feeder, 5)] == ["a", "b", "a", "b", "a"]
    assert not feeding.queue.ended
