"""The supervisor's end of a line, with an agent that says what the test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.agent.host.options import Options
from launcher.hosts.reach import Program, ReachError
from launcher.plan.model import PlannedHost
from launcher.spec.hosts import FAR
from launcher.supervise.links import AgentLink
from launcher.supervise.orders import Orders
from launcher.supervise.output_files import OutputFiles
from launcher.wire import protocol
from tests.launcher.hosts.fake import FakeReach, fake_agents

HOST = PlannedHost(name="a", address="127.0.0.1")
FACTS: dict[str, Any] = {"host": "a", "pid": 1, "python": "", "cores": 1, "memory_mib": 1, "gpus": 0}
WELCOME = protocol.encode(protocol.Welcome(incarnation="fake", version=protocol.VERSION, **FACTS))


def orders(answer_s: float = 30.0) -> Orders:
    """Of a host that has worker:0."""
    made = Orders(answer_s=answer_s, start_s=60.0)
    made.note(protocol.Reserve(generation=1, tasks=("worker:0",)), 0.0)
    made.note(protocol.Start(generation=1, task="worker:0", attempt=1, argv=("x",), cwd="/"), 0.0)
    made.forgive()
    return made


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
        link = AgentLink(
            HOST,
            fake_agents(FakeReach(serve)),
            "run",
            OutputFiles(lambda task: Path("unused")),
            orders(),
            patience_s=0.0,
        )
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
    _, late = heard((0.0, protocol.Reserved(generation=1, ports={"worker:0": 2000})), (20.0, dead))
    assert isinstance(late, protocol.Exited)
    assert 20.4 < late.since_s < 30.0, "its own half second, and the 20 s that it took longer than the quickest event"


def test_a_fault_of_our_own_is_told_and_waited_for_by_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    class Faulty(FakeReach):
        async def ensure_agent(self, host: PlannedHost, options: Options, *, limit_s: float = math.inf) -> Program:
            raise KeyError("authentication")

    told: list[str] = []

    async def talk() -> None:
        agents = fake_agents(Faulty(lambda *_: None))  # type: ignore[arg-type, return-value]
        link = AgentLink(HOST, agents, "run", OutputFiles(lambda task: Path("unused")), orders(), patience_s=60.0)
        link.on_lost = lambda host, message, advice: told.append(f"{host.name}: {message}; {advice}")
        await asyncio.wait_for(link.run(), 30)

    asyncio.run(talk())
    assert told == [
        "a: tflaunch itself has failed here: KeyError: 'authentication'; "
        "supervisor.log in the run's folder says where; please report it"
    ]
    assert "Traceback" in capsys.readouterr().err


# --- hosts that are not to be believed -----------------------------------------------------------------------------


Agent = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def lost_by(agent: Agent, tmp_path: Path) -> tuple[str, bool, int]:
    """Why the host was given up whose agent does this on every line, whether it had lied, and how many lines it got."""
    lost: list[str] = []
    reach = FakeReach(lambda host, reader, writer: agent(reader, writer))
    output = OutputFiles(lambda task: tmp_path / task.slug)
    link = AgentLink(HOST, fake_agents(reach), "run", output, orders(0.5), patience_s=0.5)
    link.on_lost = lambda host, message, advice: lost.append(message)

    async def talk() -> None:
        await asyncio.wait_for(link.run(), 30)
        await reach.close(HOST)

    asyncio.run(talk())
    output.close()
    return lost[0], link.lied, reach.opened["a"]


def says(*lines: bytes, welcome: bytes = WELCOME) -> Agent:
    """An agent that says this, and then holds its tongue."""

    async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(welcome + b"".join(lines))
            await writer.drain()
            await reader.read()

    return agent


def event(body: protocol.Message | dict[str, Any], seq: int = 1) -> bytes:
    said = body if isinstance(body, dict) else protocol.to_json(body)
    line = {"kind": "event", "seq": seq, "incarnation": "fake", "at": 0.0, "body": said}
    return json.dumps(line).encode() + b"\n"


LIES: list[tuple[protocol.Message, str]] = [
    (protocol.Exited(task="chief:0", attempt=1, exit_code=0, signal=None), "attempt 1 of chief:0, which it was not"),
    (protocol.Exited(task="worker:0", attempt=2, exit_code=0, signal=None), "attempt 2 of worker:0, which it was not"),
    (
        protocol.Reported(task="chief:0", attempt=1, report=protocol.Finished(global_step=100, local_steps=100)),
        "attempt 1 of chief:0",
    ),
    (protocol.Started(generation=1, task="ps:0", attempt=1, pid=1, start="fork"), "attempt 1 of ps:0"),
    (protocol.Listening(task="ps:0", attempt=1, port=2222), "attempt 1 of ps:0"),
    (protocol.Listening(task="worker:0", attempt=1, port=2222), "worker:0 listens on port 2222, which is not its port"),
    (protocol.Reserved(generation=1, ports={"worker:0": 99_999_999}), "port 99999999 for worker:0"),
    (protocol.Reserved(generation=1, ports={"worker:0": 0}), "port 0 for worker:0"),
    (protocol.Reserved(generation=1, ports={"worker:0": 2000, "chief:0": 2001}), "to know of chief:0"),
    (protocol.Reserved(generation=1, ports={}), "one port for each of its tasks"),
    (protocol.Reserved(generation=7, ports={"worker:0": 2000}), "generation 7"),
    (protocol.Usage(cpu={"chief:0": 1.0}, rss_mib={}), "to know of chief:0"),
    (protocol.Locked(path="/etc"), "a folder that it was not asked for: '/etc'"),
    (protocol.Seen(path="/etc"), "a folder that it was not asked for"),
    (protocol.Refused(command="start", message="x", task="chief:0", attempt=1), "attempt 1 of chief:0"),
    (protocol.Refused(command="prove", message="x"), "to refuse 'prove'"),
    (protocol.Stacks(task="chief:0", attempt=1), "attempt 1 of chief:0"),
    (protocol.PreloadState(key="x", state="ready"), "an interpreter that it was not told to start"),
    (protocol.BoardState(state="up", url="http://evil"), "a TensorBoard"),
    (protocol.Finish(), "what no agent says: 'finish'"),
]


@pytest.mark.parametrize(("lie", "named"), LIES, ids=lambda value: value if isinstance(value, str) else value.kind)
def test_what_is_none_of_its_business_ends_the_line_at_once(lie: protocol.Message, named: str, tmp_path: Path) -> None:
    message, lied, lines = lost_by(says(event(lie)), tmp_path)
    assert lied and lines == 1
    assert message.startswith("it claims ") and named in message


def test_output_of_others_reaches_no_log(tmp_path: Path) -> None:
    head = protocol.encode(protocol.Output(task="chief:0", attempt=1, offset=0, size=5))
    message, lied, _ = lost_by(says(head, b"forged"), tmp_path)
    assert lied and "chief:0" in message
    assert list(tmp_path.iterdir()) == []


PETABYTE = protocol.encode(protocol.Output(task="worker:0", attempt=1, offset=0, size=10**15))
WRONG = {"kind": "exited", "task": "worker:0", "attempt": "1", "exit_code": [], "signal": {}}
NONSENSE = {
    "an announced petabyte": (says(PETABYTE), "in one piece"),
    "a line without end": (says(b"x" * (17 << 20)), "a line without end"),
    "a long line": (says(b"[" + b" " * (5 << 20) + b"]\n"), "a line of 52428"),
    "deep": (says(b"[" * 40_000 + b"\n"), "not JSON"),
    "many values": (says(b"[" * 200_000 + b"\n"), "values"),
    "a wrong type": (says(event(WRONG)), "attempt is no int"),
    "a text for a port": (
        says(event({"kind": "reserved", "generation": 1, "ports": {"worker:0": '1","x'}})),
        "ports is no Mapping",
    ),
    "no text": (says(event({"kind": "locked", "path": "\ud800"})), "path is no str"),
    "a time that is none": (says(event(protocol.Usage(cpu={}, rss_mib={})).replace(b"0.0", b"NaN")), "at is no float"),
    "garbage": (says(b"garbage\n" * 1000), "not JSON"),
    "nothing": (says(welcome=b""), "does not answer within 0.5 s"),
    "pongs alone": (says(*[protocol.encode(protocol.Pong())] * 100, welcome=b""), "does not answer within 0.5 s"),
    "another version": (says(welcome=WELCOME.replace(b'"version":1', b'"version":9')), "speaks version 9"),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_silence_and_nonsense_end_by_the_deadline(kind: str, tmp_path: Path) -> None:
    agent, named = NONSENSE[kind]
    message, lied, _ = lost_by(agent, tmp_path)
    assert named in message and not lied


def test_lines_that_are_opened_in_vain_gain_no_time(tmp_path: Path) -> None:
    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WELCOME)

    _, lied, lines = lost_by(hangs_up, tmp_path)
    assert lines > 1 and not lied


def test_an_agent_that_only_answers_pings_owes_an_answer(tmp_path: Path) -> None:
    async def pongs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WELCOME)
        while line := await reader.readline():
            if isinstance(protocol.decode(line), protocol.Ping):
                writer.write(protocol.encode(protocol.Pong()))

    lost: list[str] = []
    reach = FakeReach(lambda host, reader, writer: pongs(reader, writer))
    host = replace(HOST, traits=FAR)
    output = OutputFiles(lambda task: tmp_path / task.slug)
    link = AgentLink(host, fake_agents(reach), "run", output, orders(0.5), patience_s=5.0)
    link.on_lost = lambda host, message, advice: lost.append(message)
    link.send(protocol.Stop(task="worker:0", attempt=1, grace_s=0.1))
    asyncio.run(asyncio.wait_for(link.run(), 30))
    assert lost == ["its agent answers, but owes the end of worker:0 for too long"]


def test_a_host_may_be_asked_for_more_ports_before_it_has_answered() -> None:
    made = orders()
    made.note(protocol.Reserve(generation=1, tasks=("ps:1",)), 0.0)
    made.note(protocol.Reserve(generation=1, tasks=("worker:4",)), 0.0)
    assert made.hear(protocol.Reserved(generation=1, ports={"ps:1": 2001})) == ""
    assert made.overdue(100.0) == "its ports", "those of worker:4"
    assert made.hear(protocol.Reserved(generation=1, ports={"worker:4": 2002})) == ""
    assert made.overdue(100.0) == ""
    assert "one port for each" in made.hear(protocol.Reserved(generation=1, ports={"ps:1": 1, "worker:4": 2}))


def far_link(agent: Agent, lost: list[float], reach: FakeReach, *, patience_s: float) -> AgentLink:
    host = replace(HOST, traits=FAR)
    link = AgentLink(
        host, fake_agents(reach), "run", OutputFiles(lambda task: Path("unused")), orders(), patience_s=patience_s
    )
    link.on_lost = lambda host, message, advice: lost.append(time.monotonic() - link.heard_at)
    return link


def test_an_agent_hears_which_of_its_words_have_arrived() -> None:
    told: list[float] = []
    enough = asyncio.Event()

    async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        welcome = protocol.changed(protocol.decode(WELCOME), at=5.0)
        writer.write(protocol.encode(welcome) + protocol.encode(protocol.Pong(at=7.0)))
        while line := await reader.readline():
            if isinstance(message := protocol.decode(line), protocol.Heard):
                told.append(message.at)
                if len(told) == 2:
                    enough.set()

    async def talk() -> None:
        link = far_link(agent, [], FakeReach(lambda host, reader, writer: agent(reader, writer)), patience_s=5.0)
        running = asyncio.create_task(link.run())
        await asyncio.wait_for(enough.wait(), 30)
        running.cancel()

    asyncio.run(talk())
    assert told == [5.0, 7.0]


def test_a_host_that_is_not_reached_any_more_is_given_up_a_lease_after_its_last_word() -> None:
    """Although opening the next line hangs."""

    class Hanging(FakeReach):
        async def ensure_agent(self, host: PlannedHost, options: Options, *, limit_s: float = math.inf) -> Program:
            if self.opened["a"]:
                await asyncio.sleep(3600)
            return await super().ensure_agent(host, options, limit_s=limit_s)

    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        said = protocol.Event(
            seq=1,
            incarnation="fake",
            at=0.0,
            body=protocol.Started(generation=1, task="worker:0", attempt=1, pid=1, start="fork"),
        )
        writer.write(WELCOME + protocol.encode(said))
        await writer.drain()
        writer.close()

    lost: list[float] = []

    async def talk() -> None:
        link = far_link(hangs_up, lost, Hanging(lambda host, reader, writer: hangs_up(reader, writer)), patience_s=1.0)
        await asyncio.wait_for(link.run(), 30)

    asyncio.run(talk())
    assert lost and lost[0] >= 1.0


@pytest.mark.parametrize("reached", [True, False])
def test_what_bars_the_way_to_a_host_that_was_reached_before_may_pass(reached: bool) -> None:
    """As an sshd that is being updated, which lets nobody in; who was never let in is not tried again."""
    lost: list[float] = []

    class Barred(FakeReach):
        barred = 0

        async def ensure_agent(self, host: PlannedHost, options: Options, *, limit_s: float = math.inf) -> Program:
            if len(self.opened) == reached and not self.barred:
                self.barred += 1
                raise ReachError("root was not let in", final=True)
            return await super().ensure_agent(host, options, limit_s=limit_s)

    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WELCOME)
        if reach.opened["a"] > reached:
            enough.set()

    reach, enough = Barred(lambda host, reader, writer: hangs_up(reader, writer)), asyncio.Event()

    async def talk() -> None:
        running = asyncio.create_task(far_link(says(), lost, reach, patience_s=60.0).run())
        await asyncio.wait({running, asyncio.create_task(enough.wait())}, timeout=60, return_when="FIRST_COMPLETED")
        running.cancel()

    asyncio.run(talk())
    assert (reach.barred, enough.is_set(), bool(lost)) == (1, reached, not reached)


def test_a_host_that_was_slow_to_let_us_in_is_not_lost_by_that() -> None:
    """On a machine that has much to do an agent may have ended before anybody greeted it; another one is started."""
    lost: list[float] = []
    welcomed = asyncio.Event()
    reach = FakeReach(lambda host, reader, writer: agent(reader, writer))

    async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reach.opened["a"] == 1:
            writer.close()
            return
        writer.write(WELCOME)
        await reader.read()

    async def talk() -> None:
        link = far_link(agent, lost, reach, patience_s=0.2)
        at_once = link._agents.open

        async def slowly(host: PlannedHost) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            made = await at_once(host)
            if reach.opened["a"] == 1:
                await asyncio.sleep(0.3)  # longer than the host may be silent
            return made

        link._agents.open = slowly  # type: ignore[method-assign]
        link.on_welcome = lambda *_: welcomed.set()
        running = asyncio.create_task(link.run())
        await asyncio.wait_for(welcomed.wait(), 30)
        running.cancel()

    asyncio.run(talk())
    assert lost == []
