"""How a run has gone so far: how fast, and in which parts."""

__all__ = ["hearing", "pace", "parameters", "parts"]
