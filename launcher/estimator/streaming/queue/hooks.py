"""The queue's part in a training session: imports TensorFlow.

Order matters. The chief opens the queue before anything is saved or leased; the snapshot is taken before the saver
reads the variables; the last acknowledgements are made before a trainer says that it has finished.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import monotonic
from typing import Any, Protocol

import tensorflow as tf

from launcher.estimator.adjustments.sessions.trainer import loss_errors
from launcher.estimator.streaming.queue.cells import NAME, Cells
from launcher.estimator.streaming.queue.client import RolledBackError
from launcher.estimator.streaming.queue.session import Sitting

_log = logging.getLogger("tensorflow")
_SUMMARY_S = 10.0
_STEP = "global_step"


class HasSitting(Protocol):
    """Knows the sitting of the graph that is trained now: hooks are made before there is one."""

    @property
    def sitting(self) -> Sitting: ...


class StreamHook(tf.compat.v1.train.SessionRunHook):  # type: ignore[misc]
    """Feeds a session from the queue, and tells the queue what is trained."""

    def __init__(self, stream: HasSitting, max_steps: int | None = None) -> None:
        self._stream = stream
        self._max_steps = max_steps
        self._step: Any = None
        self._written_at = 0.0

    def begin(self) -> None:
        refuse_unsuited(tf.compat.v1.get_default_graph())
        place = self._stream.sitting.place
        self._step = tf.compat.v1.train.get_global_step()
        if place.is_chief:
            tolerate_checkpoint_without_queue(
                tf.train.latest_checkpoint(place.model_dir), self._stream.sitting.graph.cells
            )

    def after_create_session(self, session: Any, coord: Any) -> None:
        self._stream.sitting.open(session)

    def before_run(self, run_context: Any) -> Any:
        holder = self._stream.sitting.holder
        assert holder is not None
        try:
            if not holder.wait_for_input(lambda: self._is_over(run_context.session)):
                raise tf.errors.OutOfRangeError(None, None, "the input is at its end")
        except _starting_anew() as error:
            raise tf.errors.AbortedError(None, None, f"the input starts anew: {error}") from error
        fetches = dict(self._stream.sitting.graph.fetches)
        if self._stream.sitting.place.is_chief and monotonic() - self._written_at >= _SUMMARY_S:
            fetches[_STEP] = self._step
        return tf.compat.v1.train.SessionRunArgs(fetches)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        sitting = self._stream.sitting
        sitting.trained(run_values.results)
        if _STEP in run_values.results:
            self._written_at = monotonic()
            _write_summary(sitting.place.model_dir, sitting.summary(), int(run_values.results[_STEP]))

    def end(self, session: Any) -> None:
        self._stream.sitting.finish()
        try:
            self._stream.sitting.check_end()
        finally:
            self._stream.sitting.close()

    def _is_over(self, session: Any) -> bool:
        """Whether training ends although there may be more input. Asked while there is none: a trainer that waits does
        not see how far the others come."""
        if self._stream.sitting.is_over():
            return True
        return self._max_steps is not None and int(session.run(self._step)) >= self._max_steps


class SnapshotListener(tf.compat.v1.train.CheckpointSaverListener):  # type: ignore[misc]
    """Puts the state of the queue into each checkpoint."""

    def __init__(self, stream: HasSitting) -> None:
        self._stream = stream

    def before_save(self, session: Any, global_step_value: Any) -> None:
        self._stream.sitting.snapshot(session)

    def after_save(self, session: Any, global_step_value: Any) -> None:
        self._stream.sitting.saved(int(global_step_value))

    def end(self, session: Any, global_step_value: Any) -> None:
        """The saver does not save twice at one global step; acknowledgements may have come since. Without a launcher it
        comes before this training's own hook."""
        self._stream.sitting.finish()
        if not self._stream.sitting.has_news(session):
            return
        savers = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.SAVERS)
        if not savers:
            _log.warning("The last acknowledgements are in no checkpoint: the Scaffold has a Saver of its own.")
            return
        self.before_save(session, global_step_value)
        savers[0].save(session, f"{self._stream.sitting.place.model_dir}/model.ckpt", global_step=global_step_value)
        self.after_save(session, global_step_value)


def _write_summary(model_dir: str, values: Mapping[str, float], global_step: int) -> None:
    summary = tf.compat.v1.Summary()
    for tag, value in values.items():
        summary.value.add(tag=tag, simple_value=value)
    tf.compat.v1.summary.FileWriterCache.get(model_dir).add_summary(summary, global_step)


def _starting_anew() -> tuple[type[Exception], ...]:
    """What calls for a new session rather than for an end."""
    return (RolledBackError, *loss_errors())


def refuse_unsuited(graph: Any) -> None:
    """Raises ValueError for training in which a finished step is not an applied one."""
    for operation in graph.get_operations():
        if operation.type.endswith("ConditionalAccumulator"):
            raise ValueError(
                "streaming input cannot be used with SyncReplicasOptimizer: a step that has returned is not an applied "
                "one there, since its gradients may still be dropped as stale; train asynchronously"
            )
        if operation.type in ("VarHandleOp", "VariableV2") and _accumulates(operation.name):
            raise ValueError(
                f"streaming input cannot be used with gradient accumulation ({operation.name}): a step that has "
                "returned is not an applied one there; use a larger batch instead"
            )


def _accumulates(name: str) -> bool:
    name = name.lower().replace("_", "").replace("-", "")
    return any(word in name for word in ("multistep", "gradaccum", "accumgrad", "gradientaccum", "accumulatedgrad"))


def tolerate_checkpoint_without_queue(checkpoint: str | None, cells: Cells) -> None:
    """Let the Saver of the default graph restore ``checkpoint`` although it was made without a queue."""
    if checkpoint is None or _has_queue(checkpoint):
        return
    keys = tf.compat.v1.GraphKeys
    others = [*tf.compat.v1.get_collection(keys.GLOBAL_VARIABLES)]
    others += [item for item in tf.compat.v1.get_collection(keys.SAVEABLE_OBJECTS) if item.name != NAME]
    partial = tf.compat.v1.train.Saver(others, sharded=True)
    for saver in tf.compat.v1.get_collection(keys.SAVERS):
        saver.restore = _Tolerant(saver, partial, cells).restore
    _log.info("%s holds no input queue: the variables are restored, the input starts from its beginning.", checkpoint)


class _Tolerant:
    def __init__(self, saver: Any, partial: Any, cells: Cells) -> None:
        self._whole = saver.restore
        self._partial = partial
        self._cells = cells

    def restore(self, session: Any, save_path: str) -> None:
        if _has_queue(save_path):
            self._whole(session, save_path)
        else:
            self._cells.close(session)
            self._partial.restore(session, save_path)


def _has_queue(checkpoint: str) -> bool:
    return bool(tf.train.load_checkpoint(checkpoint).has_tensor(NAME))
