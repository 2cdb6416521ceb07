"""tflaunch resume over SSH: what the part before has left alive on the hosts is ended before the next one starts."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.running import tflaunch
from tests.hosts.fixtures import require_hosts, three_hosts
from tests.hosts.namespaces import Network
from tests.hosts.running import ENDLESS, GOOD, StartLive, live, spec, wait_until, wait_until_gone

__all__ = ["live", "require_hosts", "three_hosts"]

pytestmark = [pytest.mark.e2e, pytest.mark.hosts]

TWICE = {
    "chief#1": ENDLESS["chief"],
    "worker#1": ENDLESS["worker"],
    "evaluator#1": ENDLESS["evaluator"],
    **GOOD,
}


def test_a_run_whose_supervisor_was_killed_goes_on(three_hosts: Network, live: StartLive) -> None:
    run = live(three_hosts, spec(three_hosts, words=TWICE, policy={"lease_s": 60.0, "grace_s": 1.0}))
    run.until_training()
    os.kill(run.supervisor(), signal.SIGKILL)
    wait_until(lambda: run.client.poll() is not None)
    assert any(host.ours() for host in three_hosts.hosts), "the lease is long"
    home, folder = str(three_hosts.user_home), run.folder
    done = tflaunch("resume", str(folder), "--plain", cwd=folder.parent, run=folder.name, HOME=home)
    assert done.code == 0, done.stdout + done.stderr
    report = done.report
    assert report is not None and [part["outcome"] for part in report["parts"]] == ["lost", "succeeded"]
    for task in report["tasks"]:
        assert [attempt["generation"] for attempt in task["attempts"]] == [1, 2], task
    wait_until_gone(three_hosts)
