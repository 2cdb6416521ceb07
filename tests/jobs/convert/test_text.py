"""Blocks of lines, tokens and numbers, against Python's own."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.convert.text import decimals, integers, read_blocks, short_key, short_keys, texts, tokenize
from jobs.errors import JobError


def places(tokens: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    joined = tokenize(np.frombuffer(b"\t".join(tokens) + b"\n", np.uint8), b"\t")
    return joined.data, joined.start, joined.end


@given(st.lists(st.integers(-(10**17), 10**18 - 1), min_size=1))
def test_integers(numbers: list[int]) -> None:
    values, good = integers(*places([b"%d" % number for number in numbers]))
    assert good.all() and values.tolist() == numbers


@given(st.lists(st.integers(0, 16**15 - 1), min_size=1), st.booleans())
def test_hexadecimal_integers(numbers: list[int], upper: bool) -> None:
    tokens = [b"%X" % number if upper else b"%x" % number for number in numbers]
    values, good = integers(*places(tokens), base=16)
    assert good.all() and values.tolist() == numbers


def test_what_is_no_integer_spoils_nothing_else() -> None:
    tokens = [b"7", b"", b"-", b"1.5", b"x", b"1 2", b"+3", b"9" * 19, b"-12"]
    values, good = integers(*places(tokens))
    assert good.tolist() == [True] + [False] * 7 + [True]
    assert (values[0], values[-1]) == (7, -12)
    assert not integers(*places([b"-a", b"fg"]), base=16)[1].any()


@given(st.lists(st.floats(0, 1e6) | st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1))
def test_decimals(numbers: list[float]) -> None:
    values = decimals(*places([str(number).encode() for number in numbers]))
    assert values.tolist() == pytest.approx(numbers, rel=1e-12)


def test_what_is_no_decimal_is_nan() -> None:
    values = decimals(*places([b"1.5", b"", b".", b"1.2.3", b"x", b"2.", b".5", b"-1e3"]))
    assert [None if math.isnan(value) else value for value in values] == [
        1.5,
        None,
        None,
        None,
        None,
        2.0,
        0.5,
        -1000.0,
    ]


@given(st.lists(st.binary(max_size=9).filter(lambda b: not {0, 9, 10} & set(b)), min_size=1))
def test_texts_and_short_keys(tokens: list[bytes]) -> None:
    assert texts(*places(tokens)).tolist() == tokens
    wanted = [int.from_bytes(token, "big") if len(token) <= 8 else 0 for token in tokens]
    assert short_keys(*places(tokens)).tolist() == wanted
    assert short_key("109_14") == int.from_bytes(b"109_14", "big")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize("packed", [False, True])
def test_blocks_are_whole_lines_with_their_numbers(ending: str, block_bytes: int, packed: bool, tmp_path: Path) -> None:
    lines = ["a", "", "long " * 9, "ü", "last"]
    file = tmp_path / "lines"
    data = ending.join(lines).encode()  # the last line has no end
    file.write_bytes(gzip.compress(data) if packed else data)
    advanced: list[int] = []
    found: dict[int, str] = {}
    for block in read_blocks(str(file), advanced.append, block_bytes=block_bytes):
        parts = block.data.tobytes().decode().split("\n")
        assert parts.pop() == ""
        found |= {block.first_line + i: part for i, part in enumerate(parts)}
    assert found == dict(enumerate(lines, 1))
    assert sum(advanced) == len(data)


def test_a_file_that_is_cut_off_is_named_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "cut.gz"
    file.write_bytes(gzip.compress(b"".join(b"%d\n" % (i * 7919) for i in range(9999)))[:-2000])
    with pytest.raises(JobError, match=r"cut\.gz:\d+: cannot be read further"):
        list(read_blocks(str(file), lambda count: None, block_bytes=64))
