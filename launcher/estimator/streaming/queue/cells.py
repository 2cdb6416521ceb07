"""The queue's place in the cluster: two string variables on the first parameter server, and one atomic operation.

``live`` is the queue as it is now. It is in no checkpoint. ``saved`` is the snapshot that checkpoints hold. Both are
changed only inside a critical section that every task of the cluster shares by its name, and ``live`` only by
compare-and-swap: a change that was decided on another state than the present one does not happen.

Restoring a checkpoint sets ``saved`` and empties ``live``; so does the initialisation. An empty queue gives nothing
out and takes no acknowledgement. The chief opens it (``Client.open``) when the restore is over, with a new token. Hence
whatever was trained before or during a restore can only be acknowledged to a state that is thrown away.

Neither is a global variable, so that no Saver treats them as others: they are resources (initialised by a Scaffold's
``init_op``, looked at by its ``ready_op``) and one ``SaveableObject`` (``tensorflow/python/training/saver.py``).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

NAME = "streaming/queue"
CLOSED = b""


class Cells:
    """The variables and operations in the default graph; make it before the graph is finalised.

    ``ps_tasks``: parameter servers of the cluster; 0: the variables live in this process.
    """

    def __init__(self, *, ps_tasks: int) -> None:
        import tensorflow as tf

        v1 = tf.compat.v1
        device = "/job:ps/task:0/device:CPU:0" if ps_tasks else "/device:CPU:0"
        with tf.device(None), tf.device(device), v1.name_scope(None), tf.control_dependencies(None):
            section = tf.CriticalSection(shared_name=f"{NAME}_section")
            live = _string_variable(f"{NAME}_live")
            saved = _string_variable(f"{NAME}_saved")
            self._expected = v1.placeholder(tf.string, [], name=f"{NAME}_expected")
            self._new = v1.placeholder(tf.string, [], name=f"{NAME}_new")
            self._saves = v1.placeholder(tf.bool, [], name=f"{NAME}_saves")
            given = [tf.identity(tensor) for tensor in (self._expected, self._new, self._saves)]
            with tf.control_dependencies(given):  # the lock is never held while somebody's values are on their way
                self._swapped = section.execute(lambda: _swap(live, saved, *given), exclusive_resource_access=False)
            _forget_executions()
            self._live = live.read_value()
            self._saved = tf.identity(saved.read_value(), name=NAME)
            self._close = _register(live, saved, self._saved)

    def read(self, session: Any) -> bytes:
        """The present state; CLOSED before it is opened."""
        return bytes(session.run(self._live))

    def read_saved(self, session: Any) -> bytes:
        """The newest snapshot, or the restored one; CLOSED if there is none."""
        return bytes(session.run(self._saved))

    def swap(self, session: Any, expected: bytes, new: bytes, *, saves: bool = False) -> bool:
        """Make ``new`` the state if ``expected`` is; with ``saves`` also the snapshot. Returns whether it was."""
        feeds = {self._expected: expected, self._new: new, self._saves: saves}
        return bool(session.run(self._swapped, feeds))

    def close(self, session: Any) -> None:
        """As at the very beginning: closed, and without a snapshot."""
        session.run(self._close)


def _string_variable(name: str) -> Any:
    import tensorflow as tf

    return tf.compat.v1.get_variable(
        name,
        shape=[],
        dtype=tf.string,
        initializer=lambda *_, **__: tf.constant(CLOSED),
        trainable=False,
        use_resource=True,
        collections=["streaming_queue"],
        partitioner=None,
    )


def _swap(live: Any, saved: Any, expected: Any, new: Any, saves: Any) -> Any:
    import tensorflow as tf

    now, kept = live.read_value(), saved.read_value()
    is_expected = tf.equal(now, expected)
    with tf.control_dependencies([now, kept]):
        written = [
            live.assign(tf.where(is_expected, new, now), read_value=False),
            saved.assign(tf.where(tf.logical_and(is_expected, saves), new, kept), read_value=False),
        ]
    with tf.control_dependencies(written):
        return tf.identity(is_expected)


@dataclass(frozen=True, kw_only=True)
class _Resource:
    """As ``tensorflow/python/ops/resources.py`` has them, with a name, which a ``.meta`` file needs."""

    name: str
    handle: Any
    create: Any
    is_initialized: Any


def _forget_executions() -> None:
    """CriticalSection notes what it executes in a collection that no ``.meta`` file can hold."""
    import tensorflow as tf

    tf.compat.v1.get_collection_ref("critical_section_executions").pop()


def _register(live: Any, saved: Any, snapshot: Any) -> Any:
    """Have the two initialised, waited for, saved and restored; the operation that initialises both."""
    import tensorflow as tf

    keys = tf.compat.v1.GraphKeys
    with tf.control_dependencies([live.initializer]):
        closed = tf.identity(tf.constant(CLOSED))
    saved_initializer = saved.assign(closed, read_value=False)
    initializers = ((live, live.initializer), (saved, saved_initializer))
    for variable, create in initializers:
        resource = _Resource(
            name=variable.handle.name, handle=variable.handle, create=create, is_initialized=variable.is_initialized()
        )
        tf.compat.v1.add_to_collection(keys.RESOURCES, resource)
    tf.compat.v1.add_to_collection(keys.SAVEABLE_OBJECTS, _saveable(live, saved, snapshot))
    return saved_initializer


def _saveable(live: Any, saved: Any, snapshot: Any) -> Any:
    module: Any = importlib.import_module("tensorflow.python.training.saving.saveable_object")

    class Saveable(module.SaveableObject):  # type: ignore[misc]
        """Saves the snapshot. Restoring it closes the queue."""

        def __init__(self) -> None:
            spec = module.SaveSpec(snapshot, "", NAME, dtype=snapshot.dtype, device=snapshot.device)
            super().__init__(snapshot, [spec], NAME)

        def restore(self, restored_tensors: Any, restored_shapes: Any) -> Any:
            import tensorflow as tf

            closed = live.assign(tf.constant(CLOSED), read_value=False)
            with tf.control_dependencies([closed]):
                return saved.assign(restored_tensors[0], read_value=False)

    return Saveable()
