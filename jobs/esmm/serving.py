"""What an exported SavedModel is fed with."""

from __future__ import annotations

from collections.abc import Callable

from jobs._tf import estimator, tf
from jobs.esmm.input import parse_features
from jobs.esmm.schema import Schema

EXAMPLES_SIGNATURE = "examples:serving_default"


def serving_input_fn(schema: Schema) -> Callable[[], estimator.export.ServingInputReceiver]:
    """Two signatures: ``serving_default`` takes int64[batch] ids by feature, ``examples:serving_default`` takes
    string[batch] of serialised tf.Example as ``examples``.
    """

    def receiver() -> estimator.export.ServingInputReceiver:
        serialized = tf.compat.v1.placeholder(tf.string, [None], name="examples")
        parsed = parse_features(serialized, schema)
        features = {
            name: tf.compat.v1.placeholder_with_default(ids, [None], name=f"feature_{i}")
            for i, (name, ids) in enumerate(parsed.items())
        }
        return estimator.export.ServingInputReceiver(features, features, {"examples": {"examples": serialized}})

    return receiver
