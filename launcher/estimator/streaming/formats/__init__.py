"""Files of data, and the rows that are in them."""

__all__ = [
    "columns",
    "csv_lines",
    "feature_spec",
    "files",
    "framing",
    "index",
    "inference",
    "options",
    "parser",
    "raw",
    "row_groups",
    "shards",
    "sources",
]
