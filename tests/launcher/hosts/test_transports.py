"""One contract for every transport: a pipe to an agent, and to the same agent when it is opened again."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

from launcher.agent.host import sweep
from launcher.hosts.local import LocalTransport
from launcher.hosts.ssh.agents import SshTransport
from launcher.hosts.transport import FakeTransport, Pipe, Transport, TransportError, skip_to_agent
from launcher.plan.model import PlannedHost
from launcher.wire import protocol
from tests.hosts.fixtures import three_hosts
from tests.hosts.namespaces import Network

__all__ = ["three_hosts"]

HOST = PlannedHost(name="a", address="127.0.0.1")
RUN = f"transports-{os.getpid()}"


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


async def serve_fake(host: PlannedHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An agent of five lines: welcomes, and hangs up when told to finish."""
    while line := await reader.readline():
        message = protocol.decode(line)
        if isinstance(message, protocol.Finish):
            return
        facts: dict[str, Any] = {"host": host.name, "pid": 1, "python": "", "cores": 1, "memory_mib": 1, "gpus": 0}
        writer.write(protocol.encode(protocol.Welcome(incarnation="fake", version=1, **facts)))


@pytest.fixture(params=["fake", "local", "ssh"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Transport:
    if request.param == "fake":
        return FakeTransport(serve_fake)
    if request.param == "ssh":
        hosts: Network = request.getfixturevalue("three_hosts")
        monkeypatch.setenv("HOME", str(hosts.user_home))
        monkeypatch.setattr(sys.modules[__name__], "HOST", hosts.planned("a"))
        return SshTransport(run=RUN, lease_s=30, grace_s=0.1)
    request.addfinalizer(lambda: sweep.sweep(RUN, f"{RUN}@{HOST.name}"))
    return LocalTransport(run=RUN, lease_s=30, grace_s=0.1, environ=os.environ)


async def welcome(pipe: Pipe) -> protocol.Welcome:
    pipe[1].write(protocol.encode(protocol.Hello(run=RUN)))
    message = protocol.decode(await pipe[0].readline())
    assert isinstance(message, protocol.Welcome)
    return message


def test_opened_again_it_leads_to_the_same_agent(transport: Transport) -> None:
    async def work() -> None:
        first = await transport.open(HOST)
        before = await welcome(first)
        first[1].close()
        second = await transport.open(HOST)
        assert await welcome(second) == before
        await transport.close(HOST)

    run(work())


def test_the_pipe_ends_when_the_run_does(transport: Transport) -> None:
    async def work() -> None:
        reader, writer = await transport.open(HOST)
        await welcome((reader, writer))
        writer.write(protocol.encode(protocol.Finish()))
        assert await reader.read() == b""
        await transport.close(HOST)

    run(work())


def test_nothing_is_left_when_it_is_closed(transport: Transport, request: pytest.FixtureRequest) -> None:
    async def work() -> None:
        await welcome(await transport.open(HOST))
        await transport.close(HOST)
        await transport.close(HOST)

    run(work())
    if isinstance(transport, LocalTransport):
        assert sweep.members(RUN) == []
    if isinstance(transport, SshTransport):
        hosts: Network = request.getfixturevalue("three_hosts")
        assert hosts.host("a").ours() == {}
        assert list(hosts.host("a").tmp.glob("tflaunch-*")) == []


def test_long_lines_pass(transport: Transport) -> None:
    async def work() -> None:
        reader, writer = await transport.open(HOST)
        await welcome((reader, writer))
        writer.write(protocol.encode(protocol.Hello(run=RUN, output={"worker-0.1" + "x" * 5_000_000: 1})))
        assert isinstance(protocol.decode(await reader.readline()), protocol.Welcome)
        await transport.close(HOST)

    run(work())


def test_what_start_up_files_print_is_passed_over() -> None:
    async def work() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(b"Welcome to host a!\n\xff\nno newline" + protocol.READY_MARKER + b"the agent\n")
        await skip_to_agent(reader)
        assert await reader.readline() == b"the agent\n"
        reader.feed_data(b"sh: python: not found\n")
        reader.feed_eof()
        with pytest.raises(TransportError, match="python: not found"):
            await skip_to_agent(reader)

    run(work())
