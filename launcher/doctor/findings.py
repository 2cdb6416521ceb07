"""What the doctor says about a host: a level, a word for the table, and, if something is wrong, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from launcher.wire.errors import EXIT_HOST


class Level(IntEnum):
    """How bad it is. ``SKIPPED``: it could not be looked at, or does not matter here."""

    SKIPPED = 0
    OK = 1
    WARNING = 2
    FAILED = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing found on one host. ``value`` is short; ``message`` and ``advice`` are there if it is no good news."""

    check: str
    host: str
    level: Level
    value: str = ""
    message: str = ""
    advice: str = ""


def exit_code(findings: Sequence[Finding]) -> int:
    """0 when a run may be started; warnings do not count."""
    return EXIT_HOST if any(finding.level is Level.FAILED for finding in findings) else 0
