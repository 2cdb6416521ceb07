"""An interpreter that has imported TensorFlow and stands by for the next run of the process that it belongs to."""

__all__ = ["asking", "interpreter"]
