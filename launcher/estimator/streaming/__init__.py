"""Streaming input: from files to batches, fast, without losing an example. Importing it never imports TensorFlow.

    from launcher.estimator import streaming

    stream = streaming.Stream("/data/train", labels="click", batch_examples=1024, epochs=3)
    tf.estimator.train_and_evaluate(estimator, stream.train_spec(), stream.eval_spec("/data/eval"))

``streaming.read`` makes a dataset of what is leased.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.estimator.streaming.errors import StreamingError
    from launcher.estimator.streaming.formats.index import list_shards
    from launcher.estimator.streaming.formats.inference import find_format, find_spec, infer_spec
    from launcher.estimator.streaming.formats.options import ReadingOptions
    from launcher.estimator.streaming.formats.row_groups import encode_groups
    from launcher.estimator.streaming.opening import find_reading
    from launcher.estimator.streaming.reading.dataset import read, read_shards
    from launcher.estimator.streaming.stream import Files, Folder, Stream
    from launcher.estimator.streaming.tools.convert import write_groups, write_parquet

__all__ = [
    "Files",
    "Folder",
    "ReadingOptions",
    "Stream",
    "StreamingError",
    "encode_groups",
    "find_format",
    "find_reading",
    "find_spec",
    "infer_spec",
    "list_shards",
    "read",
    "read_shards",
    "write_groups",
    "write_parquet",
]

_MODULES = {
    "ReadingOptions": "formats.options",
    "StreamingError": "errors",
    "encode_groups": "formats.row_groups",
    "find_format": "formats.inference",
    "find_spec": "formats.inference",
    "infer_spec": "formats.inference",
    "find_reading": "opening",
    "list_shards": "formats.index",
    "read": "reading.dataset",
    "read_shards": "reading.dataset",
    "write_groups": "tools.convert",
    "write_parquet": "tools.convert",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'stream')}"), name)
