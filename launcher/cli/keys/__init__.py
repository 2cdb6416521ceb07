"""What keys do while a run is shown live."""

__all__ = ["keyboard"]
