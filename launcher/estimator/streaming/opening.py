"""The common case: format, types and batches of what is somewhere, found by looking at it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from launcher.estimator.streaming.errors import SourceError
from launcher.estimator.streaming.formats.feature_spec import spec_path
from launcher.estimator.streaming.formats.index import list_shards
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.formats.storage.remote import system_of
from launcher.estimator.streaming.formats.storage.sources import list_files

LEASE, ROW = "_lease", "_row"


def find_reading(sources: Sequence[str], **options: Any) -> ReadingOptions:
    """How to read what there is: its format, and its spec, beside it or inferred; ``options`` are others of
    :class:`ReadingOptions`. An inferred spec is written beside the data, where that is possible, so that all tasks, and
    those that come later, have the same. Raises SourceError, BadDataError.
    """
    import tensorflow as tf

    from launcher.estimator.streaming.formats.inference import find_format, find_spec
    from launcher.estimator.streaming.tools.convert import write_spec

    files = list_files(sources)
    format = find_format(files[0])
    spec = find_spec(files, format)
    if not system_of(spec_path(files[0])).exists(spec_path(files[0])):
        with contextlib.suppress(OSError, tf.errors.OpError):
            write_spec(files[0], spec)
    return ReadingOptions(spec=spec, format=format, **options)


def split(batch: dict[str, Any], labels: str | Sequence[str], *, sparse: bool = False) -> Any:
    """A batch as an Estimator wants it: features alone, or features and labels, a tensor for one name and a dict for
    several. ``sparse``: lists of differing length become SparseTensors, which canned Estimators take.

    Raises SourceError for a label that is no column.
    """
    import tensorflow as tf

    features = {name: values for name, values in batch.items() if name not in (LEASE, ROW)}
    names = [labels] if isinstance(labels, str) else list(labels)
    if missing := [name for name in names if name not in features]:
        raise SourceError(f"the data has no column {missing[0]!r} to learn from; it has {', '.join(sorted(features))}")
    if sparse:
        features = {n: v.to_sparse() if isinstance(v, tf.RaggedTensor) else v for n, v in features.items()}
    if not names:
        return features
    found = {name: features.pop(name) for name in names}
    return features, found[labels] if isinstance(labels, str) else found


def evaluation(sources: Sequence[str], labels: str | Sequence[str], options: ReadingOptions) -> Callable[[], Any]:
    """An input_fn that gives every example once, in the order of the files."""
    from dataclasses import replace

    def input_fn() -> Any:
        from launcher.estimator.streaming.reading.dataset import read_shards

        in_order = replace(options, shuffle_rows=0, reader="thread")
        return read_shards(list_shards(sources), in_order).map(lambda batch: split(batch, labels, sparse=True))

    return input_fn
