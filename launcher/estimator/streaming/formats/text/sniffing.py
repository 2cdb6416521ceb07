"""How a file of text is laid out, found by looking at its first lines."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import replace

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.storage.files import open_data
from launcher.estimator.streaming.formats.storage.unpacking import Compression
from launcher.estimator.streaming.formats.text.form import USUAL, TextForm

LOOKED_AT_BYTES = 1 << 18
LOOKED_AT_LINES = 100
DELIMITERS = (",", "\t", ";", "|")
NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def find_form(path: str, compression: Compression = "auto") -> tuple[TextForm, list[str]]:
    """The layout of a file, and what is to be said of it. Raises BadDataError."""
    with open_data(path, compression) as file:
        try:
            head = file.read(LOOKED_AT_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise BadDataError(path, f"its first lines cannot be read: {error}", offset=0) from None
    encoding = "utf-16" if head.startswith(_UTF16) else "utf-8"
    said = [f"the encoding is {encoding}, by its first bytes"] if encoding != "utf-8" else []
    text = head.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")
    if len(head) == LOOKED_AT_BYTES and "\n" in text:
        text = text[: text.rindex("\n")]
    form = replace(USUAL, delimiter=_delimiter(text), encoding=encoding)
    if form.delimiter != USUAL.delimiter:
        said.append(f"values stand between {NAMES[form.delimiter]}")
    rows = _rows(text, form)
    if rows and not _is_header(rows):
        form = replace(form, header=tuple(f"c{number}" for number in range(len(rows[0]))))
        first = ", ".join(rows[0][:3])
        said.append(
            f"the first line ({first}, …) is a row and no header, so columns are {form.header[0]} to "
            f"{form.header[-1]}: write their names into the feature spec"
        )
    return form, said


def other_delimiter(path: str, compression: Compression, form: TextForm) -> str:
    """What is to be said of a file whose values do not stand between what they should, "" if they do."""
    found, _ = find_form(path, compression)
    if found.delimiter == form.delimiter:
        return ""
    wanted = NAMES.get(form.delimiter, repr(form.delimiter))
    return (
        f"its values stand between {NAMES[found.delimiter]}, those of the other files (or of the feature spec) between "
        f"{wanted}: read such files by themselves, or convert them first"
    )


def is_text(path: str, compression: Compression = "auto") -> bool:
    """Whether a file holds lines of text. Raises BadDataError."""
    with open_data(path, compression) as file:
        try:
            head = file.read(1 << 12)
        except (OSError, EOFError, zlib.error):
            return False
    if head.startswith(_UTF16):
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\n" in head and b"\0" not in head


def _delimiter(text: str) -> str:
    """The one by which most lines have the same number of values, and more than one."""
    best, most = USUAL.delimiter, 0
    for delimiter in DELIMITERS:
        rows = _rows(text, replace(USUAL, delimiter=delimiter))
        width = len(rows[0]) if rows else 0
        alike = sum(len(row) == width for row in rows) if width > 1 else 0
        if alike > most:
            best, most = delimiter, alike
    return best


def _rows(text: str, form: TextForm) -> list[list[str]]:
    lines = io.StringIO(text, newline="")
    try:
        return [row for row in form.fields(line for line, _ in zip(lines, range(LOOKED_AT_LINES), strict=False)) if row]
    except csv.Error:
        return []


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Names are no numbers, each is another one, and none is empty; or else one of them is above numbers."""
    names, below = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    if not any(_is_number(name) or not name for name in names):
        return True
    for place, name in enumerate(names):
        values = [row[place] for row in below if row[place]]
        if name and not _is_number(name) and values and all(map(_is_number, values)):
            return True
    return False


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text.strip()) is not None
