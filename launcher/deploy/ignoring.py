"""Which files of a folder are left out: patterns as in .gitignore, those of deeper folders over those above. Pure.

The rules are those of gitignore(5): the last pattern that matches decides, ``!`` takes back, and what is in an ignored
folder cannot be taken back. The spec's ``exclude`` stands above all .gitignore files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pathspec import GitIgnoreSpec

ALWAYS = (".git", ".hg", ".svn", "__pycache__/")


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
        layer = _Layer(base, GitIgnoreSpec.from_lines(gitignore.splitlines()))
        return Ignoring(self.exclude, (*self.layers, layer))

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        """Whether ``path``, seen from the top, is left out; folders above it are not looked at."""
        name = f"{path}/" if is_folder else path
        if self.exclude.match_file(name):
            return True
        for layer in reversed(self.layers):
            decided = layer.patterns.check_file(name.removeprefix(layer.base)).include
            if decided is not None:
                return decided
        return False


def ignoring(exclude: Iterable[str]) -> Ignoring:
    """What is left out by the spec's ``exclude`` and always; raises ValueError for a pattern that is none."""
    patterns = (*exclude, *ALWAYS)
    for pattern in patterns:
        try:
            GitIgnoreSpec.from_lines([pattern])
        except ValueError as error:
            raise ValueError(f"{pattern!r} is no pattern: {error}") from error
    return Ignoring(GitIgnoreSpec.from_lines(patterns))
