"""Traces of single steps, kept by tasks while they train: merged with what the launcher saw, and judged.

Pure but for ``samples``, which reads and writes the files. Nothing here needs TensorFlow.
"""

__all__ = ["comparison", "merge", "samples", "verdict"]
