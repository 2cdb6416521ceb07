"""Tools for training scripts: early stopping, exporters, warm start."""

__all__ = ["exporters", "stopping"]
