"""What the values of flags may be: each takes the text of one, and refuses it in words."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from jobs.esmm.config import PAPER_TOWERS


def _number(kind: Callable[[str], float], accepts: Callable[[float], bool], what: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not accepts(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return value

    return parse


count = _number(int, lambda value: value >= 1, "a whole number, 1 or more")
whole = _number(int, lambda value: value >= 0, "a whole number, 0 or more")
number_or_0 = _number(float, lambda value: 0 <= value < float("inf"), "a number, 0 or more")
share = _number(float, lambda value: 0 < value < 1, "a number between 0 and 1")
positive = _number(float, lambda value: 0 < value < float("inf"), "a number above 0")


def renamings(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs (new name, old name)."""
    pairs = [tuple(part.split("=")) for part in text.split(",") if part]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not NEW=OLD,NEW=OLD")
    return tuple((pair[0], pair[1]) for pair in pairs)


def widths(text: str) -> tuple[int, ...]:
    """Layers such as ``64,32``, or ``paper``."""
    if text == "paper":
        return PAPER_TOWERS
    return tuple(int(count(width)) for width in text.split(","))
