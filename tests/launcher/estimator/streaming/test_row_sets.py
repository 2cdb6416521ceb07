"""Sets of row numbers hold what they were given, however it came."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from launcher.estimator.streaming.formats.row_sets import NO_ROWS, Marks, RowSet

NEAR, FAR = st.integers(0, 60), st.integers((1 << 20) - 3, (1 << 20) + 3)
ROWS = st.sets(NEAR)


def of(rows: set[int]) -> RowSet:
    return RowSet.of(np.array(sorted(rows), np.int64))


def same(found: RowSet, wanted: set[int]) -> None:
    asked = np.array([*range(-2, 64), *range((1 << 20) - 5, (1 << 20) + 5), 5 << 20])
    assert found.has(asked).tolist() == [row in wanted for row in asked.tolist()]
    assert len(found) == len(wanted)
    assert (found.starts[1:] > found.stops[:-1]).all()


@given(ROWS, ROWS)
def test_two_sets_together(one: set[int], other: set[int]) -> None:
    same(of(one), one)
    same(of(one) | of(other), one | other)
    same(NO_ROWS | of(one), one)


@given(ROWS)
def test_a_set_goes_through_json(rows: set[int]) -> None:
    same(RowSet.from_steps(json.loads(json.dumps(of(rows).steps()))), rows)


@given(st.lists(st.lists(st.one_of(NEAR, FAR, st.just(5 << 20))), max_size=4))
def test_rows_come_in_any_order_and_some_twice(parts: list[list[int]]) -> None:
    marks = Marks()
    for part in parts:
        marks.add(np.array(part, np.int64))
    same(marks.rows(), {row for part in parts for row in part})
