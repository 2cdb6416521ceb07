"""What can go wrong in the launcher itself, as one tree, and the exit code of every ending.

``str()`` of an error is what the user sees; it says what to do. Attributes carry the data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

EXIT_USAGE = 2
EXIT_HOST = 3


class TflaunchError(Exception):
    """Base of every error that the launcher raises on purpose. ``exit_code``: how a command that meets it ends."""

    exit_code: ClassVar[int] = 1


class UsageError(TflaunchError):
    """The command line, or what it names, is wrong."""

    exit_code: ClassVar[int] = EXIT_USAGE


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct in a spec or an option.

    ``file``: the spec, or the option or variable that gave the value; ``line`` counts from 1, None where there are no
    lines; ``path``: where in the spec, as in ``roles.worker.count``.
    """

    file: str
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (where, self.path, self.message) if part)


class SpecError(UsageError):
    """A cluster spec cannot be used. ``problems``: everything that is wrong with it, in order of line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class HostError(TflaunchError):
    """A host, a port or a foreign process stands in the way."""

    exit_code: ClassVar[int] = EXIT_HOST

    def __init__(self, host: str, message: str, advice: str = "") -> None:
        self.host = host
        self.message = message
        self.advice = advice
        super().__init__(f"{host}: {message}" + (f"; {advice}" if advice else ""))
