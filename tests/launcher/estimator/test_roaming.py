"""roaming in a real cluster: tasks move and come while the others carry on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.wire.adjustments import DEFAULT
from launcher.wire.protocol import CheckpointSaved, Gate, Ready, Roaming, Step
from tests.launcher.estimator.cluster import Cluster, Zygote, cluster_of

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy, pytest.mark.timeout(240)]


@pytest.fixture
def cluster(zygote: Zygote, folder: Path) -> Iterator[Cluster]:
    with cluster_of(zygote, folder, workers=1) as cluster:
        cluster.tune = sorted(DEFAULT)
        yield cluster
        for task in cluster.pids:  # shown with a failure
            print(f"===== {task}\n{cluster.log(task)[-4000:]}")


def test_a_worker_in_nobodys_list_and_a_ps_elsewhere(cluster: Cluster) -> None:
    agent = cluster.agent
    cluster.options.update(step_s=0.01, save_steps=20)
    agent.greet(Gate(open=True))
    for task in ("ps:0", "chief:0", "worker:0"):
        cluster.start(task)
    assert agent.expect("worker:0", Roaming).possible

    unknown = ["0:1"] * 7 + [cluster._hold()]
    cluster.start("worker:7", cluster={**cluster.addresses, "worker": unknown})
    agent.expect("worker:7", Step, lambda step: step.local_steps > 5)
    saved = agent.expect("chief:0", CheckpointSaved, lambda saved: saved.global_step > 0)

    agent.greet(Gate(open=False))
    cluster.kill("ps:0")
    cluster.wait("ps:0")
    readies = len(agent.of("chief:0", Ready))
    elsewhere = cluster._hold()
    cluster.start("ps:0", attempt=2, cluster={**cluster.addresses, "ps": [elsewhere]})
    agent.expect("ps:0", Ready, attempt=2)
    reports = len(agent.reports)
    agent.greet(Gate(open=True, ps={"0": elsewhere}))
    for task in ("worker:0", "worker:7"):
        agent.expect(task, Step, lambda step: step in [said for _, _, said in agent.reports[reports:]])
    assert agent.of("chief:0", Ready)[readies].global_step >= saved.global_step  # the same process, from its checkpoint
