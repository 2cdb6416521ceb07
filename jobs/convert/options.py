"""What the commands are asked to do; :mod:`jobs.convert.cli` fills these in from the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What all layouts have in common. ``say`` is given whole lines."""

    out: Path
    replace: bool
    skip_bad_rows: bool
    most_ids: int
    rows_per_file: int
    seed: int
    say: Callable[[str], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Files to train on, and files to evaluate on or the share of the rows to keep for that."""

    train: tuple[Path, ...]
    eval: tuple[Path, ...]
    eval_share: float
