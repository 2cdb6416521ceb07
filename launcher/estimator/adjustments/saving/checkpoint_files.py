"""The files of a checkpoint, without TensorFlow."""

from __future__ import annotations

import re
from pathlib import Path

_SHARD = re.compile(r"\.data-(\d{5})-of-(\d{5})$")


def missing_data(prefix: Path, needed: int) -> str:
    """What is missing of the checkpoint's data files, as far as names and sizes tell; empty if nothing is. ``needed``:
    bytes that its variables take at least."""
    shards = {
        match[0]: match for match in map(_SHARD.search, map(str, prefix.parent.glob(f"{prefix.name}.data-*"))) if match
    }
    if not shards:
        return f"its data file {prefix.name}.data-00000-of-00001 is missing"
    counts = {int(match[2]) for match in shards.values()}
    missing = max(counts) - len([match for match in shards.values() if int(match[2]) == max(counts)])
    if missing:
        return f"{missing} of its {max(counts)} data files are missing"
    held = sum(Path(f"{prefix}{suffix}").stat().st_size for suffix in shards)
    return f"its data is incomplete: {held:,} bytes of at least {needed:,}" if held < needed else ""
