"""TF_CONFIG: what each task reads, and that it fits an environment variable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.estimator.adjustments.start import cluster_pieces
from launcher.plan.tf_config import MAX_VARIABLE_BYTES, PIECE_PREFIX, PLACEHOLDER, TfConfigs
from launcher.wire.errors import SpecError
from launcher.wire.roles import ROLES, Role, TaskId

GOLDEN = Path(__file__).parents[2] / "golden"


def cluster(ps: int, workers: int, evaluator: int = 1, *, host: str = "10.0.0.1") -> dict[Role, list[str]]:
    counts = {Role.PS: ps, Role.CHIEF: 1, Role.WORKER: workers, Role.EVALUATOR: evaluator}
    return {
        role: [f"{host}:{2000 + 100 * ROLES.index(role) + index}" for index in range(counts[role])] for role in ROLES
    }


def tasks_of(addresses: dict[Role, list[str]]) -> list[TaskId]:
    return [TaskId(role, index) for role in ROLES for index in range(len(addresses[role]))]


GOLDEN_CLUSTERS = {
    "four_roles": (cluster(1, 2), "/models/ctr"),
    "no_evaluator": (cluster(2, 1, 0), None),
    "chief_only": (cluster(0, 0, 0), None),
    "no_ps": (cluster(0, 2), None),
    "workers_only": ({**cluster(0, 2), Role.CHIEF: []}, None),
    "hostile_model_dir": (cluster(1, 0), 'a "b" {c} $(d)\n é \\'),
}


@pytest.mark.parametrize("name", GOLDEN_CLUSTERS)
def test_golden(name: str, request: pytest.FixtureRequest) -> None:
    """To write the files anew: TFLAUNCH_WRITE_GOLDEN=1 pytest …, and read the difference."""
    addresses, model_dir = GOLDEN_CLUSTERS[name]
    configs = TfConfigs(addresses, model_dir)
    text = "".join(f"{task} {configs.of(task).text}\n" for task in tasks_of(addresses))
    path = GOLDEN / f"tf_config_{name}.txt"
    if os.environ.get("TFLAUNCH_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@given(
    ps=st.integers(1, 5),
    workers=st.integers(0, 6),
    evaluator=st.integers(0, 1),
    model_dir=st.none() | st.text(st.characters(exclude_categories=("Cs",)), min_size=1),
)
def test_what_holds_for_every_cluster(ps: int, workers: int, evaluator: int, model_dir: str | None) -> None:
    addresses = cluster(ps, workers, evaluator)
    configs = TfConfigs(addresses, model_dir)
    for task in tasks_of(addresses):
        config = configs.of(task)
        body = json.loads(config.text)
        assert not config.reduced
        assert config.text.isascii()
        assert body["task"] == {"type": task.role.value, "index": task.index}
        assert body.get("model_dir") == model_dir
        assert ("evaluator" in body["cluster"]) == (task.role is Role.EVALUATOR)
        assert body["cluster"][task.role.value][task.index] == addresses[task.role][task.index]
        named = {role: items for role, items in body["cluster"].items() if role != "evaluator"}
        assert named == {
            role.value: addresses[role] for role in ROLES if addresses[role] and role is not Role.EVALUATOR
        }


@given(ps=st.integers(1, 40), workers=st.integers(5500, 7000))
def test_what_holds_for_a_cluster_that_does_not_fit(ps: int, workers: int) -> None:
    addresses = cluster(ps, workers, host="node0123.cluster.example.org")
    configs = TfConfigs(addresses, "/models/ctr")
    last = workers - 1
    for task in (TaskId(Role.WORKER, 0), TaskId(Role.WORKER, last), TaskId(Role.CHIEF, 0), TaskId(Role.PS, ps - 1)):
        config = configs.of(task)
        named = json.loads(config.text)["cluster"]
        assert config.reduced
        assert len(f"TF_CONFIG={config.text}\0".encode()) <= MAX_VARIABLE_BYTES
        assert {role: len(items) for role, items in named.items()} == {"ps": ps, "chief": 1, "worker": workers}
        assert named["ps"] == addresses[Role.PS]
        own = {task.index: addresses[Role.WORKER][task.index]} if task.role is Role.WORKER else {}
        assert named["worker"] == [own.get(index, PLACEHOLDER) for index in range(workers)]


def test_a_parameter_server_of_a_reduced_cluster_puts_the_full_one_together() -> None:
    addresses = cluster(3, 9000, host="node0123.cluster.example.org")
    config = TfConfigs(addresses, "/m").of(TaskId(Role.PS, 2))
    environ = {"TF_CONFIG": config.text, **config.pieces}
    assert len(config.pieces) > 1
    assert all(len(f"{name}={value}\0") <= MAX_VARIABLE_BYTES for name, value in environ.items())
    cluster_pieces.join(environ)
    assert environ.keys() == {"TF_CONFIG"}
    full = json.loads(environ["TF_CONFIG"])
    assert full["cluster"] == {role.value: list(addresses[role]) for role in (Role.CHIEF, Role.PS, Role.WORKER)}
    assert full["task"] == {"type": "ps", "index": 2} and full["model_dir"] == "/m"
    assert PIECE_PREFIX == cluster_pieces.PIECE_PREFIX


@pytest.mark.parametrize("chief", [0, 1])
def test_trainers_without_parameter_servers_get_the_full_cluster(chief: int) -> None:
    addresses = cluster(0, 9000, host="node0123.cluster.example.org")
    addresses[Role.CHIEF] = addresses[Role.CHIEF][:chief]
    config = TfConfigs(addresses, "/m").of(TaskId(Role.WORKER, 7))
    environ = {"TF_CONFIG": config.text, **config.pieces}
    cluster_pieces.join(environ)
    named = json.loads(environ["TF_CONFIG"])["cluster"]
    assert named == {role.value: items for role, items in addresses.items() if items and role is not Role.EVALUATOR}


def test_the_evaluator_of_a_reduced_cluster_knows_itself() -> None:
    addresses = cluster(3, 9000)
    named = json.loads(TfConfigs(addresses, None).of(TaskId(Role.EVALUATOR, 0)).text)["cluster"]
    assert named["evaluator"] == addresses[Role.EVALUATOR]
    assert named["ps"] == [PLACEHOLDER] * 3


def test_the_longest_full_config_is_one_that_linux_takes() -> None:
    """The bound itself, asked of the kernel: one byte more is refused."""
    task = TaskId(Role.WORKER, 0)
    addresses = cluster(1, 1, 0)
    spare = MAX_VARIABLE_BYTES - len("TF_CONFIG=") - 1 - len(TfConfigs(addresses, "").of(task).text)
    longest = TfConfigs(addresses, "x" * spare).of(task)
    assert not longest.reduced
    assert _starts(longest.text)
    assert not _starts(longest.text + " ")
    with pytest.raises(SpecError, match="the cluster is too large"):
        TfConfigs(addresses, "x" * (spare + 1)).of(task)


def _starts(text: str) -> bool:
    try:
        return subprocess.run([sys.executable, "-c", ""], env={"TF_CONFIG": text}, check=False).returncode == 0
    except OSError:
        return False


def test_too_many_ps_are_refused_in_words() -> None:
    with pytest.raises(SpecError, match=r"the cluster is too large \(9000 ps, 1 chief, 9000 worker, 1 evaluator\)"):
        TfConfigs(cluster(9000, 9000), None).of(TaskId(Role.WORKER, 0))
