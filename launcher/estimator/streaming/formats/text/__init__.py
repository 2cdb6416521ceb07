"""Files of text, a row a line: how they are laid out, and their lines."""

__all__ = ["form", "lines", "sniffing"]
