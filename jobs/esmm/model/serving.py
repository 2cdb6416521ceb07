"""What an exported SavedModel is fed with."""

from __future__ import annotations

from collections.abc import Callable

from jobs._tf import estimator, tf
from jobs.esmm.input.schema import Schema
from launcher.estimator import serving_input_fn as fixed_length_input_fn


def serving_input_fn(schema: Schema) -> Callable[[], estimator.export.ServingInputReceiver]:
    """Two signatures: ``serving_default`` takes int64[batch] ids, or string[batch] that the graph hashes, by
    feature; ``examples:serving_default`` takes string[batch] of serialised tf.Example as ``examples``.
    """
    spec = {f.name: tf.io.FixedLenFeature([], tf.string if f.type == "string" else tf.int64) for f in schema.features}
    receiver_fn: Callable[[], estimator.export.ServingInputReceiver] = fixed_length_input_fn(spec)
    return receiver_fn
