"""Rows in memory: cutting, choosing and joining."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from launcher.estimator.streaming.formats.columns import Ragged, Rows, join

LISTS = st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=12)


def ragged(lists: list[list[int]]) -> Ragged:
    return Ragged(np.array([i for row in lists for i in row], np.int64), np.array(list(map(len, lists)), np.int64))


def lists_of(column: Ragged) -> list[list[int]]:
    return [part.tolist() for part in np.split(column.values, np.cumsum(column.lengths))[:-1]]


def rows_of(lists: list[list[int]], first: int = 0) -> Rows:
    count = len(lists)
    numbers = np.arange(first, first + count)
    return Rows(
        ints=np.stack([numbers, numbers * 2, numbers * 3]),
        floats=np.stack([numbers / 2]).astype(np.float32),
        others={"pair": np.stack([numbers, -numbers], axis=1), "list": ragged(lists)},
    )


def plain(rows: Rows) -> list[Any]:
    """Row by row."""
    lists = lists_of(rows.others["list"]) if isinstance(rows.others["list"], Ragged) else []
    pairs = rows.others["pair"]
    assert isinstance(pairs, np.ndarray)
    return [
        (*rows.ints[:, i].tolist(), float(rows.floats[0, i]), *pairs[i].tolist(), lists[i]) for i in range(len(rows))
    ]


@given(LISTS, st.data())
def test_rows_are_cut_and_chosen_as_lists_are(lists: list[list[int]], data: st.DataObject) -> None:
    rows = rows_of(lists)
    before = plain(rows)
    start = data.draw(st.integers(0, len(lists)))
    stop = data.draw(st.integers(start, len(lists)))
    assert plain(rows.cut(start, stop)) == before[start:stop]
    if lists:
        chosen = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=20))
        assert plain(rows.take(np.array(chosen, np.int64))) == [before[i] for i in chosen]


@given(st.lists(LISTS, min_size=1, max_size=4))
def test_parts_are_joined_in_order(parts: list[list[list[int]]]) -> None:
    rows = [rows_of(lists, 100 * number) for number, lists in enumerate(parts)]
    assert plain(join(rows)) == [row for part in rows for row in plain(part)]


def test_a_cut_shares_memory() -> None:
    rows = rows_of([[1], [2, 3]])
    assert np.shares_memory(rows.cut(1, 2).ints, rows.ints)
