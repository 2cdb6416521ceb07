"""Arrow's types and those of a feature spec: which column is made of which, and what that changes."""

from __future__ import annotations

import pyarrow as pa

from launcher.estimator.streaming.formats.feature_spec import INTEGERS, Column, Kind

MISSING = ("", "NA", "N/A", "null", "NULL", "None", "\\N")
"""What stands for no value in a column of numbers."""

ARROW = {
    "int64": pa.int64(),
    "uint64": pa.uint64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bytes": pa.string(),
}


def column_of(field: pa.Field) -> tuple[Column | None, str]:
    """The column that a field becomes, None where it is left out; and what that changes in it, "" if nothing."""
    kind: pa.DataType = field.type
    length: int | None = 1
    if pa.types.is_fixed_size_list(kind):
        kind, length = kind.value_type, kind.list_size
    elif _is_list(kind):
        kind, length = kind.value_type, None
    found, said = _kind_of(kind.value_type if pa.types.is_dictionary(kind) else kind)
    if found is None:
        return None, said
    return Column(name=field.name, kind=found, length=length), said


def misfit(field: pa.Field, column: Column) -> str:
    """Why a field cannot be the column that the spec says, "" if it can."""
    found, _ = column_of(field)
    if column.split and found is not None and found.kind == "bytes" and found.length == 1:
        return ""
    if found is None or not _fits(found, column):
        return f"column {column.name!r} is {field.type} in this file; the feature spec says {said(column)}"
    return ""


def arrow_type(column: Column) -> pa.DataType:
    """What a column is written as."""
    kind = pa.binary() if column.kind == "bytes" else ARROW[column.kind]
    return kind if column.length == 1 else pa.list_(kind) if column.length is None else pa.list_(kind, column.length)


def _kind_of(kind: pa.DataType) -> tuple[Kind | None, str]:
    if pa.types.is_uint64(kind):
        return "uint64", ""
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "int64", ""
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return "float32", ""
    if pa.types.is_float64(kind) or pa.types.is_decimal(kind):
        return "float32", f"{kind} is read as float32, with about 7 digits; write float64 in the spec to keep more"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "bytes", ""
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "bytes", ""
    if pa.types.is_date32(kind) or pa.types.is_timestamp(kind) or pa.types.is_time(kind) or pa.types.is_date64(kind):
        unit = "days" if pa.types.is_date32(kind) else getattr(kind, "unit", "ms")
        return "int64", f"{kind} is read as a whole number of {unit}"
    return None, f"{kind} is left out: there is no feature of that type"


def _fits(found: Column, wanted: Column) -> bool:
    if (found.length == 1) is not (wanted.length == 1):
        return False
    if found.length is not None and wanted.length is not None and found.length != wanted.length:
        return False
    if found.kind == wanted.kind:
        return True
    if wanted.kind in ("float32", "float64"):
        return found.kind != "bytes"
    return wanted.kind in INTEGERS and found.kind == "int64"


def said(column: Column) -> str:
    """Its type, as people read it."""
    if column.length == 1:
        return column.kind
    return f"list of {column.kind}" if column.length is None else f"list of {column.length} {column.kind}"


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))
