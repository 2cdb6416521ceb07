"""What columns the data has: inferred once, written beside the data as ``feature_spec.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from launcher.estimator.streaming.errors import StreamingError

SPEC_FILE = "feature_spec.json"
ROWS = "#rows"
"""The feature of a row group that says how many rows it has; names that begin with ``#`` are ours."""

Kind = Literal["int64", "float32", "bytes"]
_KINDS: tuple[Kind, ...] = ("int64", "float32", "bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One feature. ``length``: values per row; 1 is a scalar, None means that it differs from row to row."""

    name: str
    kind: Kind = "int64"
    length: int | None = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSpec:
    """The columns of a data set, by name in order."""

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        reserved = [name for name in names if name.startswith(("#", "_lease", "_row")) or not name]
        if reserved or len(set(names)) < len(names):
            raise StreamingError(f"feature names must differ, and not begin with '#', '_lease' or '_row': {names}")

    def select(self, names: Iterable[str]) -> FeatureSpec:
        """Only these columns. Raises StreamingError where one is not there."""
        by_name = {column.name: column for column in self.columns}
        wanted = list(names)
        missing = [name for name in wanted if name not in by_name]
        if missing:
            raise StreamingError(f"the data has no feature {', '.join(missing)}; it has {', '.join(by_name)}")
        return FeatureSpec(columns=tuple(by_name[name] for name in wanted))


def lengths_name(name: str) -> str:
    """The feature of a row group that holds how many values each row has, for a column without a fixed length."""
    return f"#lengths/{name}"


def to_json(spec: FeatureSpec) -> str:
    columns = {column.name: {"type": column.kind, "length": column.length} for column in spec.columns}
    return json.dumps({"columns": columns}, indent=2) + "\n"


def from_json(text: str, source: str) -> FeatureSpec:
    """Raises StreamingError that names ``source``."""
    try:
        columns = [_column(name, entry) for name, entry in json.loads(text)["columns"].items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StreamingError(f"{source} is not a feature spec: {error}; write it again with 'convert'") from None
    return FeatureSpec(columns=tuple(columns))


def spec_path(data_path: str) -> str:
    """Where the spec of a data file is: beside it."""
    return str(PurePath(data_path).parent / SPEC_FILE) if "://" not in data_path else _beside(data_path)


def _beside(url: str) -> str:
    return f"{url.rpartition('/')[0]}/{SPEC_FILE}"


def _column(name: str, entry: Any) -> Column:
    kind, length = entry["type"], entry["length"]
    if kind not in _KINDS or not (length is None or (isinstance(length, int) and length > 0)):
        raise ValueError(f"feature {name!r}: type {kind!r}, length {length!r}")
    return Column(name=name, kind=kind, length=length)
