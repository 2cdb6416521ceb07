"""Tools for training scripts: early stopping, exporters, warm start."""
