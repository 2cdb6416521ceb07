"""Commands for runs that are over: gone on with, compared, removed."""

__all__ = ["commands"]
