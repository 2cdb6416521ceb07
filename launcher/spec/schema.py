"""The JSON Schema of cluster specs, for editors: generated from the types, never written by hand."""

from __future__ import annotations

import json

from launcher.spec.types import ClusterSpec
from launcher.wire.adjustments import ADJUSTMENTS
from launcher.wire.protocol import JsonValue

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, JsonValue]:
    """The schema of a spec file, JSON Schema 2020-12."""
    body: dict[str, JsonValue] = json.loads(json.dumps(ClusterSpec.model_json_schema()))
    properties = body["properties"]
    if isinstance(properties, dict) and isinstance(properties["tune"], dict):
        properties["tune"] = {
            **{key: value for key, value in properties["tune"].items() if key != "propertyNames"},
            "properties": {item.name: {"type": "boolean", "description": item.title} for item in ADJUSTMENTS},
            "additionalProperties": False,
        }
    return {"$schema": DIALECT, **body, "title": "tflaunch cluster spec"}


def schema_text() -> str:
    """The schema as the file ``launcher/spec/cluster_spec.schema.json`` holds it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
