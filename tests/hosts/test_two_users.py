"""Somebody else on a host that is reached by SSH gains nothing there either."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.fixtures import three_hosts
from tests.hosts.namespaces import Host, Network
from tests.hosts.running import run_on, spec, wait_until_gone
from tests.launcher.others import SOMEBODY

__all__ = ["three_hosts"]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.hosts,
    pytest.mark.skipif(not shutil.which("setpriv"), reason="install util-linux"),
]
AS_HIM = ("setpriv", "--reuid", str(SOMEBODY), "--regid", str(SOMEBODY), "--clear-groups", "sh", "-c")
SWAPS = """
mkdir -m 777 /tmp/tflaunch-0; touch /tmp/squats
while :; do for d in /tmp/tflaunch-0/* /tmp/tflaunch-0-*; do
  [ -d "$d" ] && [ ! -L "$d" ] && mv "$d" "$d-taken" 2>/dev/null && ln -s /home/train/precious "$d"
done; done
"""


@pytest.fixture
def host(three_hosts: Network) -> Iterator[Host]:
    host = three_hosts.host("b")
    yield host
    host.run("pkill", "-KILL", "-U", str(SOMEBODY), check=False)  # of this host's PID namespace alone
    host.run("sh", "-c", "chown root /tmp; chmod 1777 /tmp; rm -rf /tmp/tflaunch-0 /tmp/squats /home/train/precious")


def test_who_swaps_folders_on_a_host_empties_none_of_the_user_s(
    three_hosts: Network, host: Host, tmp_path: Path
) -> None:
    host.run("sh", "-c", "mkdir -m 700 /home/train/precious; touch /home/train/precious/file")
    inside = ("nsenter", "--target", str(host.init), "--net", "--mount", "--pid", "--uts")
    with subprocess.Popen([*inside, *AS_HIM, SWAPS]) as him:
        try:
            done = run_on(three_hosts, tmp_path, spec(three_hosts))
        finally:
            him.kill()
    assert done.code == 0, done.stdout + done.stderr
    assert host.run("ls", "/home/train/precious").split() == ["file"]
    assert host.run("ls", "/tmp/tflaunch-0") == ""
    for other in three_hosts.hosts:
        assert not list(other.tmp.glob("tflaunch-0-*"))


def test_a_host_whose_tmp_is_his_is_refused_and_he_is_named(three_hosts: Network, host: Host, tmp_path: Path) -> None:
    host.run("chown", str(SOMEBODY), "/tmp")
    done = run_on(three_hosts, tmp_path, spec(three_hosts))
    assert done.code == 3, done.stdout + done.stderr
    assert f"/tmp belongs to user {SOMEBODY}, who could replace what is made in it" in done.stdout
    assert done.report is not None and done.report["cause"]["host"] == "b"
    assert all(task["attempts"] == [] for task in done.report["tasks"])
    host.run("chown", "root", "/tmp")
    wait_until_gone(three_hosts)
