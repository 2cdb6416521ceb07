"""A shard: the part of a file that a trainer gets at once; and what the folders say in which a file lies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

_PARTITION = re.compile(r"([^=/]+)=([^=/]*)", re.DOTALL)
ENOUGH_SHARDS, ENOUGH_RECORDS = 512, 1024
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """Part of one file, handed out as a whole.

    ``records``: how many (of Parquet: rows), None to the end of the file. ``byte_offset``: where ``first_record``
    begins; 0 for whole files, and therefore for gzip and CSV, and for Parquet.
    """

    path: str
    first_record: int = 0
    records: int | None = None
    byte_offset: int = 0


def together_of(records: int, slice_records: int) -> int:
    """Of how many records the shards of a file are: ``slice_records``, or where that would make thousands of small ones
    a multiple of it, up to 1,024. To lease one costs the same however small it is."""
    shards = -(-records // slice_records)
    return slice_records * max(1, min(ENOUGH_RECORDS // slice_records, -(-shards // ENOUGH_SHARDS)))


def partitions_of(path: str) -> Mapping[str, str | None]:
    """What the folders directly above a file say of all its rows: ``dt=2026-01-01/country=FI/part-0.parquet``. None
    stands for no value, as Hive and Spark write it."""
    found: dict[str, str | None] = {}
    for part in reversed(path.split("/")[:-1]):
        match = _PARTITION.fullmatch(part)
        if match is None:
            break
        found[unquote(match[1])] = None if match[2] == _NO_VALUE else unquote(match[2])
    return dict(reversed(found.items()))
