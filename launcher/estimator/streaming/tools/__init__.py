"""The data tools: convert, count, head, verify, audit."""
