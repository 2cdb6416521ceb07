"""Rows as in the Criteo data sets: label, 13 integers, 26 hexadecimal categories, by tabs; any but the label may be
missing (https://www.kaggle.com/c/criteo-display-ad-challenge/data).

An id of 0 means missing. Integers become buckets that grow with the logarithm's square; a category ``c`` is
``1 + int(c, 16) % (most_ids - 1)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from jobs.convert.bad_rows import BadRows, Faults
from jobs.convert.text import Ints, Tokens, integers, read_blocks, tokenize
from jobs.esmm.input.schema import CLICK, CONVERSION

INTEGERS = tuple(f"i{number}" for number in range(1, 14))
CATEGORIES = tuple(f"c{number}" for number in range(1, 27))

_FIELDS = 1 + len(INTEGERS) + len(CATEGORIES)
_MISSING = 0


def read_criteo(path: str, bad: BadRows, advance: Callable[[int], None], *, most_ids: int) -> Iterator[dict[str, Ints]]:
    """Columns of ids, ``click`` and, since there are none, ``conversion`` of 0. Raises JobError."""
    for block in read_blocks(path, advance):
        tokens = tokenize(block.data, b"\t")
        faults = Faults(tokens.lines)
        fields = tokens.last - tokens.first + 1
        odd = np.flatnonzero(fields != _FIELDS)
        faults.mark(odd, f"not {_FIELDS} fields", [f"{fields[line]}" for line in odd])
        lines = np.flatnonzero(faults.good)
        columns = {CLICK: _label(tokens, lines, faults)}
        for place, name in enumerate(INTEGERS, 1):
            columns[name] = _numbers(tokens, lines, place, name, faults, base=10, to_ids=log_buckets)
        for place, name in enumerate(CATEGORIES, 1 + len(INTEGERS)):
            columns[name] = _numbers(
                tokens, lines, place, name, faults, base=16, to_ids=lambda v: 1 + v % (most_ids - 1)
            )
        faults.report(bad, block.path, block.first_line)
        good = faults.good[lines]
        found = {name: values[good] for name, values in columns.items()}
        yield found | {CONVERSION: np.zeros_like(found[CLICK])}


def log_buckets(values: Ints) -> Ints:
    """Ids from 1: one for everything negative, one each for 0, 1 and 2, then one for each whole ``log(value)**2``."""
    growing = np.floor(np.log(np.maximum(values, 2).astype(np.float64)) ** 2).astype(np.int64)
    return np.where(values > 2, 4 + growing, np.maximum(values, -1) + 2)


def _label(tokens: Tokens, lines: Ints, faults: Faults) -> Ints:
    at = tokens.first[lines]
    value, is_number = integers(tokens.data, tokens.start[at], tokens.end[at])
    wrong = np.flatnonzero(~is_number | (value < 0) | (value > 1))
    faults.mark(lines[wrong], "the label is not 0 or 1", tokens.reprs(at[wrong]))
    return value


def _numbers(
    tokens: Tokens, lines: Ints, place: int, name: str, faults: Faults, *, base: int, to_ids: Callable[[Ints], Ints]
) -> Ints:
    at = tokens.first[lines] + place
    start, end = tokens.start[at], tokens.end[at]
    value, is_number = integers(tokens.data, start, end, base=base)
    there = end > start
    wrong = np.flatnonzero(there & ~is_number)
    what = "whole" if base == 10 else "hexadecimal"
    faults.mark(lines[wrong], f"{name} is not a {what} number", tokens.reprs(at[wrong]))
    return np.where(there & is_number, to_ids(value), _MISSING)
