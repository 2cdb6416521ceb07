"""An engine's books: when a lease has ended, and with how many rows."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.reading.leases import Lease, ShardLeases
from launcher.estimator.streaming.reading.ledger import Ledger


class Told(ShardLeases):
    def __init__(self) -> None:
        super().__init__([])
        self.told: list[tuple[int, int]] = []

    def ended(self, lease: int, rows: int) -> None:
        self.told.append((lease, rows))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def ledger(told: Told) -> Ledger:
    ledger = Ledger(told)
    for lease in (7, 8):
        ledger.begin(Lease(id=lease, shard=Shard(path=f"f{lease}")))
    return ledger


def leases(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_a_lease_ends_when_it_is_read_to_its_end_and_all_of_it_is_parsed(ledger: Ledger, told: Told) -> None:
    ledger.parsed(leases(7, 7), leases(7, 7))
    assert ledger.shard(7).path == "f7"
    ledger.read(7, 3)
    assert told.told == []
    ledger.parsed(leases(7), leases(7))
    assert told.told == [(7, 3)]


def test_parsing_may_be_ahead_of_the_end(ledger: Ledger, told: Told) -> None:
    ledger.parsed(leases(7, 8, 7), leases(7, 8, 7))
    ledger.read(8, 1)
    ledger.read(7, 2)
    assert told.told == [(8, 1), (7, 2)]


def test_a_lease_without_records_ends_at_once(ledger: Ledger, told: Told) -> None:
    ledger.read(8, 0)
    assert told.told == [(8, 0)]


def test_skipped_records_are_parsed_and_give_no_rows(ledger: Ledger, told: Told) -> None:
    ledger.read(7, 4)
    ledger.parsed(leases(7, 7, 7, 7), leases(7, 7))
    assert told.told == [(7, 2)]


def test_a_record_may_give_many_rows(ledger: Ledger, told: Told) -> None:
    ledger.read(7, 1)
    ledger.read(8, 1)
    ledger.parsed(leases(7, 8), leases(*[7] * 5, *[8] * 3))
    assert told.told == [(7, 5), (8, 3)]


def test_threads_that_parse_at_once_end_each_lease_once(told: Told) -> None:
    ledger = Ledger(told)
    for lease in range(50):
        ledger.begin(Lease(id=lease, shard=Shard(path="f")))
        ledger.read(lease, 8)
    everything = np.arange(50)
    threads = [threading.Thread(target=lambda: ledger.parsed(everything, everything)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told.told) == [(lease, 8) for lease in range(50)]
