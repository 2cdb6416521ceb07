"""A shard: the part of a file that a trainer gets at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """Part of one file, handed out as a whole.

    ``records``: how many, None to the end of the file. ``byte_offset``: where ``first_record`` begins; 0 for whole
    files, and therefore for gzip and CSV.
    """

    path: str
    first_record: int = 0
    records: int | None = None
    byte_offset: int = 0
