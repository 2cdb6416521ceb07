"""One contract for every reach: its programs, and by them a pipe to an agent, the same when it is opened again."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

from launcher.agent.host import sweep
from launcher.hosts.agents import Agents
from launcher.hosts.local import LocalReach
from launcher.hosts.reach import DOCTOR, Pipe, Reach, ReachError, skip_to_ready
from launcher.hosts.ssh.reach import SshReach
from launcher.plan.model import PlannedHost
from launcher.spec.policy import Policy
from launcher.wire import protocol
from tests.hosts.fixtures import three_hosts
from tests.hosts.namespaces import Network
from tests.launcher.hosts.fake import FakeReach

__all__ = ["three_hosts"]

HOST = PlannedHost(name="a", address="127.0.0.1")
RUN = f"reaches-{os.getpid()}"
REAL = ["local", "ssh"]


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


@pytest.fixture(params=["fake", *REAL])
def reach(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Reach:
    if request.param == "fake":
        return FakeReach(serve_fake)
    if request.param == "ssh":
        hosts: Network = request.getfixturevalue("three_hosts")
        monkeypatch.setenv("HOME", str(hosts.user_home))
        monkeypatch.setattr(sys.modules[__name__], "HOST", hosts.planned("a"))
        return SshReach()
    request.addfinalizer(lambda: sweep.sweep(RUN, f"{RUN}@{HOST.name}"))
    return LocalReach(os.environ)


@pytest.fixture
def agents(reach: Reach) -> Agents:
    return Agents(lambda host: reach, RUN, Policy(lease_s=30, grace_s=0.1), alone=True)


async def welcome(pipe: Pipe) -> protocol.Welcome:
    pipe[1].write(protocol.encode(protocol.Hello(run=RUN)))
    message = protocol.decode(await pipe[0].readline())
    assert isinstance(message, protocol.Welcome)
    return message


def test_opened_again_it_leads_to_the_same_agent(agents: Agents) -> None:
    async def work() -> None:
        first = await agents.open(HOST)
        before = await welcome(first)
        first[1].close()
        second = await agents.open(HOST)
        assert await welcome(second) == before
        await agents.close(HOST)

    run(work())


def test_the_pipe_ends_when_the_run_does(agents: Agents) -> None:
    async def work() -> None:
        reader, writer = await agents.open(HOST)
        await welcome((reader, writer))
        writer.write(protocol.encode(protocol.Finish()))
        assert await reader.read() == b""
        await agents.close(HOST)

    run(work())


def test_nothing_is_left_when_it_is_closed(agents: Agents, reach: Reach, request: pytest.FixtureRequest) -> None:
    async def work() -> None:
        await welcome(await agents.open(HOST))
        await agents.close(HOST)
        await agents.close(HOST)

    run(work())
    if isinstance(reach, LocalReach):
        assert sweep.members(RUN) == []
    if isinstance(reach, SshReach):
        hosts: Network = request.getfixturevalue("three_hosts")
        assert hosts.host("a").ours() == {}
        assert list(hosts.host("a").tmp.glob("tflaunch-*")) == []


def test_an_agent_outlives_the_way_to_it(agents: Agents, reach: Reach) -> None:
    """Who lets go ends nothing, and comes back to the same agent: what keeps it alive is not the pipe."""

    async def work() -> None:
        before = await welcome(await agents.open(HOST))
        await agents.let_go(HOST)
        again = Agents(lambda host: reach, RUN, Policy(lease_s=30, grace_s=0.1), alone=True, met=True)
        assert await welcome(await again.open(HOST)) == before
        await again.close(HOST)

    run(work())


def test_long_lines_pass(agents: Agents) -> None:
    async def work() -> None:
        reader, writer = await agents.open(HOST)
        await welcome((reader, writer))
        writer.write(protocol.encode(protocol.Hello(run=RUN, output={"worker-0.1" + "x" * 5_000_000: 1})))
        assert isinstance(protocol.decode(await reader.readline()), protocol.Welcome)
        await agents.close(HOST)

    run(work())


@pytest.mark.parametrize("reach", REAL, indirect=True)
def test_a_program_is_a_pipe_and_an_exit(reach: Reach) -> None:
    async def work() -> None:
        program = await reach.start(HOST, DOCTOR, {"limit_s": 30})
        program.writer.write(json.dumps({"id": 1, "ask": "time", "with": {}}).encode() + b"\n")
        assert json.loads(await program.reader.readline())["id"] == 1
        program.writer.close()
        assert await program.ended(20) == (0, "")
        await program.close()
        await reach.close(HOST)

    run(work())


@pytest.mark.parametrize("reach", REAL, indirect=True)
def test_a_host_that_is_closed_has_no_open_program(reach: Reach) -> None:
    async def work() -> None:
        programs = [await reach.start(HOST, DOCTOR, {"limit_s": 30}) for _ in range(2)]
        await reach.close(HOST)
        assert [await program.reader.read() for program in programs] == [b"", b""]

    run(work())


@pytest.mark.parametrize("reach", REAL, indirect=True)
def test_a_program_that_does_not_come_up_says_why(agents: Agents, reach: Reach) -> None:
    """The run has had an agent, which has gone, and no other may take its place."""

    async def work() -> None:
        gone = Agents(lambda host: reach, RUN, Policy(), alone=True, met=True)
        with pytest.raises(ReachError, match=r"the keeper has died, and its agent with it") as caught:
            await gone.open(HOST)
        assert caught.value.gone and caught.value.final

    run(work())


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
