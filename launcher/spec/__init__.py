"""The cluster spec: what a user wants to run, read from YAML and checked as a whole."""

from launcher.spec.load import Override, apply_overrides, parse_spec, read_spec
from launcher.spec.types import ClusterSpec

__all__ = ["ClusterSpec", "Override", "apply_overrides", "parse_spec", "read_spec"]
