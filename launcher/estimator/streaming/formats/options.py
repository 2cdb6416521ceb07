"""How data is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.formats.feature_spec import FeatureSpec
from launcher.estimator.streaming.formats.storage.unpacking import COMPRESSIONS, Compression

if TYPE_CHECKING:
    from launcher.estimator.streaming.formats.framing import (
        BadRecord,  # it needs NumPy, which a command line does without
    )

Format = Literal["example", "row_groups", "csv", "parquet"]
FORMATS: tuple[Format, ...] = ("example", "row_groups", "csv", "parquet")
BY_GROUPS: tuple[Format, ...] = ("row_groups", "parquet")
"""Those of which many rows are read, and handed on, together."""
Reader = Literal["thread", "process"]
READERS: tuple[Reader, ...] = ("thread", "process")


def ignore(_: BadRecord) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingOptions:
    """What :func:`launcher.estimator.streaming.reading.dataset.read` needs to know.

    ``spec``: the features wanted; others in the data are passed over. ``format``: one tf.Example a record, row
    groups, CSV with a header line, or Parquet. ``shuffle_rows``: about how many rows are held for shuffling; 0 keeps
    the order of the files, with one file open at a time. ``seed``: for the shuffling; None differs each time.
    ``open_files``: how many are read in turns. ``linger_s``: the longest that a row waits for its batch or the
    shuffle buffer to fill, None for ever; it makes short batches where data is scarce. ``cores``: None for what this
    task may use (``cores.py``). ``on_bad_record``: ``fail`` raises BadDataError, ``skip`` leaves records out and
    tells ``on_skipped`` each (called from threads of the engine). ``reader``: read and parse in this process, or in
    one of its own (``reader.py``).
    """

    spec: FeatureSpec
    format: Format
    batch_examples: int
    compression: Compression = "auto"
    shuffle_rows: int = 32_768
    seed: int | None = None
    open_files: int = 4
    linger_s: float | None = None
    cores: int | None = None
    on_bad_record: Literal["fail", "skip"] = "fail"
    reader: Reader = "thread"
    on_skipped: Callable[[BadRecord], None] = ignore

    def __post_init__(self) -> None:
        if self.batch_examples < 1 or self.open_files < 1 or self.shuffle_rows < 0:
            raise StreamingError("batch_examples and open_files need at least 1, shuffle_rows at least 0")
        if self.compression not in COMPRESSIONS:
            raise StreamingError(f"compression {self.compression!r}: write one of {', '.join(COMPRESSIONS)}")
        split = [column.name for column in self.spec.columns if column.split]
        if split and self.format in ("example", "row_groups"):
            raise StreamingError(f"feature {split[0]!r}: split is for texts of CSV and Parquet, not of TFRecord")
        if self.format not in FORMATS:
            raise StreamingError(f"format {self.format!r}: write one of {', '.join(FORMATS)}")
        if self.reader not in READERS:
            raise StreamingError(f"reader {self.reader!r}: write one of {', '.join(READERS)}")
