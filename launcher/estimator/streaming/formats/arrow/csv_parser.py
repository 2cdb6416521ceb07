"""Lines of CSV to rows, many at a time, by pyarrow's reader; what it cannot read is found line by line."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from launcher.estimator.streaming.formats.arrow.texts import fit, from_texts, is_plain, misfit
from launcher.estimator.streaming.formats.arrow.types import ARROW, MISSING, arrow_type
from launcher.estimator.streaming.formats.arrow.values import lacking, rows_of
from launcher.estimator.streaming.formats.columns import Rows
from launcher.estimator.streaming.formats.feature_spec import FeatureSpec
from launcher.estimator.streaming.formats.parser import Bad, Batch, UnreadableError
from launcher.estimator.streaming.formats.text.lines import is_open

_GOES_ON = "a quoted field does not end"


class CsvParser:
    """Lines to rows; every file has the same header. Thread-safe."""

    def __init__(self, spec: FeatureSpec, header: Sequence[str]) -> None:
        wrong = [column.name for column in spec.columns if column.length != 1 and not column.split]
        if wrong:
            raise UnreadableError(
                f"a CSV field holds one value: feature {wrong[0]!r} can be a list if the spec says what stands between "
                'its values: "split": "|"'
            )
        missing = [column.name for column in spec.columns if column.name not in header]
        if missing:
            raise UnreadableError(f"the header has no column {', '.join(map(repr, missing))}")
        self._spec = spec
        self._header = list(header)
        self._form = spec.text
        self._types = {c.name: ARROW[c.kind] if is_plain(c) else pa.string() for c in spec.columns}

    def parse(self, batch: Batch) -> Rows:
        """The rows of a batch, in its order. Raises UnreadableError with the lines at fault and the other rows."""
        try:
            table, bad = self._table(batch.records.tolist(), self._spec), None
        except (pa.ArrowInvalid, _LineCountError):
            bad = self._bad(batch.records.tolist())
            good = np.setdiff1d(np.arange(len(batch.records)), np.fromiter(bad, np.int64, len(bad)))
            whole, batch = batch, batch.take(good)
            table = self._table(batch.records.tolist(), self._spec)
        rows = self._rows(table, batch)
        if bad:
            found = tuple(Bad(int(whole.leases[i]), int(whole.numbers[i]), reason) for i, reason in sorted(bad.items()))
            raise UnreadableError(found[0].reason, bad=found, rest=rows)
        return rows

    def close(self) -> None:
        pass

    def _rows(self, table: pa.Table, batch: Batch) -> Rows:
        arrays = {column.name: table.column(column.name).chunks for column in self._spec.columns}
        return rows_of(arrays, self._spec, batch.leases, batch.numbers)

    def _table(self, lines: list[bytes], spec: FeatureSpec) -> pa.Table:
        """Raises ArrowInvalid, and _LineCountError where quotes make one row of several lines or values are missing."""
        names = [column.name for column in spec.columns]
        if not lines:
            return pa.table({column.name: pa.array([], arrow_type(column)) for column in spec.columns})
        data = b"\n".join(lines) + b"\n"
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(column_names=self._header, use_threads=False, block_size=len(data) + 1),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self._form.delimiter,
                quote_char=self._form.quote or False,
                newlines_in_values=bool(self._form.quote),
                ignore_empty_lines=False,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=self._types,
                include_columns=names,
                null_values=list(MISSING),
                strings_can_be_null=False,
            ),
        )
        for place, column in enumerate(spec.columns):
            if not is_plain(column):
                parts = [from_texts(part, column) for part in table.column(place).chunks]
                table = table.set_column(
                    place, column.name, pa.chunked_array(parts, None if parts else arrow_type(column))
                )
        if table.num_rows != len(lines) or any(
            lacking(part, column) is not None for column in spec.columns for part in table.column(column.name).chunks
        ):
            raise _LineCountError
        return table

    def _bad(self, lines: list[bytes]) -> dict[int, str]:
        """Why lines cannot be read, by their places."""
        bad: dict[int, str] = {}
        fields: dict[int, list[str]] = {}
        for place, line in enumerate(lines):
            try:
                fields[place] = self._fields(line)
            except UnreadableError as error:
                bad[place] = str(error)
        for column in self._spec.columns:
            if (column.kind == "bytes" and is_plain(column)) or not fields:
                continue
            index = self._header.index(column.name)
            texts = {place: row[index] for place, row in fields.items()}
            if not fit(list(texts.values()), column):
                wrong = {place: text for place, text in texts.items() if not fit([text], column)}
                bad = {place: misfit(text, column) for place, text in wrong.items()} | bad
        return bad

    def _fields(self, line: bytes) -> list[str]:
        try:
            rows = self._form.fields([line.decode()]) or [[""]]
        except UnicodeDecodeError as error:
            raise UnreadableError(f"it is not UTF-8: {error.reason}") from None
        except csv.Error as error:
            raise UnreadableError(str(error)) from None
        if self._form.quote and is_open(line, self._form):
            raise UnreadableError(_GOES_ON)
        if len(rows[0]) != len(self._header):
            raise UnreadableError(f"the line has {len(rows[0])} fields, the header {len(self._header)}")
        return rows[0]


class _LineCountError(Exception):
    """Lines are not what they look like."""
