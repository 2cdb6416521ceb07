"""Texts as the values of a column."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from launcher.estimator.streaming.formats.arrow.types import ARROW, MISSING, said
from launcher.estimator.streaming.formats.arrow.values import lacking
from launcher.estimator.streaming.formats.feature_spec import Column


def missing_texts(column: Column) -> tuple[str, ...]:
    """What stands for no value in a column."""
    if column.missing is not None:
        return column.missing
    return () if column.kind == "bytes" else MISSING


def is_plain(column: Column) -> bool:
    """Whether pyarrow's reader makes its values by itself."""
    return not column.split and column.missing is None


def from_texts(texts: pa.Array, column: Column) -> pa.Array:
    """The values that they are: null for what is missing, no list for an empty text. Raises ArrowInvalid."""
    gaps = missing_texts(column)
    if column.split:
        gaps = ("", *gaps)
    if gaps:
        texts = pc.if_else(pc.is_in(texts, pa.array(gaps)), pa.scalar(None, pa.string()), texts)
    if not column.split:
        return texts.cast(ARROW[column.kind])
    return pc.split_pattern(texts, column.split).cast(pa.list_(ARROW[column.kind]))


def fit(texts: list[str], column: Column) -> bool:
    """Whether they can all be values of a column."""
    try:
        made = from_texts(pa.array(texts, pa.string()), column)
    except pa.ArrowInvalid:
        return False
    return lacking(made, column) is None


def misfit(text: str, column: Column) -> str:
    """Why a text cannot be the value of a column."""
    if text in missing_texts(column):
        return f"column {column.name!r} has no value; give it a default in the feature spec"
    shown = text if len(text) <= 80 else f"{text[:80]}…"
    return f"column {column.name!r}: {shown!r} is no {said(column)}"
