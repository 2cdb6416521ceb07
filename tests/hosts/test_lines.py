"""Lines that live for weeks: sshd wants new keys, or is updated. Neither costs anything."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest

from tests.fake_task import spam_bytes
from tests.hosts.fixtures import require_hosts
from tests.hosts.namespaces import SHARED, Network, Options, network
from tests.hosts.running import GOOD, Live, StartLive, live, spec, wait_until, wait_until_gone

__all__ = ["live"]

pytestmark = [pytest.mark.e2e, pytest.mark.hosts]

SPAM_BYTES = 3_000_000
NEW_KEYS = "SSH2_MSG_NEWKEYS received"
SSHD = {
    "new keys": "RekeyLimit 64K 2s\nLogLevel DEBUG1",
    "updated": "",
}


def sessions(hosts: Network) -> list[int]:
    parts = hosts.host("b").processes()
    return [pid for pid, words in parts.items() if words.startswith("sshd: root")]


def disturb(hosts: Network, run: Live, how: str) -> None:
    """Until it has happened three times."""
    log = hosts.host("b")
    if how == "updated":  # as its package's scripts do with what runs
        for _ in range(3):
            wait_until(lambda: sessions(hosts), "for a session")
            for pid in sessions(hosts):
                os.kill(pid, signal.SIGKILL)
        return
    former = log.log.count(NEW_KEYS)
    wait_until(lambda: log.log.count(NEW_KEYS) >= former + 3, f"for new keys: {log.log[-3000:]}")


@pytest.mark.parametrize("how", sorted(SSHD))
def test_what_sshd_does_with_lines_costs_nothing(tmp_path: Path, live: StartLive, how: str) -> None:
    require_hosts()
    options = {"b": Options(sshd=SSHD[how])}
    with network(tmp_path / "net", ["a", "b", "c"], options) as hosts:
        after = f"spam={SPAM_BYTES}:7,wait-file={SHARED}/go,finished=9"
        words = {"worker:1": f"gate,ready,step=9:288,{after}", **GOOD}
        run = live(hosts, spec(hosts, words=words, policy={"lease_s": 90.0, "grace_s": 1.0, "restarts": 0}))
        run.until_training()
        disturb(hosts, run, how)
        (hosts.shared / "go").touch()
        assert run.end() == 0, run.said[-6000:]
        data = (run.folder / "logs" / "worker-1.log").read_bytes()
        assert hashlib.sha256(data).hexdigest() == hashlib.sha256(spam_bytes(SPAM_BYTES, 7)).hexdigest()
        assert all(len(task["attempts"]) == 1 for task in run.report()["tasks"])
        wait_until_gone(hosts)
