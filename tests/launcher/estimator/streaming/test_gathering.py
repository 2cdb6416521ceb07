"""Blocks of several files to batches of records, rows to batches of an exact size, and shuffling in between."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.estimator.streaming.formats.columns import Rows
from launcher.estimator.streaming.formats.framing import RawBlock
from launcher.estimator.streaming.formats.parser import Batch
from launcher.estimator.streaming.reading.gathering import Batcher, Gatherer
from launcher.estimator.streaming.reading.shuffling import ShuffleBuffer

pytestmark = [pytest.mark.tensorflow]

Record = tuple[bytes, int, int]


def block(first: int, count: int, size: int = 3) -> RawBlock:
    return RawBlock(first=first, records=[str(number).rjust(size).encode() for number in range(first, first + count)])


def records_of(batch: Batch) -> list[Record]:
    return list(zip(batch.records.tolist(), batch.leases.tolist(), batch.numbers.tolist(), strict=True))


def batch_of(first: int, count: int) -> Batch:
    numbers = np.arange(first, first + count)
    records = np.array([str(number).encode() for number in numbers], object)
    return Batch(records=records, leases=numbers // 10, numbers=numbers)


def rows_of(first: int, count: int) -> Rows:
    return Rows(ints=np.arange(first, first + count).reshape(1, -1), floats=np.zeros((0, count), np.float32), others={})


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=20), st.integers(1, 8))
def test_records_keep_their_order_lease_and_number(blocks: list[tuple[int, int]], wanted: int) -> None:
    gatherer, given_, found = Gatherer(records=wanted, size_bytes=1 << 20), [], []
    for number, (lease, count) in enumerate(blocks):
        part = block(100 * number, count)
        given_ += [(record, lease, part.first + i) for i, record in enumerate(part.records)]
        found += [records_of(batch) for batch in gatherer.add(lease, part)]
    assert all(len(batch) == wanted for batch in found)
    rest = gatherer.rest()
    found += [] if rest is None else [records_of(rest)]
    assert [record for batch in found for record in batch] == given_
    assert gatherer.rest() is None and len(gatherer) == 0


def test_large_records_are_handed_on_before_there_are_many() -> None:
    gatherer = Gatherer(records=100, size_bytes=1000)
    assert [len(batch.records) for batch in gatherer.add(0, block(0, 3, size=400))] == [3]
    assert list(gatherer.add(0, block(3, 2, size=400))) == []


@given(st.lists(st.integers(0, 30), max_size=10), st.integers(1, 8))
def test_batches_have_their_exact_size_but_for_the_rest(parts: list[int], size: int) -> None:
    batcher, found, at = Batcher(size), [], 0
    for count in parts:
        found += list(batcher.add(rows_of(at, count)))
        at += count
    assert all(len(rows) % size == 0 and len(rows) for rows in found)
    rest = batcher.rest()
    assert len(rest) < size if rest is not None else at % size == 0
    found += [] if rest is None else [rest]
    assert [int(i) for rows in found for i in rows.ints[0]] == list(range(at))
    assert batcher.rest() is None


@given(st.lists(st.integers(1, 20), max_size=10), st.integers(0, 30))
def test_shuffling_gives_back_each_record_once_with_its_lease(parts: list[int], size: int) -> None:
    shuffle, at, given_, found = ShuffleBuffer(size, np.random.default_rng(1)), 0, [], []
    for count in parts:
        batch = batch_of(at, count)
        given_ += records_of(batch)
        out = shuffle.exchange(batch)
        found += [] if out is None else records_of(out)
        assert len(given_) - len(found) < size + 20
        at += count
    rest = shuffle.empty()
    found += [] if rest is None else records_of(rest)
    assert Counter(found) == Counter(given_)
    assert shuffle.empty() is None


def test_nothing_is_shuffled_without_a_buffer() -> None:
    shuffle = ShuffleBuffer(0, np.random.default_rng(1))
    batch = batch_of(0, 5)
    assert shuffle.exchange(batch) is batch
    assert shuffle.empty() is None


def test_what_comes_out_is_drawn_from_all_that_is_held() -> None:
    """Of 100 records held, the 20 that leave for 20 new ones are neither the oldest nor those of one place."""
    shuffle = ShuffleBuffer(100, np.random.default_rng(1))
    assert shuffle.exchange(batch_of(0, 100)) is None
    out = shuffle.exchange(batch_of(100, 20))
    assert out is not None
    numbers = out.numbers.tolist()
    assert len(set(numbers)) == 20 and max(numbers) < 100
    assert max(numbers) - min(numbers) > 50 and numbers != sorted(numbers)
