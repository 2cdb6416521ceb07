"""Hosts that cannot be used: each is named, with its reason, in one line; the exit code is 3; nothing is left."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.fixtures import require_hosts, three_hosts
from tests.hosts.namespaces import HOME, Network, Options, network
from tests.hosts.running import run_on, spec, wait_until, wait_until_gone

__all__ = ["three_hosts"]

pytestmark = [pytest.mark.e2e, pytest.mark.hosts]

CONNECT_TIMEOUT_S = 6  # of those that do not answer
ANSWER_TIMEOUT_S = 60  # of the others, who do however busy this machine is
ONE_PS = {"ps": {"on": ["good"]}, "chief": {"on": ["good"]}, "worker": {"count": 1, "on": ["good"]}}
# What every Python before 3.10 does with our first words, by a Python that claims to be one.
OLD_PYTHON = f"""#!/bin/sh
exec {sys.executable} -I -S -c 'import sys; sys.version_info = (3, 8, 18, "final", 0); exec(sys.argv[1])' "$4"
"""
FULL = "mount -t tmpfs -o size=16k none"
OPTIONS = {
    "nopython": Options(path=f"{HOME}/bin"),
    "oldpython": Options(path=f"{HOME}/bin"),
    "fulltmp": Options(extra=f"{FULL} /tmp"),
    "fulldisk": Options(extra=f"{FULL} /tmp", home_mount="-t tmpfs -o size=16k none"),
    "closed": Options(sshd="ForceCommand echo This account is closed."),
}
SAID = {
    "wrongkey": r"root was not let in at .*:22: no key fits",
    "nokey": r"there is no key /nowhere/key on this machine",
    "unknown": r"its host key is not known: ssh-ed25519 SHA256:.*; if that is its key, add this line to ~/\.ssh/"
    r"known_hosts: 10\.231\.\d+\.\d+ ssh-ed25519 AAAA\S+ \(or use --accept-new-host-keys\)",
    "changed": r"its host key is SHA256:\S+, not the one you know: .*; .*ssh-keygen -R '10\.231\.",
    "down": r"there is no way to .*:22|no answer from .*:22 within 6 s",
    "silent": r"no answer from .* within 6 s|does not speak SSH",
    "refused": r".*:2 refuses connections; is sshd running there",
    "nopython": r"it has no Python 3\.10 or newer; install one",
    "oldpython": r"it has no Python 3\.10 or newer; too old: python3; install one",
    "fulltmp": r"/tmp/tflaunch-0-.*: the disk is full \(16 KiB left\); make room",
    "fulldisk": r"cannot store the agent \(.*No space left on device.*\); make room there",
    "closed": r"the agent did not come up; it said: This account is closed\.",
    "nowhere": r"the name 'nowhere\.invalid' leads nowhere",
}


@pytest.fixture
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    require_hosts()
    names = ["good", *(name for name in SAID if name not in ("silent", "nowhere"))]
    with network(tmp_path_factory.mktemp("net"), names, OPTIONS) as made:
        spoil(made)
        yield made


def spoil(hosts: Network) -> None:
    other = hosts.folder / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    shutil.copy(other.with_suffix(".pub"), hosts.host("wrongkey").folder / "etc" / "authorized_keys")
    known = hosts.user_home / ".ssh" / "known_hosts"
    unknown, changed = hosts.host("unknown").address, hosts.host("changed").address
    lines = [line for line in known.read_text().splitlines() if not line.startswith((f"{unknown} ", f"{changed} "))]
    known.write_text("\n".join([*lines, f"{changed} {other.with_suffix('.pub').read_text()}"]))
    hosts.host("down").cut()
    for name in ("nopython", "oldpython"):
        folder = hosts.host(name).home / "bin"
        folder.mkdir()
        (folder / "sh").symlink_to("/bin/sh")
    old = hosts.host("oldpython").home / "bin" / "python3"
    old.write_text(OLD_PYTHON)
    old.chmod(0o755)


@contextlib.contextmanager
def a_port_that_says_nothing(address: str) -> Iterator[int]:
    with socket.create_server((address, 0)) as server:
        yield server.getsockname()[1]


def test_each_host_is_named_with_its_reason(hosts: Network, tmp_path: Path) -> None:
    written = spec(hosts, roles=ONE_PS, ssh={"nokey": {"key": "/nowhere/key"}, "refused": {"port": 2}})
    bridge = f"10.231.{hosts.number}.1"
    with a_port_that_says_nothing(bridge) as port:
        written["hosts"] += [
            {"name": "silent", "address": bridge, "ssh": {"port": port}},
            {"name": "nowhere", "address": "nowhere.invalid", "ssh": {}},
        ]
        for host in written["hosts"]:
            answers = host["name"] not in ("down", "silent")
            host["ssh"]["connect_timeout_s"] = ANSWER_TIMEOUT_S if answers else CONNECT_TIMEOUT_S
        del written["python"]
        written["command"] = ["true"]
        began = time.monotonic()
        done = run_on(hosts, tmp_path, written)
        took_s = time.monotonic() - began
    assert done.code == 3, done.stdout + done.stderr
    for name, pattern in SAID.items():
        lines = [line for line in done.stdout.splitlines() if line.startswith(f"tflaunch | host {name} out of reach: ")]
        assert len(lines) == 1 and re.search(pattern, lines[0]), (name, lines, done.stdout)
    assert "host good" not in done.stdout
    assert took_s < ANSWER_TIMEOUT_S, "nobody was waited for but those that do not answer"
    assert done.report is not None and done.report["cause"]["kind"] == "host"
    assert done.report["cause"]["host"] in SAID
    for host in hosts.hosts:
        if host.name != "down":
            wait_until(lambda host=host: not host.ours(), f"on {host.name}: {host.ours()}")  # type: ignore[misc]


def test_a_model_dir_that_is_not_shared_is_refused(three_hosts: Network, tmp_path: Path) -> None:
    written = spec(three_hosts, model_dir=f"{HOME}/model")
    done = run_on(three_hosts, tmp_path, written)
    assert done.code == 3, done.stdout + done.stderr
    assert done.report is not None
    message = done.report["cause"]["message"]
    assert "/home/train/model" in message and "not the folder that the chief" in message
    assert done.report["cause"]["host"] in ("b", "c")
    assert all(task["attempts"] == [] for task in done.report["tasks"])
    wait_until_gone(three_hosts)


def test_unknown_keys_are_accepted_when_that_is_said(three_hosts: Network, tmp_path: Path) -> None:
    known = three_hosts.user_home / ".ssh" / "known_hosts"
    before = known.read_text()
    try:
        known.unlink()
        refused = run_on(three_hosts, tmp_path, spec(three_hosts))
        assert refused.code == 3 and not known.exists()
        (tmp_path / "again").mkdir()
        accepted = run_on(three_hosts, tmp_path / "again", spec(three_hosts), "--accept-new-host-keys")
        assert accepted.code == 0, accepted.stdout + accepted.stderr
        assert sorted(known.read_text().splitlines()) == sorted(before.splitlines())
    finally:
        known.write_text(before)
