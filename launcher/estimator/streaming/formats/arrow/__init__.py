"""Columns by pyarrow: Parquet files, and the values of CSV. Imported where such data is read, never before a fork:
pyarrow has threads of its own."""

__all__ = [
    "csv_parser",
    "csv_types",
    "parquet_files",
    "parquet_parser",
    "parquet_ranges",
    "parquet_types",
    "texts",
    "types",
    "writing",
]
