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


@pytest.mark.parametrize(("rows", "most"), [(5, 64), (1_000, 8), (4_096, 2), (50_000, 2), (0, 64)])
def test_who_has_to_wait_has_twice_as_many_ahead_but_no_more_than_so_many_rows(rows: int, most: int) -> None:
    assert after(1, rows=rows).ahead == min(4, most)
    assert after(20, rows=rows).ahead == most


def test_before_a_shard_was_read_there_are_two() -> None:
    pace = Pace(ran_dry=True)
    pace.contact(0)
    assert pace.ahead == 2


def test_what_was_not_needed_is_not_taken_again() -> None:
    pace = after(20, rows=5)
    pace.contact(left=20)
    assert pace.ahead == 64
    for _ in range(10):
        pace.contact(left=60)
    assert pace.ahead == 2


def test_nobody_takes_more_than_half_a_share_of_what_is_pending() -> None:
    pending = tuple(Ticket(shard=Shard(path="f", first_record=number)) for number in range(60))
    queue = Queue(token="t", pending=pending, holders=tuple(Holder(id=str(n), task=f"worker:{n}") for n in range(3)))
    assert [Pace().share(queue, wanted) for wanted in (1, 8, 64)] == [1, 8, 10]
    assert Pace().share(Queue(token="t", pending=pending[:1]), 64) == 2
