"""The raw records of a shard, whatever its format, with the policy for what cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.framing import BadRecord, RawBlock, read_blocks
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.formats.text.lines import read_lines

RECORDS_IN_TURN = 256
GROUPS_IN_TURN = 4
PIECE_ROWS = 1024
"""Of Parquet: what is shuffled together before its rows are."""


def open_shard(shard: Shard, options: ReadingOptions, check: Callable[[Shard], None]) -> Iterator[RawBlock]:
    """Its records in blocks, after ``check``. Raises BadDataError, or tells ``options.on_skipped``."""
    skip = options.on_bad_record == "skip"
    try:
        check(shard)
        if options.format == "parquet":
            from launcher.estimator.streaming.formats.arrow.parquet_files import read_rows

            yield from read_rows(shard, options.spec.in_files, piece_rows=PIECE_ROWS)
        elif options.format == "csv":
            yield from read_lines(
                shard.path,
                compression=options.compression,
                form=options.spec.text,
                block_records=RECORDS_IN_TURN,
            )
        else:
            yield from read_blocks(
                shard.path,
                compression=options.compression,
                first_record=shard.first_record,
                records=shard.records,
                byte_offset=shard.byte_offset,
                block_records=GROUPS_IN_TURN if options.format == "row_groups" else RECORDS_IN_TURN,
                on_bad=options.on_skipped if skip else None,
            )
    except BadDataError as error:
        if not skip:
            raise
        options.on_skipped(
            BadRecord(path=error.path, offset=error.offset, record=error.record, reason=f"{error.reason} (skipped)")
        )
