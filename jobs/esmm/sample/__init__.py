"""Sample data with a known truth."""

__all__ = ["sample"]
