"""Raw records to rows, with what happens where one of them cannot be parsed."""

from __future__ import annotations

import threading

import numpy as np

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.columns import Rows, join
from launcher.estimator.streaming.formats.csv_lines import CsvParser, line_offset, read_header
from launcher.estimator.streaming.formats.framing import BadRecord, offset_of
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.formats.parser import Batch, ExampleParser, Parser, RowGroupParser, UnreadableError
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.reading.ledger import Ledger


class Parsing:
    """Thread-safe, but for ``check``. Keeps the books of what has been parsed."""

    def __init__(self, options: ReadingOptions, ledger: Ledger, *, threads: int) -> None:
        self._options = options
        self._ledger = ledger
        self._threads = threads
        self._lock = threading.Lock()
        self._parser: Parser | None = None
        self._header: tuple[str, ...] = ()

    def check(self, shard: Shard) -> None:
        """Before the first record of a CSV file comes: its header. Raises BadDataError."""
        if self._options.format != "csv":
            return
        header = read_header(shard.path, self._options.compression)
        if not self._header:
            self._header = header
        elif header != self._header:
            raise BadDataError(
                shard.path, f"its columns are {header}, those of the files before it {self._header}", offset=0
            )
        try:
            self._own_parser()
        except UnreadableError as error:
            raise BadDataError(shard.path, str(error), offset=0) from None

    def rows(self, batch: Batch, seed: np.random.SeedSequence) -> Rows:
        """The rows of a batch; those of row groups are shuffled. Raises BadDataError, or tells ``on_skipped``."""
        parser = self._own_parser()
        try:
            rows = parser.parse(batch)
        except UnreadableError as error:
            rows = self._rescue(parser, batch, error)
        self._ledger.parsed(batch.leases, rows.ints[-2])
        if self._options.format == "row_groups" and self._options.shuffle_rows:
            return rows.take(np.random.default_rng(seed).permutation(len(rows)))
        return rows

    def close(self) -> None:
        if self._parser is not None:
            self._parser.close()

    def _own_parser(self) -> Parser:
        with self._lock:
            if self._parser is None:
                self._parser = self._make_parser()
            return self._parser

    def _make_parser(self) -> Parser:
        spec = self._options.spec
        if self._options.format == "csv":
            return CsvParser(spec, self._header)
        make = RowGroupParser if self._options.format == "row_groups" else ExampleParser
        return make(spec, threads=self._threads)

    def _rescue(self, parser: Parser, batch: Batch, error: UnreadableError) -> Rows:
        """The rows of the records that can be parsed; finds the others by halving."""
        if len(batch.records) <= 1:
            if len(batch.records):
                self._bad(batch, str(error))
            return parser.parse(batch.cut(0, 0))
        middle = len(batch.records) // 2
        parts = []
        for half in (batch.cut(0, middle), batch.cut(middle, len(batch.records))):
            try:
                parts.append(parser.parse(half))
            except UnreadableError as found:
                parts.append(self._rescue(parser, half, found))
        return join(parts)

    def _bad(self, batch: Batch, reason: str) -> None:
        path, record = self._ledger.shard(int(batch.leases[0])).path, int(batch.numbers[0])
        find = line_offset if self._options.format == "csv" else offset_of
        offset = find(path, record, self._options.compression)
        if self._options.on_bad_record == "fail":
            raise BadDataError(path, reason, offset=offset, record=record)
        self._options.on_skipped(BadRecord(path=path, offset=offset, record=record, reason=reason))
