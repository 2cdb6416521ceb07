"""What columns the data has: inferred once, written beside the data as ``feature_spec.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.formats.text.form import USUAL, TextForm, from_entry, to_entry

SPEC_FILE = "feature_spec.json"
ROWS = "#rows"
"""The feature of a row group that says how many rows it has; names that begin with ``#`` are ours."""

Kind = Literal["int64", "uint64", "float32", "float64", "bytes"]
KINDS: tuple[Kind, ...] = ("int64", "uint64", "float32", "float64", "bytes")
HASH = 10_000
INTEGERS: tuple[Kind, ...] = ("int64", "uint64")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One feature. ``length``: values per row; 1 is a scalar, None means that it differs from row to row.

    ``uint64`` travels as the int64 with the same 64 bits, since TensorFlow has no other place for it in a tf.Example:
    2**64 - 1 is -1 in a batch. ``default``: what a row without a value gets; None: such a row is bad data.
    ``partition``: the value is in the name of a folder, ``dt=2026-01-01``, and not in the file. ``split``: the list is
    one text in the file (CSV, Parquet), with this between its values. ``missing``: the texts that stand for no value
    (CSV); None: the usual ones for numbers, none for texts.

    For models alone (``feature_columns``): ``hash``: the values are classes, hashed into so many; ``vocabulary``: these
    are the classes.
    """

    name: str
    kind: Kind = "int64"
    length: int | None = 1
    default: int | float | str | None = None
    hash: int | None = None
    vocabulary: tuple[int | str, ...] = ()
    partition: bool = False
    split: str = ""
    missing: tuple[str, ...] | None = None

    @property
    def stack(self) -> Literal["ints", "floats"] | None:
        """Which of the stacks of :class:`~launcher.estimator.streaming.formats.columns.Rows` it is a row of."""
        if self.length != 1:
            return None
        return "ints" if self.kind in INTEGERS else "floats" if self.kind == "float32" else None


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSpec:
    """The columns of a data set, by name in order; ``text``: how its files are laid out, if they are CSV; ``origin``:
    the file that it was read from, "" if none."""

    columns: tuple[Column, ...]
    text: TextForm = USUAL
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        reserved = [name for name in names if name.startswith(("#", "_lease", "_row")) or not name]
        if reserved or len(set(names)) < len(names):
            raise StreamingError(f"feature names must differ, and not begin with '#', '_lease' or '_row': {names}")

    @property
    def in_files(self) -> FeatureSpec:
        """Without what the names of folders say."""
        if not any(column.partition for column in self.columns):
            return self
        return replace(self, columns=tuple(column for column in self.columns if not column.partition))

    @property
    def said(self) -> str:
        """What is added where data does not fit: a spec may lie beside files that it was not written for."""
        return f" (the feature spec is {self.origin})" if self.origin else ""

    def as_files(self) -> FeatureSpec:
        """What it is once it has been converted: the names of folders are columns, texts are what they stand for."""
        found = tuple(replace(column, partition=False, split="", missing=None) for column in self.columns)
        return FeatureSpec(columns=found)

    def select(self, names: Iterable[str]) -> FeatureSpec:
        """Only these columns. Raises StreamingError where one is not there."""
        by_name = {column.name: column for column in self.columns}
        wanted = list(names)
        missing = [name for name in wanted if name not in by_name]
        if missing:
            raise StreamingError(f"the data has no feature {', '.join(missing)}; it has {', '.join(by_name)}")
        return replace(self, columns=tuple(by_name[name] for name in wanted))

    def feature_columns(self, *, without: Iterable[str] = ()) -> tuple[list[Any], list[Any]]:
        """Columns for the linear and for the deep part of a canned Estimator, of all features but those ``without``.

        A column with a ``vocabulary`` or ``hash``, and each of texts or uint64 (hashed into 10,000 then), is of
        classes: by themselves in the linear part, embedded in the deep one. Others are numbers in both; lists of
        numbers that differ in length are in neither. Where a name cannot be one of TensorFlow's, as ``年龄``, its
        variables have another one (``scopes.py``).
        """
        from tensorflow import feature_column as made

        from launcher.estimator.streaming.formats.scopes import scoped

        left_out = {*without}
        linear: list[Any] = []
        deep: list[Any] = []
        for column in self.columns:
            if column.name in left_out:
                continue
            classes = _classes(column)
            if classes is not None:
                classes = scoped(classes)
                linear.append(classes)
                deep.append(made.embedding_column(classes, _width(classes.num_buckets)))
            elif column.length is not None:
                number = scoped(made.numeric_column(column.name, shape=[column.length]))
                linear.append(number)
                deep.append(number)
        return linear, deep

    def parsing(self, *, without: Iterable[str] = ()) -> dict[str, Any]:
        """For ``tf.io.parse_example`` and ``serving_input_fn``: the same features, of a tf.Example."""
        left_out = {*without}
        return {column.name: example_feature(column) for column in self.columns if column.name not in left_out}


def stacked(spec: FeatureSpec, stack: Literal["ints", "floats"]) -> list[str]:
    """The names of the columns of one stack, in its order."""
    return [column.name for column in spec.columns if column.stack == stack]


def unstacked(spec: FeatureSpec) -> list[Column]:
    """The columns that are in no stack."""
    return [column for column in spec.columns if column.stack is None]


def signed(value: int) -> int:
    """The int64 with the bits of an integer from -2**63 to 2**64 - 1."""
    return value - (1 << 64) if value >= 1 << 63 else value


def lengths_name(name: str) -> str:
    """The feature of a row group that holds how many values each row has, for a column without a fixed length."""
    return f"#lengths/{name}"


def to_json(spec: FeatureSpec) -> str:
    body: dict[str, Any] = {"columns": {column.name: _entry(column) for column in spec.columns}}
    text = to_entry(spec.text)
    return json.dumps(body | ({"csv": text} if text else {}), indent=2, ensure_ascii=False) + "\n"


def from_json(text: str, source: str) -> FeatureSpec:
    """Raises StreamingError that names ``source``."""
    try:
        body = json.loads(text)
        columns = [_column(name, entry) for name, entry in body["columns"].items()]
        form = from_entry(body.get("csv", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StreamingError(f"{source} is not a feature spec: {error}; write it again with 'convert'") from None
    return FeatureSpec(columns=tuple(columns), text=form, origin=source)


def spec_path(data_path: str) -> str:
    """Where the spec of a data file is: beside it, or above its partitions (``dt=2026-01-01``)."""
    folder = data_path.rpartition("/")[0] if "/" in data_path else "."
    while "=" in folder.rpartition("/")[2] and "/" in folder:
        folder = folder.rpartition("/")[0]
    return f"{folder}/{SPEC_FILE}"


def _entry(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": column.kind, "length": column.length}
    more = {"default": column.default, "hash": column.hash, "vocabulary": list(column.vocabulary) or None}
    more |= {"partition": column.partition or None, "split": column.split or None}
    more["missing"] = None if column.missing is None else list(column.missing)
    return entry | {key: value for key, value in more.items() if value is not None}


_KEYS = ("type", "length", "default", "hash", "vocabulary", "partition", "split", "missing")


def _column(name: str, entry: Any) -> Column:
    kind, length, default = entry["type"], entry["length"], entry.get("default")
    buckets, vocabulary = entry.get("hash"), entry.get("vocabulary", [])
    if unknown := entry.keys() - {*_KEYS}:
        raise ValueError(f"feature {name!r}: no such key: {', '.join(sorted(unknown))}; there are {', '.join(_KEYS)}")
    if kind not in KINDS or not (length is None or (isinstance(length, int) and length > 0)):
        raise ValueError(f"feature {name!r}: type {kind!r}, length {length!r}")
    if default is not None and (length != 1 or not _fits(kind, default)):
        raise ValueError(f"feature {name!r}: default {default!r} is no single {kind}")
    if buckets is not None and (not isinstance(buckets, int) or buckets < 1 or vocabulary or _is_fraction(kind)):
        raise ValueError(f"feature {name!r}: hash {buckets!r}: a number of classes, of whole numbers or texts")
    if not isinstance(vocabulary, list) or (_is_fraction(kind) and vocabulary):
        raise ValueError(f"feature {name!r}: the vocabulary is a list, of whole numbers or texts")
    partition = entry.get("partition", False)
    if partition not in (True, False) or (partition and (length != 1 or kind not in ("int64", "bytes"))):
        raise ValueError(f"feature {name!r}: a partition is one int64 or text for all rows of a file")
    split, missing = entry.get("split", ""), entry.get("missing")
    if not isinstance(split, str) or (split and length == 1):
        raise ValueError(
            f"feature {name!r}: split {split!r}: what stands between the values of a list, of length null or n"
        )
    if missing is not None and not (isinstance(missing, list) and all(isinstance(text, str) for text in missing)):
        raise ValueError(f"feature {name!r}: missing: a list of the texts that stand for no value")
    if wrong := [value for value in vocabulary if not _fits(kind, value)]:
        raise ValueError(f"feature {name!r}: {wrong[0]!r} in its vocabulary is no {kind}")
    return Column(
        name=name,
        kind=kind,
        length=length,
        default=default,
        hash=buckets,
        vocabulary=tuple(vocabulary),
        partition=partition,
        split=split,
        missing=None if missing is None else tuple(missing),
    )


def _is_fraction(kind: Kind) -> bool:
    return kind in ("float32", "float64")


def _classes(column: Column) -> Any | None:
    """The categorical column of classes, None for numbers."""
    import tensorflow as tf

    dtype = tf.string if column.kind == "bytes" else tf.int64
    if column.vocabulary:
        known = [value if isinstance(value, str) else signed(value) for value in column.vocabulary]
        return tf.feature_column.categorical_column_with_vocabulary_list(column.name, known, dtype, num_oov_buckets=1)
    buckets = column.hash or (HASH if column.kind in ("bytes", "uint64") else None)
    if buckets is None:
        return None
    return tf.feature_column.categorical_column_with_hash_bucket(column.name, buckets, dtype)


def _width(classes: int) -> int:
    """A usual rule: the fourth root, doubled."""
    return max(2, min(64, round(2 * math.sqrt(math.sqrt(classes)))))


def example_feature(column: Column) -> Any:
    """What ``tf.io.parse_example`` needs to know of it."""
    import tensorflow as tf

    dtype = tf.string if column.kind == "bytes" else tf.int64 if column.kind in INTEGERS else tf.float32
    if column.length is None:
        return tf.io.VarLenFeature(dtype)
    default = column.default
    if default is not None and column.kind in INTEGERS:
        default = signed(int(default))
    return tf.io.FixedLenFeature([] if column.length == 1 else [column.length], dtype, default)


def _fits(kind: Kind, value: object) -> bool:
    if kind == "bytes":
        return isinstance(value, str)
    if kind in INTEGERS:
        low, high = (0, 1 << 64) if kind == "uint64" else (-(1 << 63), 1 << 63)
        return isinstance(value, int) and not isinstance(value, bool) and low <= value < high
    return isinstance(value, (int, float)) and not isinstance(value, bool)
