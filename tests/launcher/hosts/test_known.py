"""The contract of every reach, for the fake one, this machine and SSH; tests/slurm has it for steps of a Slurm job."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from launcher.agent.host import sweep
from launcher.hosts.local import LocalReach
from launcher.hosts.reach import Reach, ReachError, skip_to_ready
from launcher.hosts.ssh.reach import SshReach
from launcher.plan.model import PlannedHost
from launcher.wire import protocol
from tests.hosts.fixtures import three_hosts
from tests.hosts.namespaces import Network
from tests.launcher.hosts.contract import *  # noqa: F403 - its tests are collected here
from tests.launcher.hosts.contract import RUN, run
from tests.launcher.hosts.fake import FakeReach

__all__ = ["three_hosts"]

HOST = PlannedHost(name="a", address="127.0.0.1")
REAL = ["local", "ssh"]


async def serve_fake(host: PlannedHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An agent of five lines: welcomes, and hangs up when told to finish."""
    while line := await reader.readline():
        message = protocol.decode(line)
        if isinstance(message, protocol.Finish):
            return
        welcome = protocol.Welcome(
            incarnation="fake", version=1, host=host.name, pid=1, python="", cores=1, memory_mib=1, gpus=0
        )
        writer.write(protocol.encode(welcome))


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def host(kind: str, request: pytest.FixtureRequest) -> PlannedHost:
    if kind != "ssh":
        return HOST
    hosts: Network = request.getfixturevalue("three_hosts")
    return hosts.planned("a")


@pytest.fixture
def reach(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Reach:
    if kind == "fake":
        return FakeReach(serve_fake)
    if kind == "ssh":
        hosts: Network = request.getfixturevalue("three_hosts")
        monkeypatch.setenv("HOME", str(hosts.user_home))
        return SshReach()
    request.addfinalizer(lambda: sweep.sweep(RUN, f"{RUN}@{HOST.name}"))
    return LocalReach(os.environ)


@pytest.fixture
def programs(reach: Reach) -> Reach:
    return reach


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The fake one has no programs."""
    if "kind" in metafunc.fixturenames:
        kinds = REAL if "programs" in metafunc.fixturenames else ["fake", *REAL]
        metafunc.parametrize("kind", kinds, indirect=True)


@pytest.fixture
def nothing_left(kind: str, request: pytest.FixtureRequest) -> Callable[[], None]:
    def look() -> None:
        if kind == "local":
            assert sweep.members(RUN) == []
        if kind == "ssh":
            hosts: Network = request.getfixturevalue("three_hosts")
            assert hosts.host("a").ours() == {}
            assert list(hosts.host("a").tmp.glob("tflaunch-*")) == []

    return look


def test_what_start_up_files_print_is_passed_over() -> None:
    async def work() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(b"Welcome to host a!\n\xff\nno newline" + protocol.READY_MARKER + b"the agent\n")
        await skip_to_ready(reader)
        assert await reader.readline() == b"the agent\n"
        reader.feed_data(b"sh: python: not found\n")
        reader.feed_eof()
        with pytest.raises(ReachError, match="python: not found"):
            await skip_to_ready(reader)

    run(work())
