"""The cluster spec: what a user wants to run, read from YAML and checked as a whole."""

from launcher.spec.flags import local_spec, on_this_machine, parse_tune
from launcher.spec.load import Override, apply_overrides, parse_spec, read_spec
from launcher.spec.schema import json_schema
from launcher.spec.types import ClusterSpec

__all__ = [
    "ClusterSpec",
    "Override",
    "apply_overrides",
    "command",
    "drills",
    "engines",
    "hosts",
    "json_schema",
    "load",
    "local_spec",
    "on_this_machine",
    "parse_spec",
    "parse_tune",
    "policy",
    "read_spec",
    "source",
    "texts",
    "types",
]
