"""The live picture of a run, made of lines: nothing here writes to a terminal."""

__all__ = ["clock", "complaints", "frame"]
