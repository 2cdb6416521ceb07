"""What a training step sends, and where variables are: on the graph of a cluster, and on two real servers."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

IDS = {"a": np.array([0, 2, 2, 6]), "b": np.array([1, 3, 0, 1])}
TOWERS = (5, 3)


def cluster(ps: int, address: Callable[[int], str] = lambda number: f"h:{number}") -> Any:
    from jobs._tf import tf

    return tf.train.ClusterSpec({"ps": [address(i) for i in range(ps)], "chief": [address(ps)]})


def device_fn(spec: Any) -> Any:
    from launcher.estimator import balanced_device_fn

    ps = len(spec.as_dict().get("ps", []))
    config: Any = SimpleNamespace(num_ps_replicas=ps, cluster_spec=spec, task_type="chief", task_id=0)
    return balanced_device_fn(config)


def train_op(ps: int, optimizer: str = "lazy-adam") -> Any:
    """One step of a small model, in the current graph and on the current device."""
    from jobs._tf import estimator, tf
    from jobs.esmm.config import ModelConfig
    from jobs.esmm.input.schema import Feature, Schema
    from jobs.esmm.model.model import make_model_fn

    schema = Schema(features=(Feature(name="a", ids=7), Feature(name="b", ids=4)))
    config = ModelConfig(schema=schema, embedding_dim=3, towers=TOWERS, optimizer=optimizer)
    features = {name: tf.constant(ids, tf.int64) for name, ids in IDS.items()}
    labels = {"click": tf.constant([1, 0, 1, 0], tf.int64), "conversion": tf.constant([1, 0, 0, 0], tf.int64)}
    run_config: Any = SimpleNamespace(num_ps_replicas=ps)
    model_fn = make_model_fn(config, learning_rate=0.1)
    return model_fn(features, labels, estimator.ModeKeys.TRAIN, run_config).train_op


def crossing(step: Any) -> dict[str, set[str]]:
    """Tensors that a step moves from task to task, by ``source>target``."""
    from jobs._tf import tf

    needed = tf.compat.v1.graph_util.extract_sub_graph(step.graph.as_graph_def(), [step.name]).node
    found: dict[str, set[str]] = {}
    for op in (step.graph.get_operation_by_name(node.name) for node in needed):
        for tensor in op.inputs:
            devices = placed(tensor.op), placed(op)
            if not all(devices) or tensor.dtype.name == "resource":
                continue
            source, target = (device.split("/")[1] for device in devices)
            if source != target:
                found.setdefault(f"{source[4:]}>{target[4:]}", set()).add(tensor.name)
    return found


def placed(op: Any) -> str:
    """The device of an operation; one that works on a variable is where the variable is, whatever was asked for."""
    held = [tensor.op for tensor in op.inputs if tensor.dtype.name == "resource"]
    return placed(held[0]) if held else str(op.device)


def test_a_step_moves_few_tensors() -> None:
    """There: rows and all dense variables. Back: ids (to look up, and with the gradient of their rows), that gradient,
    all dense gradients, and a few scalars."""
    from jobs._tf import tf

    with tf.Graph().as_default() as graph, tf.compat.v1.device(device_fn(cluster(1))):
        moved = crossing(train_op(1))
    assert len(moved["ps>chief"]) == 2, moved
    wide = {name for name in moved["chief>ps"] if graph.get_tensor_by_name(name).shape.rank}
    assert len(wide) == 4, moved


def test_the_table_is_on_every_server_and_only_its_rows_of_a_batch_move() -> None:
    """Neither the table nor a gradient as large as it: 4 examples have 8 ids, the table has 11."""
    from jobs._tf import tf

    with tf.Graph().as_default() as graph, tf.compat.v1.device(device_fn(cluster(2))):
        moved = crossing(train_op(2))
        parts = {v.device: v.shape.as_list() for v in tf.compat.v1.trainable_variables("shared_embedding/table")}
    assert sorted(parts.values()) == [[5, 3], [6, 3]], parts
    shapes = {name: graph.get_tensor_by_name(name).shape for names in moved.values() for name in names}
    assert not [name for name, shape in shapes.items() if shape in ([5, 3], [6, 3], [11, 3])]
    assert [name for name, shape in shapes.items() if shape.as_list() == [None, 3]]


@pytest.mark.parametrize("sizes", [(100, 10, 10, 60, 20), (1, 1, 1, 1)])
def test_variables_are_balanced_by_bytes(sizes: tuple[int, ...]) -> None:
    from jobs._tf import tf

    place = device_fn(cluster(2))
    for _ in range(2):  # the second graph of a process is as the first
        with tf.Graph().as_default(), tf.compat.v1.device(place):
            variables = [tf.compat.v1.get_variable(f"v{i}", [n], use_resource=True) for i, n in enumerate(sizes)]
        held = [
            sum(n for v, n in zip(variables, sizes, strict=True) if f"/job:ps/task:{i}" in v.device) for i in (0, 1)
        ]
        assert held == [sum(sizes) / 2] * 2


def test_nothing_is_placed_without_parameter_servers() -> None:
    assert device_fn(SimpleNamespace(as_dict=dict)) is None


@pytest.mark.parametrize("optimizer", ["lazy-adam", "adagrad"])
def test_a_step_over_two_servers_is_a_step_in_one_process(optimizer: str) -> None:
    from jobs._tf import tf

    alone = trained(tf.compat.v1.Session, None, 0, optimizer)
    servers = start_servers(2)
    together = trained(lambda: tf.compat.v1.Session(servers[-1].target), device_fn(servers[-1].cluster), 2, optimizer)
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        assert together[name] == pytest.approx(value, abs=1e-6), name


def start_servers(ps: int) -> list[Any]:
    """Parameter servers and a chief in this process, on ports of the system's choice; ended with it."""
    import socket

    from jobs._tf import tf

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(ps + 1)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    spec = cluster(ps, lambda number: f"127.0.0.1:{ports[number]}")
    tasks = [*(("ps", i) for i in range(ps)), ("chief", 0)]
    servers = [tf.distribute.Server(spec, job_name=job, task_index=index) for job, index in tasks]
    servers[-1].cluster = spec
    return servers


def trained(session: Callable[[], Any], device: Any, ps: int, optimizer: str) -> dict[str, np.ndarray]:
    """Every variable after three steps from the same beginning, parts of one put together."""
    from jobs._tf import tf

    with tf.Graph().as_default(), tf.compat.v1.device(device):
        step = train_op(ps, optimizer)
        variables = sorted(tf.compat.v1.trainable_variables(), key=lambda variable: variable.name)
        begin = [v.assign(np.sin(1 + np.arange(np.prod(v.shape)) + offset(v)).reshape(v.shape)) for v in variables]
        with session() as run:
            run.run(tf.compat.v1.global_variables_initializer())
            run.run(begin)
            for _ in range(3):
                run.run(step)
            values = dict(zip([variable.name for variable in variables], run.run(variables), strict=True))
    whole: dict[str, list[np.ndarray]] = {}
    for name, value in values.items():
        whole.setdefault(name.partition("/part_")[0].partition(":")[0], []).append(value)
    return {name: np.concatenate(parts) for name, parts in whole.items()}


def offset(variable: Any) -> int:
    """Where the first element of a part is in its whole."""
    info = variable._get_save_slice_info()
    return 0 if info is None else int(info.var_offset[0] * info.full_shape[1])
