"""One kind of failure, and the helpers that tables of them are written with."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One kind of failure.

    It fits if the exception is one of ``names`` (any, if there are none) and ``pattern`` is found in its ``text``, in
    the ``path`` of the file that raised it, or in the ``source`` line of the user's that did (``where``). ``through``:
    a frame of the traceback is in such a file. A rule without names also judges the last words of native code.
    ``title`` says what happened, ``advice`` what to do, with the values that ``advice.filled`` knows.
    """

    kind: str
    title: str
    advice: str
    names: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    where: str = "text"
    through: re.Pattern[str] | None = None
    permanent: bool = False
    knock_on: bool = False


def names_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


def any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))
