"""Metrics as tf.estimator runs them: in a graph, one batch a step, the value at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def streamed(metric: Callable[..., Any], batches: Sequence[Sequence[Any]], *, evaluations: int = 1) -> float:
    """The value of ``metric(*columns)`` after all batches; each batch has one array a column."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        columns = [tf.compat.v1.placeholder(np.asarray(column).dtype, [None]) for column in batches[0]]
        value, update_op = metric(*columns)
        for _ in range(evaluations):
            session.run(tf.compat.v1.local_variables_initializer())
            for batch in batches:
                session.run(update_op, dict(zip(columns, batch, strict=True)))
        return float(session.run(value))


def split(parts: int, *columns: np.ndarray) -> list[list[np.ndarray]]:
    return [[column[i::parts] for column in columns] for i in range(parts)]


def drawn(count: int, *, mean_logit: float, seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn with the probabilities of normal logits."""
    rng = np.random.default_rng(seed)
    logits = mean_logit + spread * rng.standard_normal(count)
    return (rng.random(count) < 1 / (1 + np.exp(-logits))).astype(np.float64), logits
