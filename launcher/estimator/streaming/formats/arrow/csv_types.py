"""What the columns of CSV are: found in as many of their values as there is time for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from launcher.estimator.streaming.formats.arrow.types import MISSING
from launcher.estimator.streaming.formats.feature_spec import Column, Kind
from launcher.estimator.streaming.formats.text.form import TextForm

FEW = 1000
"""Where at most one value in so many is no number, the column is one of numbers, and that value is bad."""

_INTEGER = r"^-?(0|[1-9][0-9]*)$"
_PADDED = r"^-?0[0-9]"
_NUMBER = r"(?i)^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$|^[+-]?(nan|inf|infinity)$"
_LONG = r"^[+-]?0*\.?0*([0-9]\.?){8}"
"""More digits than float32 keeps."""


@dataclass(slots=True)
class Seen:
    """What has been seen of a column: counts, and an example of each thing that decides about its type."""

    values: int = 0
    missing: int = 0
    whole: bool = False
    fraction: bool = False
    negative: bool = False
    beyond_int64: bool = False
    beyond_uint64: str = ""
    padded: str = ""
    long: str = ""
    text: str = ""
    texts: int = 0

    def add(self, texts: pa.Array) -> None:
        """Learn from some values."""
        gaps = pc.is_in(texts, pa.array(MISSING))
        self.values += len(texts)
        self.missing += pc.sum(gaps).as_py() or 0
        rest = texts.filter(pc.invert(gaps))
        others = rest.filter(pc.invert(pc.match_substring_regex(rest, _NUMBER)))
        self.texts += len(others)
        self.text = self.text or _first(others)
        numbers = _having(rest.unique(), _NUMBER)
        self.padded = self.padded or _first(_having(_having(numbers, _PADDED), r"^-?[0-9]+$"))
        self.long = self.long or _first(_having(numbers, _LONG))
        whole = _having(numbers, _INTEGER)
        self.whole = self.whole or len(whole) > 0
        self.fraction = self.fraction or len(whole) < len(numbers)
        self._add_whole(whole)

    def column(self, name: str) -> tuple[Column, list[str]]:
        """The column, and what is to be said of it."""
        kind, said = self._kind()
        if self.texts and kind != "bytes":
            said.append(f"{self.texts:,} of {self.values:,} values, as {self.text!r}, are no numbers, and bad data")
        said = [f"{name}: {text}" for text in said]
        if kind == "bytes" or not self.missing:
            return Column(name=name, kind=kind), said
        said.append(
            f"{name}: {self.missing:,} of {self.values:,} values are missing; they are read as its default, 0: write "
            "another one in the feature spec"
        )
        return Column(name=name, kind=kind, default=0), said

    def _kind(self) -> tuple[Kind, list[str]]:
        has_numbers = self.whole or self.fraction
        if not has_numbers or self.texts * FEW > self.values - self.missing:
            return "bytes", [f"read as text, since {self.text!r} is no number"] if has_numbers else []
        if self.padded:
            return "bytes", [f"read as text, since numbers do not begin with 0, as {self.padded!r} does"]
        if self.fraction:
            note = f"read as float32, which keeps about 7 digits, and {self.long!r} has more: write float64 in the spec"
            return "float32", [f"{note} to keep them"] if self.long else []
        if not self.beyond_int64:
            return "int64", []
        if self.beyond_uint64 or self.negative:
            return "bytes", [f"read as text, since {self.beyond_uint64 or 'one'!r} fits neither int64 nor uint64"]
        return "uint64", ["uint64: batches have the int64 with the same bits, as 2**64 - 1 is -1; no two become one"]

    def _add_whole(self, texts: pa.Array) -> None:
        try:
            self.negative = self.negative or (pc.min(texts.cast(pa.int64())).as_py() or 0) < 0
        except pa.ArrowInvalid:
            self.beyond_int64 = True
            self.negative = self.negative or len(_having(texts, "^-")) > 0
            unsigned = texts.filter(pc.invert(pc.match_substring_regex(texts, "^-")))
            self.beyond_uint64 = self.beyond_uint64 or next(
                (text for text in unsigned.to_pylist() if int(text) >= 1 << 64), ""
            )


def text_columns(header: Sequence[str], lines: Sequence[bytes], form: TextForm) -> pa.Table:
    """Lines as columns of text; those that nobody can read, or that have another number of fields, are left out."""
    data = b"\n".join(lines).decode(errors="replace").encode() + b"\n"
    return arrow_csv.read_csv(
        pa.BufferReader(data),
        read_options=arrow_csv.ReadOptions(column_names=list(header), use_threads=False, block_size=len(data) + 1),
        parse_options=arrow_csv.ParseOptions(
            delimiter=form.delimiter,
            quote_char=form.quote or False,
            newlines_in_values=bool(form.quote),
            ignore_empty_lines=len(header) > 1,
            invalid_row_handler=lambda row: "skip",
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types={name: pa.string() for name in header}, strings_can_be_null=False
        ),
    )


def _having(texts: pa.Array, pattern: str) -> pa.Array:
    return texts.filter(pc.match_substring_regex(texts, pattern))


def _first(texts: pa.Array) -> str:
    return str(texts[0].as_py()) if len(texts) else ""
