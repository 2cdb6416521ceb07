"""Columns, rows and files of the data, and the streams that are made of them."""

__all__ = ["data", "input", "rows", "schema", "stream"]
