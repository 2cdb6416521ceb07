"""Runs from Python: started, watched and ended by a script, a notebook, a thread or a test."""

__all__ = ["flags", "record", "result", "run", "starting", "sweep"]
