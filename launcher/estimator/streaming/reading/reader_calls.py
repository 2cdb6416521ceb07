"""What a reader process and its trainer say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.estimator.streaming.formats.framing import BadRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """The reader is up: where tf.data service is, and under which name."""

    address: str
    dataset: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Open:
    """An iterator begins; ``number`` is the reader's for it. Answered by Ready or Failed."""

    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Take:
    """``Leases.take`` of that iterator. Answered by what it gives, or Failed."""

    number: int
    opened: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """Leases are open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A call has raised an error."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """``Leases.ended`` of that iterator."""

    number: int
    lease: int
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A record was left out."""

    record: BadRecord
