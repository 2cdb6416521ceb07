"""How files of text are laid out: what stands between values, and where the names of columns are."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class TextForm:
    """``delimiter``: the character between values. ``header``: the names of all columns in their order, for files whose
    first line is a row already; none: the first line has them. ``quote``: the character around values that have the
    delimiter in them, "" where no character means that. ``encoding``: as Python calls it."""

    delimiter: str = ","
    header: tuple[str, ...] = ()
    quote: str = '"'
    encoding: str = "utf-8"

    def fields(self, lines: Iterable[str], *, strict: bool = False) -> list[list[str]]:
        """Lines as rows of texts. Raises csv.Error."""
        quoting: Any = csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE
        reader = csv.reader(
            lines, delimiter=self.delimiter, quotechar=self.quote or None, quoting=quoting, strict=strict
        )
        return list(reader)


USUAL = TextForm()


def to_entry(form: TextForm) -> dict[str, Any]:
    """As it stands in a feature spec; nothing where it is the usual one."""
    said = {"delimiter": form.delimiter, "header": list(form.header), "quote": form.quote, "encoding": form.encoding}
    usual = {"delimiter": USUAL.delimiter, "header": [], "quote": USUAL.quote, "encoding": USUAL.encoding}
    return {key: value for key, value in said.items() if value != usual[key]}


def from_entry(entry: Mapping[str, Any]) -> TextForm:
    """Raises ValueError."""
    known = {"delimiter", "header", "quote", "encoding"}
    if unknown := entry.keys() - known:
        raise ValueError(f"csv: no such key: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    form = TextForm(**{**entry, "header": tuple(entry.get("header", ()))})
    for key, value, least in (("delimiter", form.delimiter, 1), ("quote", form.quote, 0)):
        if not isinstance(value, str) or not least <= len(value) <= 1 or value in ("\n", "\r") or not value.isascii():
            raise ValueError(f"csv: {key} {value!r}: write one ASCII character")
    if form.delimiter == form.quote:
        raise ValueError(f"csv: delimiter and quote are both {form.quote!r}")
    if len(set(form.header)) < len(form.header) or not all(isinstance(n, str) and n for n in form.header):
        raise ValueError("csv: header: the names of all columns in their order, each once")
    try:
        codecs.lookup(form.encoding)
    except LookupError:
        raise ValueError(f"csv: encoding {form.encoding!r}: there is none of that name") from None
    return form
