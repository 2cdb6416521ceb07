"""One contract for every reach: its programs, and by them a pipe to an agent, the same when it is opened again.

Who imports all of it has fixtures ``reach``, and ``programs``, the same where its programs are real; ``host``, one that
it leads to; and ``nothing_left``, which sees that a run has left nothing there.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from launcher.hosts.agents import Agents
from launcher.hosts.reach import DOCTOR, Pipe, Reach, ReachError
from launcher.plan.model import PlannedHost
from launcher.spec.policy import Policy
from launcher.wire import protocol

RUN = f"reaches-{os.getpid()}"
TESTS = (
    "test_opened_again_it_leads_to_the_same_agent",
    "test_the_pipe_ends_when_the_run_does",
    "test_nothing_is_left_when_it_is_closed",
    "test_an_agent_outlives_the_way_to_it",
    "test_long_lines_pass",
    "test_a_program_is_a_pipe_and_an_exit",
    "test_a_host_that_is_closed_has_no_open_program",
    "test_a_program_that_does_not_come_up_says_why",
)
__all__ = ["agents", *TESTS]


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


@pytest.fixture
def agents(reach: Reach) -> Agents:
    return agents_by(reach)


def agents_by(reach: Reach, *, met: bool = False) -> Agents:
    return Agents(lambda host: reach, RUN, Policy(lease_s=30, grace_s=0.1), alone=True, met=met)


async def welcome(pipe: Pipe) -> protocol.Welcome:
    pipe[1].write(protocol.encode(protocol.Hello(run=RUN)))
    message = protocol.decode(await pipe[0].readline())
    assert isinstance(message, protocol.Welcome)
    return protocol.Welcome(**{**vars(message), "at": 0.0})  # the one thing that differs from one to the next


def test_opened_again_it_leads_to_the_same_agent(agents: Agents, host: PlannedHost) -> None:
    async def work() -> None:
        first = await agents.open(host)
        before = await welcome(first)
        first[1].close()
        second = await agents.open(host)
        assert await welcome(second) == before
        await agents.close(host)

    run(work())


def test_the_pipe_ends_when_the_run_does(agents: Agents, host: PlannedHost) -> None:
    async def work() -> None:
        reader, writer = await agents.open(host)
        await welcome((reader, writer))
        writer.write(protocol.encode(protocol.Finish()))
        assert await reader.read() == b""
        await agents.close(host)

    run(work())


def test_nothing_is_left_when_it_is_closed(agents: Agents, host: PlannedHost, nothing_left: Callable[[], None]) -> None:
    async def work() -> None:
        await welcome(await agents.open(host))
        await agents.close(host)
        await agents.close(host)

    run(work())
    nothing_left()


def test_an_agent_outlives_the_way_to_it(agents: Agents, reach: Reach, host: PlannedHost) -> None:
    """Who lets go ends nothing, and comes back to the same agent: what keeps it alive is not the pipe."""

    async def work() -> None:
        before = await welcome(await agents.open(host))
        await agents.let_go(host)
        again = agents_by(reach, met=True)
        assert await welcome(await again.open(host)) == before
        await again.close(host)

    run(work())


def test_long_lines_pass(agents: Agents, host: PlannedHost) -> None:
    async def work() -> None:
        reader, writer = await agents.open(host)
        await welcome((reader, writer))
        writer.write(protocol.encode(protocol.Hello(run=RUN, output={"worker-0.1" + "x" * 5_000_000: 1})))
        assert isinstance(protocol.decode(await reader.readline()), protocol.Welcome)
        await agents.close(host)

    run(work())


def test_a_program_is_a_pipe_and_an_exit(programs: Reach, host: PlannedHost) -> None:
    async def work() -> None:
        program = await programs.start(host, DOCTOR, {"limit_s": 30})
        program.writer.write(json.dumps({"id": 1, "ask": "time", "with": {}}).encode() + b"\n")
        assert json.loads(await program.reader.readline())["id"] == 1
        program.writer.close()
        assert (said := await program.ended(20)) == (0, ""), said
        await program.close()
        await programs.close(host)

    run(work())


def test_a_host_that_is_closed_has_no_open_program(programs: Reach, host: PlannedHost) -> None:
    async def work() -> None:
        opened = [await programs.start(host, DOCTOR, {"limit_s": 30}) for _ in range(2)]
        await programs.close(host)
        assert [await program.reader.read() for program in opened] == [b"", b""]

    run(work())


def test_a_program_that_does_not_come_up_says_why(programs: Reach, host: PlannedHost) -> None:
    """The run has had an agent, which has gone, and no other may take its place."""

    async def work() -> None:
        with pytest.raises(ReachError, match=r"the keeper has died, and its agent with it") as caught:
            await agents_by(programs, met=True).open(host)
        assert caught.value.gone and caught.value.final

    run(work())
