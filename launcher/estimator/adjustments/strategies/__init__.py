"""Programs with a strategy of TensorFlow 2: how they start, count their steps, and stop."""

__all__ = ["collective", "coordinator", "fitting", "leaving", "steps"]
