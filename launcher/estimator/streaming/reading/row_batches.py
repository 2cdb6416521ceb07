"""Raw records to rows, with what happens where one of them cannot be parsed."""

from __future__ import annotations

import threading

import numpy as np

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.columns import Array, Rows, join
from launcher.estimator.streaming.formats.feature_spec import Column, stacked
from launcher.estimator.streaming.formats.framing import BadRecord, offset_of
from launcher.estimator.streaming.formats.options import BY_GROUPS, ReadingOptions
from launcher.estimator.streaming.formats.parser import (
    Bad,
    Batch,
    ExampleParser,
    Parser,
    RowGroupParser,
    UnreadableError,
)
from launcher.estimator.streaming.formats.shards import Shard, partitions_of
from launcher.estimator.streaming.formats.text.lines import line_place, read_header
from launcher.estimator.streaming.formats.text.sniffing import other_delimiter
from launcher.estimator.streaming.reading.ledger import Ledger

MOST_PLACES = 20

_TYPES = {"int64": np.int64, "bytes": object}


class Parsing:
    """Thread-safe, but for ``check``. Keeps the books of what has been parsed."""

    def __init__(self, options: ReadingOptions, ledger: Ledger, *, threads: int) -> None:
        self._options = options
        self._ledger = ledger
        self._threads = threads
        self._lock = threading.Lock()
        self._parser: Parser | None = None
        self._header: tuple[str, ...] = ()
        self._placed = 0
        self._partitions = [column for column in options.spec.columns if column.partition]

    def check(self, shard: Shard) -> None:
        """Before the first record of a CSV file comes: its header. Raises BadDataError."""
        if self._options.format != "csv":
            return
        spec = self._options.spec
        header = read_header(shard.path, self._options.compression, spec.text)
        wrong = ""
        if self._header and header != self._header:
            wrong = f"its columns are {header}, those of the files before it {self._header}"
        self._header = self._header or header
        try:
            self._own_parser()
        except UnreadableError as error:
            wrong = f"{error}{spec.said}"
        if wrong:
            other = other_delimiter(shard.path, self._options.compression, spec.text)
            raise BadDataError(shard.path, other or wrong, offset=0)

    def rows(self, batch: Batch, seed: np.random.SeedSequence) -> Rows:
        """The rows of a batch; those of row groups are shuffled. Raises BadDataError, or tells ``on_skipped``."""
        parser = self._own_parser()
        try:
            rows = parser.parse(batch)
        except UnreadableError as error:
            rows = self._rescue(parser, batch, error)
        if self._partitions:
            rows = self._with_partitions(rows)
        rows = self._ledger.left(rows)
        self._ledger.parsed(batch.leases, rows.ints[-2])
        if self._options.format in BY_GROUPS and self._options.shuffle_rows:
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
        spec = self._options.spec.in_files
        if self._options.format == "csv":
            from launcher.estimator.streaming.formats.arrow.csv_parser import CsvParser

            return CsvParser(spec, self._header)
        if self._options.format == "parquet":
            from launcher.estimator.streaming.formats.arrow.parquet_parser import ParquetParser

            return ParquetParser(spec)
        make = RowGroupParser if self._options.format == "row_groups" else ExampleParser
        return make(spec, threads=self._threads)

    def _with_partitions(self, rows: Rows) -> Rows:
        """With what the folders say in which each row's file lies. Raises BadDataError where one says nothing."""
        leases, places = np.unique(rows.ints[-2], return_inverse=True)
        paths = [self._ledger.shard(int(lease)).path for lease in leases]
        made = {c.name: np.array([_partition(path, c) for path in paths], _TYPES[c.kind]) for c in self._partitions}
        values = {name: column[places] for name, column in made.items()}
        names = [name for name in stacked(self._options.spec, "ints") if name not in values]
        ints: dict[str, Array] = dict(zip(names, rows.ints, strict=False)) | values
        stack = [ints[name] for name in stacked(self._options.spec, "ints")]
        texts = {column.name: values[column.name] for column in self._partitions if column.kind == "bytes"}
        return Rows(
            ints=np.stack([*stack, rows.ints[-2], rows.ints[-1]]), floats=rows.floats, others={**rows.others, **texts}
        )

    def _rescue(self, parser: Parser, batch: Batch, error: UnreadableError) -> Rows:
        """The rows of the records that can be parsed; finds the others by halving, unless the parser knows them."""
        if error.rest is not None:
            for bad in error.bad:
                self._bad(bad)
            return error.rest
        if len(batch.records) <= 1:
            if len(batch.records):
                self._bad(Bad(int(batch.leases[0]), int(batch.numbers[0]), str(error)))
            return parser.parse(batch.cut(0, 0))
        middle = len(batch.records) // 2
        parts = []
        for half in (batch.cut(0, middle), batch.cut(middle, len(batch.records))):
            try:
                parts.append(parser.parse(half))
            except UnreadableError as found:
                parts.append(self._rescue(parser, half, found))
        return join(parts)

    def _bad(self, bad: Bad) -> None:
        path, fails = self._ledger.shard(bad.lease).path, self._options.on_bad_record == "fail"
        offset = line = None
        if fails or self._placed < MOST_PLACES:  # to find the place of each of many would read the file as often
            self._placed += 1
            offset, line = self._place(path, bad.number)
        if fails:
            reason = f"{bad.reason}{self._options.spec.said}"
            raise BadDataError(path, reason, offset=offset, record=bad.number, line=line)
        self._options.on_skipped(BadRecord(path=path, offset=offset, record=bad.number, reason=bad.reason, line=line))

    def _place(self, path: str, number: int) -> tuple[int | None, int | None]:
        """Byte and line of a record, as far as its format has them."""
        if self._options.format == "parquet":
            return None, None
        if self._options.format == "csv":
            return line_place(path, number, self._options.compression, self._options.spec.text) or (None, None)
        return offset_of(path, number, self._options.compression), None


def _partition(path: str, column: Column) -> int | bytes:
    """What the folders of a file say of a column."""
    text = partitions_of(path).get(column.name)
    if text is None and column.default is None:
        raise BadDataError(path, f"no folder says {column.name}=…, which the feature spec asks for")
    value = column.default if text is None else text
    try:
        return str(value).encode() if column.kind == "bytes" else int(value or 0)
    except ValueError:
        raise BadDataError(path, f"{column.name}={text} in the name of its folder is no {column.kind}") from None
