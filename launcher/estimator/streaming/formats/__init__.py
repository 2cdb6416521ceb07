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
    "shards",
    "storage",
    "text",
]
