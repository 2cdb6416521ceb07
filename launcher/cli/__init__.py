"""The command line: options and where their values come from, the commands, the client of a run."""

__all__ = ["main"]
