"""How many leases a trainer has ahead."""

from __future__ import annotations

import pytest

from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.queue.accounts import Having, Pace
from launcher.estimator.streaming.queue.queue import Holder, Queue, Ticket


def after(contacts: int, *, rows: int, left: int = 0, dry: bool = True) -> Pace:
    pace = Pace()
    pace.read(rows)
    for _ in range(contacts):
        pace.ran_dry = dry
        pace.contact(left)
    return pace


@pytest.mark.parametrize(("rows", "most"), [(5, 256), (1_000, 8), (4_096, 2), (50_000, 2), (0, 256)])
def test_who_has_to_wait_has_twice_as_many_ahead_but_no_more_than_so_many_rows(rows: int, most: int) -> None:
    assert after(1, rows=rows).ahead == min(4, most)
    assert after(20, rows=rows).ahead == most


def test_before_a_shard_was_read_there_are_two() -> None:
    pace = Pace(ran_dry=True)
    pace.contact(0)
    assert pace.ahead == 2


def test_what_was_not_needed_is_not_taken_again() -> None:
    pace = after(20, rows=5)
    pace.contact(left=80)
    assert pace.ahead == 256
    for _ in range(10):
        pace.contact(left=200)
    assert pace.ahead == 2


def queue_of(*epochs: int, trainers: int = 3, ended: bool = False) -> Queue:
    """So many shards of each epoch are pending."""
    shards = [(epoch, number) for epoch, count in enumerate(epochs) for number in range(count)]
    pending = tuple(Ticket(shard=Shard(path="f", first_record=number), epoch=epoch) for epoch, number in shards)
    holders = tuple(Holder(id=str(number), task=f"worker:{number}") for number in range(trainers))
    return Queue(token="t", pending=pending, holders=holders, ended=ended)


def having(ahead: int = 0, opened: int = 0) -> Having:
    return Having(held=ahead + opened, ahead=ahead, opened=opened)


@pytest.mark.parametrize(("ahead", "wanted"), [(1, 1), (8, 8), (64, 10)])
def test_nobody_takes_more_than_half_a_share_of_the_small_ones_that_are_pending(ahead: int, wanted: int) -> None:
    pace = Pace(rows=5, ahead=ahead)
    assert pace.wanted(queue_of(60), having()) == wanted
    assert pace.wanted(queue_of(1), having()) == min(ahead, 2)
    assert pace.wanted(queue_of(60), Having(held=pace.most_held, ahead=0, opened=0)) == 0


@pytest.mark.parametrize(
    ("epochs", "about", "wanted"),
    [
        ((3, 3), having(), 1),
        ((3, 3), having(opened=1), 0),
        ((3, 3), having(ahead=1), 0),
        ((0, 1, 60), having(opened=1), 0),
        ((12,), having(opened=1), 1),
        ((60,), having(), 2),
        ((60,), having(opened=4), 2),
        ((60,), having(ahead=1, opened=4), 1),
        ((24,), having(opened=4), 0),
    ],
)
@pytest.mark.parametrize("rows", [None, 5_000, 50_000])
@pytest.mark.parametrize("here", [1, 3])
def test_of_large_ones_what_is_not_read_is_half_a_share_of_what_is_pending_of_an_epoch(
    epochs: tuple[int, ...], about: Having, wanted: int, rows: float | None, here: int
) -> None:
    """Also before all trainers that are to come are there."""
    assert Pace(rows=rows, trainers=3).wanted(queue_of(*epochs, trainers=here), about) == wanted


def test_who_trains_alone_reads_two_large_ones_in_turns() -> None:
    assert Pace().wanted(queue_of(2, trainers=1), having()) == 2
    assert Pace().wanted(queue_of(1, trainers=1), having(opened=1)) == 0


def test_small_ones_may_be_many_before_one_was_parsed() -> None:
    pace = Pace(ran_dry=True, taken=16)
    pace.contact(0)
    assert pace.ahead == 4


@pytest.mark.parametrize(("rows", "most"), [(None, 128), (5, 1024), (20, 819), (128, 128), (50_000, 128)])
def test_more_small_ones_may_be_unacknowledged(rows: int | None, most: int) -> None:
    assert Pace(rows=rows).most_held == most
    assert Pace(most_leases=7, rows=rows).most_held == 7


@pytest.mark.parametrize(
    ("pending", "ended", "is_worth"), [(0, True, False), (6, True, True), (6, False, False), (600, False, True)]
)
def test_where_little_is_pending_who_brings_more_goes_first(pending: int, ended: bool, is_worth: bool) -> None:
    pace = Pace(rows=5, ahead=64)
    assert pace.is_worth(queue_of(pending, trainers=1, ended=ended), having()) is is_worth
    assert not pace.is_worth(queue_of(pending, ended=ended), having(ahead=64))
