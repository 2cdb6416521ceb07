"""Text files to tokens and numbers, many lines at a time by numpy alone.

A file is read in blocks of whole lines; every position in a block where a token ends is found at once, and numbers
are made digit by digit of all tokens together. Nothing here knows a layout.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jobs.errors import JobError
from launcher.estimator.streaming.formats.storage.files import open_data

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

BLOCK_BYTES = 4 << 20
LONGEST_LINE_BYTES = 64 << 20
NEWLINE = 0

_LF, _CR, _MINUS, _DOT = 10, 13, 45, 46
_NO_DIGIT = 255
_MOST_DIGITS = {10: 18, 16: 15}


class Block(NamedTuple):
    """Whole lines, each with its ``\\n``. ``first_line`` counts from 1."""

    path: str
    first_line: int
    data: Bytes


class Tokens(NamedTuple):
    """The tokens of some lines: ``data[start:end]`` each, ended by the delimiter number ``kind`` (0: the line's end).

    ``line``: of each token. ``first`` and ``last``: the tokens with which each line begins and ends.
    """

    data: Bytes
    start: Ints
    end: Ints
    kind: Bytes
    line: Ints
    first: Ints
    last: Ints

    @property
    def lines(self) -> int:
        return len(self.first)

    def text(self, token: int) -> str:
        """One token, for a message."""
        return self.data[self.start[token] : self.end[token]].tobytes().decode("utf-8", "replace")

    def reprs(self, tokens: Ints) -> list[str]:
        """Several, in quotes."""
        return [repr(self.text(token)) for token in tokens.tolist()]


def read_blocks(path: str, advance: Callable[[int], None], *, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The lines of a file, gzipped or not, in blocks of about ``block_bytes``; ``advance`` is told the bytes read.

    Raises JobError, or BadDataError where the file cannot be opened or is empty.
    """
    with open_data(path, "auto") as file:
        line, rest = 1, b""
        while True:
            try:
                data = file.read(block_bytes)
            except (OSError, EOFError, zlib.error) as error:
                raise JobError(f"{path}:{line}: cannot be read further: {error}; get the file again") from None
            advance(len(data))
            whole, rest = _whole_lines(rest + data, is_end=not data)
            if len(rest) > LONGEST_LINE_BYTES:
                raise JobError(f"{path}:{line}: a line of more than {LONGEST_LINE_BYTES >> 20} MiB; is it text?")
            if whole:
                block = Block(path, line, _bytes(whole))
                yield block
                line += int(np.count_nonzero(block.data == _LF))
            if not data:
                return


def tokenize(data: Bytes, delimiters: bytes) -> Tokens:
    """``delimiters``: those besides the line's end, which are of kind 1, 2, …"""
    kinds = np.full(256, _NO_DIGIT, np.uint8)
    kinds[np.frombuffer(b"\n" + delimiters, np.uint8)] = np.arange(1 + len(delimiters), dtype=np.uint8)
    found = kinds[data]
    end = np.flatnonzero(found != _NO_DIGIT)
    kind = found[end]
    last = np.flatnonzero(kind == NEWLINE)
    first = np.concatenate([[0], last[:-1] + 1])
    return Tokens(
        data=data,
        start=np.concatenate([[0], end[:-1] + 1]),
        end=end,
        kind=kind,
        line=np.repeat(np.arange(len(last)), last - first + 1),
        first=first,
        last=last,
    )


def integers(data: Bytes, start: Ints, end: Ints, *, base: int = 10) -> tuple[Ints, Mask]:
    """The numbers written there, and which of them are numbers; base 10 (up to 18 digits, perhaps a minus) or 16."""
    negative = (end > start) & (data[start] == _MINUS) & (base == 10)
    digits = end - start - negative
    good = (digits > 0) & (digits <= _MOST_DIGITS[base])
    value = np.zeros(len(start), np.int64)
    for place in range(int(digits[good].max(initial=0))):
        here = digits > place
        digit = _DIGITS[base][data[np.maximum(end - 1 - place, 0)]]
        good &= ~here | (digit != _NO_DIGIT)
        value += np.where(here & good, digit, 0).astype(np.int64) * base**place
    return np.where(negative, -value, value), good


def decimals(data: Bytes, start: Ints, end: Ints) -> npt.NDArray[np.float64]:
    """The numbers written there; NaN for what is none."""
    value, scale, power = np.zeros(len(start)), np.ones(len(start)), np.ones(len(start))
    plain, dots = end > start, np.zeros(len(start), np.int64)
    for place in range(int((end - start).max(initial=0))):
        here = end - start > place
        byte = data[np.maximum(end - 1 - place, 0)]
        digit, dot = _DIGITS[10][byte], here & (byte == _DOT)
        is_digit = here & (digit != _NO_DIGIT)
        plain &= ~here | dot | is_digit
        dots += dot
        scale = np.where(dot, power, scale)
        value += np.where(is_digit, digit, 0) * power
        power = np.where(is_digit, power * 10.0, power)
    value /= scale
    for odd in np.flatnonzero(~plain | (dots > 1) | (end - start == dots)):
        value[odd] = _float(data[start[odd] : end[odd]].tobytes())
    return value


def texts(data: Bytes, start: Ints, end: Ints) -> npt.NDArray[np.bytes_]:
    """The tokens themselves, as fixed-length byte strings."""
    width = max(1, int((end - start).max(initial=1)))
    places = start[:, None] + np.arange(width)
    inside = places < end[:, None]
    cells: Bytes = np.where(inside, data[np.minimum(places, len(data) - 1)], 0).astype(np.uint8)
    return np.ascontiguousarray(cells).view(f"S{width}").reshape(len(start))


def short_keys(data: Bytes, start: Ints, end: Ints) -> npt.NDArray[np.uint64]:
    """Tokens of up to 8 bytes as one number each, as :func:`short_key` gives it; 0 for longer ones."""
    length = end - start
    key = np.zeros(len(start), np.uint64)
    for place in range(min(8, int(length.max(initial=0)))):
        byte = data[np.minimum(start + place, len(data) - 1)].astype(np.uint64)
        key = np.where(length > place, (key << np.uint64(8)) | byte, key)
    return np.where(length <= 8, key, np.uint64(0))


def short_key(text: str) -> int:
    """See :func:`short_keys`."""
    return int.from_bytes(text.encode(), "big")


def _whole_lines(data: bytes, *, is_end: bool) -> tuple[bytes, bytes]:
    if is_end:
        return data + (b"" if not data or data.endswith(b"\n") else b"\n"), b""
    cut = data.rfind(b"\n") + 1
    return data[:cut], data[cut:]


def _bytes(lines: bytes) -> Bytes:
    data = np.frombuffer(lines, np.uint8)
    if b"\r\n" in lines:
        data = data[~((data == _CR) & (np.roll(data, -1) == _LF))]
    return data


def _float(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _digit_table(digits: bytes) -> Bytes:
    table = np.full(256, _NO_DIGIT, np.uint8)
    table[np.frombuffer(digits, np.uint8)] = np.arange(len(digits), dtype=np.uint8)
    return table


_DIGITS = {10: _digit_table(b"0123456789"), 16: _digit_table(b"0123456789abcdef")}
_DIGITS[16][np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16, dtype=np.uint8)
