"""Streaming input: from files to batches, fast, without losing an example. Importing it never imports TensorFlow.

    from launcher.estimator import streaming

    stream = streaming.Stream(streaming.Files(sources=("/data/train",), epochs=3), read, labels=["click"])
    tf.estimator.train_and_evaluate(estimator, stream.train_spec(), eval_spec)

``read`` makes a dataset of what is leased: see ``reading.read``.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Files", "Folder", "Stream"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from launcher.estimator.streaming import stream

    return getattr(stream, name)
