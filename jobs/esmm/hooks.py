"""What a training task counts as it goes."""

from __future__ import annotations

from jobs._tf import estimator, tf
from launcher.estimator import add_examples


class ExamplesHook(estimator.SessionRunHook):  # type: ignore[misc]
    """Reports the size of each batch whose step has run; a step that failed and is run again counts once."""

    def __init__(self, batch_examples: tf.Tensor) -> None:
        self._batch_examples = batch_examples

    def before_run(self, run_context: object) -> object:
        return estimator.SessionRunArgs(self._batch_examples)

    def after_run(self, run_context: object, run_values: tf.compat.v1.train.SessionRunValues) -> None:
        add_examples(int(run_values.results))
