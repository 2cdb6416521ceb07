"""The data tools: convert, count, head, verify, audit."""

__all__ = ["cli", "convert"]
