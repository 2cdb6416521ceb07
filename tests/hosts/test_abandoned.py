"""``tflaunch stop`` of a run whose supervisor was killed ends what lives on on hosts, or says where it cannot."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.running import Finished, tflaunch
from tests.hosts.fixtures import three_hosts
from tests.hosts.namespaces import Network
from tests.hosts.running import ENDLESS, Live, StartLive, left, live, part_of, spec, wait_until, wait_until_gone

__all__ = ["live", "three_hosts"]

pytestmark = [pytest.mark.e2e, pytest.mark.hosts]

FAMILY = "gate,ready,step=1,child,child-setsid,stop"
ENDED = "the supervisor of run was gone; nothing of it runs any more"


@pytest.fixture
def run(three_hosts: Network, live: StartLive) -> Live:
    """A run whose supervisor is dead, and whose tasks would live on for long."""
    policy = {"lease_s": 600.0, "grace_s": 1.0, "restarts": 0}
    started = live(three_hosts, spec(three_hosts, words={**ENDLESS, "worker": FAMILY}, policy=policy))
    started.until_training()
    os.kill(started.supervisor(), signal.SIGKILL)
    wait_until(lambda: started.client.poll() is not None)
    assert set(left(three_hosts)) == {"a", "b", "c"}
    return started


def stop(hosts: Network, cwd: Path, *how: str) -> Finished:
    return tflaunch("stop", "run", *how, cwd=cwd, HOME=str(hosts.user_home))


@pytest.mark.parametrize("how", [(), ("--now",)], ids=["stop", "stop --now"])
def test_what_a_dead_supervisor_has_left_on_hosts_is_ended(
    three_hosts: Network, run: Live, tmp_path: Path, how: tuple[str, ...]
) -> None:
    done = stop(three_hosts, tmp_path, *how)
    assert done.code == 0 and ENDED in done.stderr, done.stderr
    wait_until_gone(three_hosts)


def test_a_host_that_cannot_be_reached_is_named_and_asked_again_later(
    three_hosts: Network, run: Live, tmp_path: Path
) -> None:
    host = three_hosts.host("b")
    host.cut()
    try:
        done = stop(three_hosts, tmp_path)
        assert done.code == 3, done.stderr
        told = [line for line in done.stderr.splitlines() if "host " in line]
        assert len(told) == 1 and "host b: " in told[0], done.stderr
        assert "ends by itself within 602 s of its supervisor's death" in told[0]
        assert set(left(three_hosts)) == {"b"}
    finally:
        host.mend()
    done = stop(three_hosts, tmp_path)
    assert done.code == 0 and ENDED in done.stderr, done.stderr
    wait_until_gone(three_hosts)


def test_a_host_whose_agent_has_died_meanwhile_is_no_trouble(three_hosts: Network, run: Live, tmp_path: Path) -> None:
    parts = three_hosts.host("c").processes()
    for name in ("agent", "keeper"):
        os.kill(part_of(parts, name), signal.SIGKILL)
    done = stop(three_hosts, tmp_path)
    assert done.code == 0 and ENDED in done.stderr, done.stderr
    wait_until_gone(three_hosts)
