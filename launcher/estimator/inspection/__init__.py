"""What is in a checkpoint, a graph or a SavedModel: for ``tflaunch inspect``.

``values`` and ``compare`` are plain Python; the rest imports TensorFlow, and so is imported by the command alone.
"""

__all__ = ["compare", "feeding", "kinds", "look", "request", "value_differences", "values"]
