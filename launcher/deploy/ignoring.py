"""Which files of a folder are left out: patterns as in .gitignore, those of deeper folders over those above. Pure.

The rules are those of gitignore(5): the last pattern that matches decides, ``!`` takes back, what is in an ignored
folder cannot be taken back, and a line that is no pattern is passed over. The spec's ``exclude`` stands above all
.gitignore files. Patterns come with the code of strangers, so they are matched by RE2, whose time grows with the length
of a name and no faster. As in git, they are matched byte by byte.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from pathspec import GitIgnoreSpec

ALWAYS = (".git", ".hg", ".svn", "__pycache__/")
MAX_PATTERN_LETTERS = 1000
_CLASS = re.compile(r"\[:(\w+):\]")
_CLASSES = {
    "alnum": "A-Za-z0-9",
    "alpha": "A-Za-z",
    "blank": " \t",
    "digit": "0-9",
    "lower": "a-z",
    "punct": "!-.:-@^-`{-~",
    "space": " \t\n\r\f\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


@dataclass(frozen=True, slots=True)
class _Layer:
    """``base``: the folder of the patterns, ending with a slash, or empty."""

    base: str
    patterns: GitIgnoreSpec


@dataclass(frozen=True, slots=True)
class Ignoring:
    """What is left out in one folder. ``layers``: .gitignore files from the top down to it."""

    exclude: GitIgnoreSpec
    layers: tuple[_Layer, ...] = ()

    def inside(self, base: str, gitignore: str) -> Ignoring:
        """The same, with the .gitignore of the folder ``base`` (ending with a slash, or empty for the top)."""
        layer = _Layer(base, _compiled([line for line in gitignore.splitlines() if _why_not(line) is None]))
        return Ignoring(self.exclude, (*self.layers, layer))

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        """Whether ``path``, seen from the top, is left out; folders above it are not looked at."""
        name = f"{path}/" if is_folder else path
        if self.exclude.match_file(_bytewise(name)):
            return True
        for layer in reversed(self.layers):
            decided = layer.patterns.check_file(_bytewise(name.removeprefix(layer.base))).include
            if decided is not None:
                return decided
        return False


def ignoring(exclude: Iterable[str]) -> Ignoring:
    """What is left out by the spec's ``exclude`` and always; raises ValueError for a pattern that is none."""
    return Ignoring(matching((*exclude, *ALWAYS)))


def matching(patterns: Iterable[str]) -> GitIgnoreSpec:
    """The patterns of a spec, compiled; raises ValueError that names the first that is none."""
    wanted = list(patterns)
    for pattern in wanted:
        if (reason := _why_not(pattern)) is not None:
            raise ValueError(f"{pattern[:60]!r} is no pattern: {reason}")
    return _compiled(wanted)


def matches(patterns: GitIgnoreSpec, path: str) -> bool:
    """Whether one of the patterns matches ``path``, seen from the top."""
    return patterns.match_file(_bytewise(path))


def _why_not(pattern: str) -> str | None:
    """What is wrong with a pattern; None for one that can be used."""
    if len(pattern) > MAX_PATTERN_LETTERS:
        return f"it has more than {MAX_PATTERN_LETTERS} letters"
    try:
        _compiled([pattern])
    except Exception as error:  # noqa: BLE001 - the library lets through what re and re2 raise, which share no base
        return str(error)
    return None


def _compiled(patterns: Iterable[str]) -> GitIgnoreSpec:
    with warnings.catch_warnings():  # about what a bracket may mean in future versions of re, which does not match here
        warnings.simplefilter("ignore", FutureWarning)
        return GitIgnoreSpec.from_lines([_bytewise(_without_classes(text)) for text in patterns], backend="re2")


def _without_classes(pattern: str) -> str:
    """The pattern with ``[[:alpha:]]`` written out, which the library does not know."""
    return _CLASS.sub(lambda match: _CLASSES.get(match[1], match[0]), pattern)


def _bytewise(text: str) -> str:
    """A letter for each byte: names need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
