"""How many leases a trainer has ahead."""

from __future__ import annotations

import pytest

from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.queue.accounts import Pace
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


def test_nobody_takes_more_than_half_a_share_of_what_is_pending() -> None:
    pending = tuple(Ticket(shard=Shard(path="f", first_record=number)) for number in range(60))
    queue = Queue(token="t", pending=pending, holders=tuple(Holder(id=str(n), task=f"worker:{n}") for n in range(3)))
    assert [Pace().share(queue, wanted) for wanted in (1, 8, 64)] == [1, 8, 10]
    assert Pace().share(Queue(token="t", pending=pending[:1]), 64) == 2


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
    tickets = tuple(Ticket(shard=Shard(path="f", first_record=number)) for number in range(pending))
    queue = Queue(token="t", pending=tickets, holders=(Holder(id="a", task="chief:0"),), ended=ended)
    assert Pace().is_worth(queue, 64) is is_worth
    assert not Pace().is_worth(queue, 0)
