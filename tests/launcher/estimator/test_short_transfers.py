"""bfloat16-transfer between real servers: half the bytes, and variables and checkpoints that are exact."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from launcher.estimator.adjustments.reporting.profiler import transfers
from launcher.estimator.adjustments.sessions.short_transfers import shorten

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

STEPS = 7


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Trained:
    """A model on a parameter server that a worker has trained, both in this process."""

    def __init__(self, folder: Path, *, short: bool) -> None:
        import numpy as np
        import tensorflow as tf

        v1 = tf.compat.v1
        ports = {"ps": [f"127.0.0.1:{free_port()}"], "worker": [f"127.0.0.1:{free_port()}"]}
        self.servers = {role: tf.distribute.Server(ports, job_name=role, task_index=0) for role in ports}
        with tf.Graph().as_default() as graph:
            v1.set_random_seed(1)
            with v1.device(v1.train.replica_device_setter(ps_tasks=1, worker_device="/job:worker/task:0")):
                step = v1.train.get_or_create_global_step()
                table = v1.get_variable("table", [500, 16], use_resource=True)
                kernel = v1.get_variable("kernel", [64, 40], use_resource=True)
                old = v1.get_variable("old", [40, 3], use_resource=False)
                copied = v1.get_variable("copied", [40, 3], use_resource=True, trainable=False)
                rows = v1.nn.embedding_lookup(table, tf.range(0, 400, 2))
                hidden = tf.matmul(tf.reshape(rows, [-1, 64]), kernel)
                loss = tf.reduce_mean(tf.square(tf.matmul(hidden, old) - 1.0))
                train = v1.train.AdamOptimizer(0.01).minimize(loss, step)
                # A value that is assigned as it is, after the step.
                with tf.control_dependencies([train]):
                    train = v1.assign(copied, tf.identity(tf.fill([40, 3], 1 / 3))).op
            unsharded = v1.train.Saver(sharded=False)  # sends all variables to the worker
            beta2 = next(variable for variable in v1.global_variables() if "beta2_power" in variable.name)
            self.shortened = shorten(graph, [train, loss.op]) if short else 0
            options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE, output_partition_graphs=True)
            config = v1.ConfigProto(allow_soft_placement=True)
            with v1.Session(self.servers["worker"].target, config=config) as session:
                session.run(v1.global_variables_initializer())
                for _ in range(STEPS):
                    metadata = v1.RunMetadata()
                    session.run(train, options=options, run_metadata=metadata)
                self.bytes = [size for _, _, size in transfers(metadata)]
                self.beta2 = float(session.run(beta2))
                unsharded.save(session, str(folder / "model.ckpt"))
                self.held = self._held(graph, config)
                session.run([variable.assign(variable * 0) for variable in (table, kernel, old)])
                unsharded.restore(session, str(folder / "model.ckpt"))
                self.restored = self._held(graph, config)
        reader = tf.train.load_checkpoint(str(folder / "model.ckpt"))
        self.saved = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
        self.same = lambda one, other: (
            one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
        )

    def _held(self, graph: Any, config: Any) -> dict[str, Any]:
        """What the parameter server has, as a session of its own process sees it."""
        import tensorflow as tf

        with tf.compat.v1.Session(self.servers["ps"].target, graph=graph, config=config) as session:
            found: dict[str, Any] = session.run(
                {variable.op.name: variable for variable in tf.compat.v1.global_variables()}
            )
            return found


def test_a_step_sends_half_and_what_is_saved_is_what_the_server_holds(tmp_path: Path) -> None:
    import numpy as np

    whole, short = (Trained(tmp_path / name, short=name == "short") for name in ("whole", "short"))
    assert short.shortened == 6  # of table, kernel and old: values one way, gradients the other
    assert 0.5 < sum(short.bytes) / sum(whole.bytes) < 0.65, (short.bytes, whole.bytes)
    assert short.beta2 == whole.beta2  # the optimizer's constants are as they were
    for run in (whole, short):
        assert run.same(run.saved, run.held)
        assert run.same(run.restored, run.held)
        assert (run.held["copied"] == np.float32(1 / 3)).all()
    lower_half = short.held["kernel"].view(np.uint32) & 0xFFFF
    assert (lower_half != 0).mean() > 0.9  # float32, not bfloat16 in four bytes
    assert np.allclose(short.held["kernel"], whole.held["kernel"], atol=0.02)
    assert not np.array_equal(short.held["kernel"], whole.held["kernel"])


def test_nothing_is_changed_where_all_is_in_one_place() -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        weights = tf.compat.v1.get_variable("weights", [100, 100])
        train = tf.compat.v1.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(weights * weights))
        assert shorten(graph, [train]) == 0
