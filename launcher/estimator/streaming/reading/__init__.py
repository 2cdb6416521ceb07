"""From leased shards to batches. ``read`` makes the dataset, and imports TensorFlow when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.estimator.streaming.reading.dataset import read, read_shards

__all__ = [
    "dataset",
    "engine",
    "leases",
    "read",
    "read_shards",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from launcher.estimator.streaming.reading import dataset

    return getattr(dataset, name)
