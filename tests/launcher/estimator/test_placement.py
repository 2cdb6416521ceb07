"""Where variables are: by bytes, alike in every task, and split where they are large."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.estimator import balanced_device_fn, partitioner
from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.start import placement
from launcher.estimator.channel import Channel
from launcher.estimator.task import Task

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

TABLE = [30_001, 40]


def config(ps: int, role: str = "worker", index: int = 1) -> Any:
    return SimpleNamespace(num_ps_replicas=ps, task_type=role, task_id=index)


def devices_of(
    device_fn: Callable[[Any], str] | None, split: Any = None, *, small: int = 20
) -> tuple[dict[str, str], dict[str, int]]:
    """Where each variable of a wide model is, and what each parameter server holds of variables and Adam's moments."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.device(device_fn):
        step = v1.train.get_or_create_global_step()
        table = v1.get_variable("table", TABLE, partitioner=split, use_resource=True)
        loss = tf.reduce_sum(v1.nn.embedding_lookup(table, [0, 30_000], partition_strategy="div"))
        for number in range(small):
            bias = v1.get_variable(f"small_{number}", [number % 7 + 1, 8], use_resource=bool(number % 2))
            loss += tf.reduce_sum(bias)
        v1.train.AdamOptimizer().minimize(loss, step)
        return {v.op.name: v.device for v in v1.global_variables()}, dict(placement.bytes_held(graph))


def spread(held: dict[str, int]) -> float:
    return max(held.values()) / min(held.values())


def test_a_large_table_and_many_small_variables_weigh_the_same_on_each_server() -> None:
    where, held = devices_of(balanced_device_fn(config(3)), partitioner(config(3), least_mib=0.5), small=200)
    assert held.keys() == {"ps:0", "ps:1", "ps:2"} and spread(held) < 1.01, held
    assert sum(held.values()) == 3 * 4 * (30_001 * 40 + sum((n % 7 + 1) * 8 for n in range(200))) + 8 + 2 * 4
    assert len([name for name in where if name.startswith("table/part_") and "Adam" not in name]) == 3
    assert all(device == where[name.partition("/Adam")[0]] for name, device in where.items() if "/Adam" in name)
    whole, uneven = devices_of(balanced_device_fn(config(3)))
    assert spread(uneven) > 10  # one server has the table, the others what is small
    assert len({name for name, device in whole.items() if device == whole["table"] and "Adam" not in name}) <= 2


def test_every_task_places_alike_and_so_does_each_graph_of_one() -> None:
    place = balanced_device_fn(config(3))
    first = devices_of(place)[0]
    assert devices_of(place)[0] == first
    assert devices_of(balanced_device_fn(config(3, "chief", 0)))[0] == first


def test_small_variables_stay_whole() -> None:
    from tensorflow import float32

    split = partitioner(config(3))
    assert split is not None
    assert [split(shape=shape_of(rows), dtype=float32) for rows in (10, 1_000_000)] == [[1, 1], [3, 1]]
    assert split(shape=shape_of(200_000), dtype=float32) == [2, 1]  # 6.1 MiB
    assert partitioner(config(1)) is None and partitioner(config(0)) is None
    with pytest.raises(ValueError, match="least_mib is 0"):
        partitioner(config(3), least_mib=0)


def shape_of(rows: int) -> Any:
    from tensorflow import TensorShape

    return TensorShape([rows, 8])


def test_what_is_placed_by_hand_counts() -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.device(balanced_device_fn(config(2))):
        with v1.device("/job:ps/task:0"):
            v1.get_variable("mine", [100])
        others = [v1.get_variable(f"v{number}", [50]) for number in range(2)]
        v1.get_variable("text", [], dtype=tf.string, initializer=v1.constant_initializer(""))
    assert ["task:1" in variable.device for variable in others] == [True, True]


@pytest.fixture
def adjusted() -> Iterator[None]:
    patches = Patches()
    placement.balance(patches, Task(channel=Channel(path=None)))
    yield
    patches.undo()


def test_the_adjustment_changes_the_default_and_no_strategy_of_a_program(adjusted: None) -> None:
    import tensorflow as tf

    setter = tf.compat.v1.train.replica_device_setter
    sizes = (100, 1, 1, 98)

    def tasks(device_fn: Any) -> list[str]:
        with tf.Graph().as_default(), tf.compat.v1.device(device_fn):
            return [tf.compat.v1.get_variable(f"v{i}", [n]).device[-1] for i, n in enumerate(sizes)]

    assert tasks(setter(ps_tasks=2)) == ["0", "1", "1", "1"]
    assert tasks(setter(ps_tasks=2, ps_strategy=lambda op: 0)) == ["0"] * 4


@pytest.mark.parametrize("wrong", [None, 5, "cluster", {}, SimpleNamespace])
def test_what_is_no_config_is_said(wrong: object) -> None:
    for function in (balanced_device_fn, partitioner):
        with pytest.raises(TypeError, match=r"config must be a tf\.estimator\.RunConfig, and is "):
            function(wrong)


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "4", None, True])
def test_a_least_size_is_a_number_above_0(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"least_mib is .*: at least so many MiB a part, a number above 0"):
        partitioner(config(3), least_mib=wrong)
