"""Batches read and parsed by threads of this process: a ``tf.data.Dataset`` over the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.reading.engine import Engine
from launcher.estimator.streaming.reading.layout import Layout
from launcher.estimator.streaming.reading.leases import Leases

WAIT_S = 0.5
PREFETCH_BATCHES = 2


def read_by_threads(open_leases: Callable[[], Leases], options: ReadingOptions) -> tf.data.Dataset:
    """As ``dataset.read``, whatever ``options.reader`` says."""
    layout = Layout(options)

    def elements() -> Iterator[tuple[Any, ...]]:
        engine = Engine(open_leases(), options)
        try:
            while not engine.is_over:
                rows = engine.next_rows(WAIT_S)
                yield from [layout.nothing()] if rows is None else layout.elements(rows)
        finally:
            engine.close()

    dataset = tf.data.Dataset.from_generator(elements, output_signature=layout.signature())
    dataset = layout.batches(dataset)
    settings = tf.data.Options()
    settings.threading.private_threadpool_size = 1
    return dataset.prefetch(PREFETCH_BATCHES).with_options(settings)
