"""The supervisor's end of a line, with an agent that says what the test wants."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.hosts.transport import FakeTransport, Pipe
from launcher.plan.model import PlannedHost
from launcher.supervise.links import AgentLink, OutputFiles
from launcher.wire import protocol

HOST = PlannedHost(name="a", address="127.0.0.1")


def heard(*events: tuple[float, protocol.Message]) -> list[protocol.Message]:
    """What arrives of events that were said so many seconds before now, by a host whose clock is an hour ahead."""

    async def serve(host: PlannedHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        facts: dict[str, Any] = {"host": host.name, "pid": 1, "python": "", "cores": 1, "memory_mib": 1, "gpus": 0}
        writer.write(protocol.encode(protocol.Welcome(incarnation="fake", version=protocol.VERSION, **facts)))
        for seq, (ago_s, body) in enumerate(events, 1):
            at = time.time() + 3600.0 - ago_s
            writer.write(protocol.encode(protocol.Event(seq=seq, incarnation="fake", at=at, body=body)))
        await writer.drain()
        await reader.read()

    bodies: list[protocol.Message] = []

    async def talk() -> None:
        link = AgentLink(HOST, FakeTransport(serve), "run", OutputFiles(lambda task: Path("unused")), patience_s=0.0)
        arrived = asyncio.Event()

        def take(host: PlannedHost, body: protocol.Message) -> None:
            bodies.append(body)
            if len(bodies) == len(events):
                arrived.set()

        link.on_event = take
        running = asyncio.create_task(link.run())
        await asyncio.wait_for(arrived.wait(), 30)
        running.cancel()

    asyncio.run(talk())
    return bodies


def test_the_time_that_the_news_of_a_death_was_on_its_way_counts() -> None:
    dead = protocol.Exited(task="worker:0", attempt=1, exit_code=None, signal=9, since_s=0.5)
    _, late = heard((0.0, protocol.Reserved(generation=1, ports={})), (20.0, dead))
    assert isinstance(late, protocol.Exited)
    assert 20.4 < late.since_s < 30.0, "its own half second, and the 20 s that it took longer than the quickest event"


def test_a_fault_of_our_own_is_told_and_waited_for_by_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    class Faulty(FakeTransport):
        async def open(self, host: PlannedHost) -> Pipe:
            raise KeyError("authentication")

    told: list[str] = []

    async def talk() -> None:
        transport = Faulty(lambda *_: None)  # type: ignore[arg-type, return-value]
        link = AgentLink(HOST, transport, "run", OutputFiles(lambda task: Path("unused")), patience_s=60.0)
        link.on_lost = lambda host, message, advice: told.append(f"{host.name}: {message}; {advice}")
        await asyncio.wait_for(link.run(), 30)

    asyncio.run(talk())
    assert told == [
        "a: tflaunch itself has failed here: KeyError: 'authentication'; "
        "supervisor.log in the run's folder says where; please report it"
    ]
    assert "Traceback" in capsys.readouterr().err
