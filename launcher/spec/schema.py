"""The JSON Schema of cluster specs, for editors: generated from the types, never written by hand."""

from __future__ import annotations

import json

from launcher.spec import engines
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
    if isinstance(properties, dict) and isinstance(properties["engine"], dict):
        properties["engine"] = {
            "description": properties["engine"]["description"],
            "default": None,
            "anyOf": [
                {
                    "type": "object",
                    "properties": {name: _keys_schema(name) for name in engines.known()},
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
                {"type": "null"},
            ],
        }
    return {"$schema": DIALECT, **body, "title": "tflaunch cluster spec"}


def _keys_schema(name: str) -> JsonValue:
    """The keys of an engine; what it refers to stays inside."""
    inside = f"#/properties/engine/anyOf/0/properties/{name}/$defs/{{model}}"
    body: JsonValue = json.loads(json.dumps(engines.keys_of(name).model_json_schema(ref_template=inside)))
    return body


def schema_text() -> str:
    """The schema as the file ``launcher/spec/cluster_spec.schema.json`` holds it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
