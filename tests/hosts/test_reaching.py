"""The ways people reach their hosts: ~/.ssh/config, jump hosts, ports, agents, names that differ from addresses."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.hosts.agents import Agents
from launcher.hosts.ssh.reach import SshReach
from launcher.plan.model import PlannedHost
from launcher.spec.hosts import FAR
from launcher.spec.policy import Policy
from launcher.wire import protocol
from tests.hosts.fixtures import require_hosts
from tests.hosts.namespaces import Network, Options, network
from tests.hosts.running import run_on, spec

pytestmark = pytest.mark.hosts

SHELLS = [shell for shell in ("bash", "dash", "csh", "fish") if shutil.which(shell)]
RUN = f"reaching-{os.getpid()}"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Hosts a, b and c; the sshd of c listens on port 2222."""
    require_hosts()
    with network(tmp_path_factory.mktemp("net"), ["a", "b", "c"], {"c": Options(port=2222)}) as made:
        yield made


@pytest.fixture
def ssh_folder(hosts: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ~/.ssh of a user who knows the hosts and has no key yet."""
    folder = tmp_path / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "known_hosts").write_text((hosts.user_home / ".ssh" / "known_hosts").read_text())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


def welcome(host: PlannedHost) -> protocol.Welcome:
    """What the agent of the host says; the run ends at once."""

    async def meet() -> protocol.Welcome:
        reach = SshReach()
        agents = Agents(lambda host: reach, RUN, Policy(lease_s=30, grace_s=0.1), alone=True)
        reader, writer = await agents.open(host)
        writer.write(protocol.encode(protocol.Hello(run=RUN)))
        message = protocol.decode(await reader.readline())
        assert isinstance(message, protocol.Welcome)
        writer.write(protocol.encode(protocol.Finish()))
        assert await reader.read() is not None
        await agents.close(host)
        return message

    return asyncio.run(asyncio.wait_for(meet(), 60))


def named(name: str) -> PlannedHost:
    """A host of which only a name is known."""
    return PlannedHost(name=name, address="192.0.2.1", transport="ssh", traits=FAR, details={"host": name})


def comers(hosts: Network, name: str) -> list[str]:
    """Where the connections to a host came from."""
    return re.findall(r"Accepted publickey for root from (\S+)", hosts.host(name).log)


def test_the_key_port_and_user_of_the_spec(hosts: Network, ssh_folder: Path) -> None:
    assert welcome(hosts.planned("c", key=str(hosts.key), user="root")).host == "c"


def test_names_keys_and_ports_of_the_configuration_and_what_it_includes(hosts: Network, ssh_folder: Path) -> None:
    (ssh_folder / "config.d").mkdir()
    (ssh_folder / "config.d" / "cluster").write_text(f"Host far\n  HostName {hosts.host('c').address}\n  Port 2222\n")
    (ssh_folder / "config").write_text(f"Include config.d/*\nUser root\nIdentityFile {hosts.key}\n")
    assert welcome(named("far")).host == "c"


def test_one_jump_host_after_the_other(hosts: Network, ssh_folder: Path) -> None:
    lines = [f"Host {host.name}\n  HostName {host.address}\n  Port {host.options.port}" for host in hosts.hosts]
    lines += ["Host c\n  ProxyJump a,b", f"Host *\n  User root\n  IdentityFile {hosts.key}\n"]
    (ssh_folder / "config").write_text("\n".join(lines))
    assert welcome(named("c")).host == "c"
    assert comers(hosts, "b")[-1] == hosts.host("a").address
    assert comers(hosts, "c")[-1] == hosts.host("b").address


def test_a_proxy_command(hosts: Network, ssh_folder: Path) -> None:
    hop = f"ssh -i {hosts.key} -o UserKnownHostsFile={ssh_folder}/known_hosts -W %h:%p root@{hosts.host('a').address}"
    settings = f"HostName {hosts.host('c').address}\n  Port 2222\n  IdentityFile {hosts.key}\n  ProxyCommand {hop}"
    (ssh_folder / "config").write_text(f"Host c\n  User root\n  {settings}\n")
    assert welcome(named("c")).host == "c"
    assert comers(hosts, "c")[-1] == hosts.host("a").address


def test_a_key_that_only_the_agent_has(
    hosts: Network, ssh_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        add = ["ssh-add", "-q", str(hosts.key)]
        while subprocess.run(add, capture_output=True, check=False).returncode:
            assert agent.poll() is None
        assert welcome(replace(hosts.planned("a"), details={"user": "root"})).host == "a"
    finally:
        agent.kill()
        agent.wait()


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_and_what_they_say(hosts: Network, ssh_folder: Path, shell: str) -> None:
    """Start-up files print, and not every login shell is a Bourne shell."""
    host, path = hosts.host("b"), str(shutil.which(shell))
    passwd = host.folder / "etc" / "passwd"
    before = passwd.read_text()
    (host.home / ".bashrc").write_text("echo Welcome to host b; echo more >&2; printf 'no newline'\n")
    (host.home / ".cshrc").write_text("echo Welcome to host b\n")
    try:
        passwd.write_text(before.replace("/bin/bash", path))
        assert welcome(hosts.planned("b", key=str(hosts.key), user="root")).host == "b"
    finally:
        passwd.write_text(before)
        (host.home / ".bashrc").unlink()
        (host.home / ".cshrc").unlink()


def test_ports_stay_in_the_range_of_their_host(hosts: Network, tmp_path: Path) -> None:
    written = spec(hosts, ssh={"c": {"port": 2222}})
    for number, host in enumerate(written["hosts"]):
        host["ports"] = f"{21000 + 100 * number}-{21009 + 100 * number}"
    done = run_on(hosts, tmp_path, written)
    assert done.code == 0, done.stdout + done.stderr
    bound = next(
        line for line in (done.run_dir / "events.jsonl").read_text().splitlines() if "generation_bound" in line
    )
    ports = {name: int(port) for name, port in re.findall(r'"(\w+:\d)": (\d+)', bound)}
    assert len(ports) == 7
    where = {"ps:0": 0, "ps:1": 1, "chief:0": 0, "worker:0": 0, "worker:1": 1, "worker:2": 2, "evaluator:0": 2}
    assert all(21000 + 100 * where[task] <= port <= 21009 + 100 * where[task] for task, port in ports.items())
