"""What the columns of a data set are: the one thing generator, input, model and exported signatures agree on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jobs.errors import JobError

SCHEMA_FILE = "schema.json"
CLICK = "click"
CONVERSION = "conversion"
LABELS = (CLICK, CONVERSION)

FeatureType = Literal["int64", "string"]
_TYPES: tuple[FeatureType, ...] = ("int64", "string")


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """A categorical column. ``int64``: ids, those outside 0..``ids``-1 folded back by their remainder. ``string``: any
    bytes, hashed to one of ``ids`` inside the graph, so that serving takes the strings that training took."""

    name: str
    ids: int
    type: FeatureType = "int64"

    def to_json(self) -> dict[str, object]:
        """An int64 feature without its type, as it was written before there were others."""
        return {"name": self.name, "ids": self.ids} | ({} if self.type == "int64" else {"type": self.type})


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """The features, in the order of their rows in the embedding table."""

    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @property
    def total_ids(self) -> int:
        """Rows of the shared embedding table."""
        return sum(feature.ids for feature in self.features)

    def to_json(self) -> dict[str, object]:
        return {"features": [feature.to_json() for feature in self.features]}


def schema_from_json(value: object, *, where: str) -> Schema:
    """Gives meaning to what ``schema.json`` holds. Raises JobError naming ``where`` and what is expected."""
    expected = '{"features": [{"name": "user_id", "ids": 500}]}'
    if not isinstance(value, dict) or not isinstance(value.get("features"), list) or not value["features"]:
        raise JobError(f"{where}: no list of features; a schema looks like {expected}")
    features = tuple(_feature(item, where=f"{where}: features[{i}]") for i, item in enumerate(value["features"]))
    repeated = {f.name for f in features if sum(g.name == f.name for g in features) > 1}
    if repeated:
        raise JobError(f"{where}: {', '.join(sorted(repeated))} is listed twice; name each feature once")
    return Schema(features=features)


def read_schema(path: Path) -> Schema:
    """Reads ``schema.json``. Raises JobError."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise JobError(f"no schema at {path}; describe the columns there, or name the file with --schema") from None
    except (OSError, ValueError) as error:
        raise JobError(f"cannot read the schema {path}: {error}") from None
    return schema_from_json(value, where=str(path))


def label_names(weight_column: str | None, schema: Schema) -> tuple[str, ...]:
    """The columns that are no features: click, conversion, and the weights if there are any. Raises JobError."""
    if weight_column in (*schema.names, *LABELS):
        raise JobError(f"--weight-column {weight_column}: that is a feature or a label; leave it out of the schema")
    return LABELS if weight_column is None else (*LABELS, weight_column)


def _feature(value: object, *, where: str) -> Feature:
    name = value.get("name") if isinstance(value, dict) else None
    ids = value.get("ids") if isinstance(value, dict) else None
    kind = value.get("type", "int64") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name or name in LABELS:
        raise JobError(f"{where}: needs a name other than {' and '.join(LABELS)}, not {name!r}")
    if not isinstance(ids, int) or isinstance(ids, bool) or ids < 1:
        raise JobError(f"{where} ({name}): ids must be the number of different ids, 1 or more, not {ids!r}")
    if kind not in _TYPES:
        raise JobError(f"{where} ({name}): type must be {' or '.join(_TYPES)}, not {kind!r}")
    return Feature(name=name, ids=ids, type=kind)
