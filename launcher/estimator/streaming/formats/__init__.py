"""Files of data, and the rows that are in them."""

__all__ = [
    "arrow",
    "columns",
    "feature_spec",
    "framing",
    "index",
    "inference",
    "options",
    "parser",
    "raw",
    "row_groups",
    "row_sets",
    "shards",
    "storage",
    "text",
]
