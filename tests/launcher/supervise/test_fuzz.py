"""A host's agent, or a client, says anything at all: nothing breaks or grows, and nobody else's task is touched."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings

from launcher.hosts.reach import ReachError
from launcher.lifecycle import Record, Told, task_reports
from launcher.plan.model import Plan, PlannedHost
from launcher.record.events import Recorded, from_line, to_line
from launcher.record.view import RunView
from launcher.supervise.control import AskStop, Control, ControlServer
from launcher.supervise.links import AgentLink, BreachError
from launcher.supervise.orders import Orders
from launcher.supervise.output_files import OutputFiles
from launcher.wire import protocol
from launcher.wire.private import registry
from launcher.wire.private.folder import CONTROL_SOCKET
from tests.launcher import hostile
from tests.launcher.hosts.fake import FakeReach, fake_agents
from tests.launcher.lifecycle.test_lifecycle import Run, make_plan

EVIL = PlannedHost(name="evil", address="10.0.0.66")
SAYS = ("reserved", "refused", "locked", "seen", "started", "listening", "exited", "stacks", "usage", "reported")
REPORTS = tuple(kind.kind for kind in task_reports.ON_REPORT)
REQUESTS = ("own", "disown", "ask_stop", "ask_restart", "done", "hello")
WELCOME = protocol.Welcome(
    incarnation="evil", version=protocol.VERSION, host="evil", pid=1, python="", cores=1, memory_mib=1, gpus=0
)


def plan() -> Plan:
    made = make_plan()
    tasks = tuple(replace(item, host="evil") if item.task.name == "worker:1" else item for item in made.tasks)
    return replace(made, hosts=(*made.hosts, EVIL), tasks=tasks)


def event(speaker: hostile.Speaker) -> dict[str, object]:
    """Most often of the host's own task."""
    own = {"task": "worker:1", "attempt": 1}
    body = speaker.random.choice(
        (
            lambda: {**speaker.message(*SAYS), **own},
            lambda: {"kind": "reported", **own, "report": speaker.message(*REPORTS)},
            speaker.message,
        )
    )()
    if speaker.random.random() < 0.05:
        return speaker.message()
    seq = speaker.random.randrange(1, 10**6)
    return {"kind": "event", "seq": seq, "incarnation": "evil", "at": 0.0, "body": body}


class Heard:
    """What a supervisor makes of one host: the link, the lifecycle, the events and the views of them."""

    def __init__(self, tmp_path: Path) -> None:
        self.run = Run(plan()).begin()
        self.run.started("ps:0", "chief:0", "worker:0", "worker:1", "evaluator:0")
        self.others = self._others()
        self.view = RunView()
        self.n = 0
        orders = Orders(answer_s=60.0, start_s=60.0)
        orders.note(protocol.Reserve(generation=1, tasks=("worker:1",)), 0.0)
        orders.note(protocol.Start(generation=1, task="worker:1", attempt=1, argv=("x",), cwd="/"), 0.0)
        output = OutputFiles(lambda task: tmp_path / task.slug)
        self.link = AgentLink(EVIL, fake_agents(FakeReach(self._nobody)), "run", output, orders, patience_s=60.0)
        self.link.on_event = self.take
        self.output = output

    async def _nobody(self, *_: object) -> None:
        return

    def _others(self) -> dict[str, object]:
        return {
            record.task.name: (record.state, vars(record.attempt) | {"owner": None})
            for record in self.run.state.tasks.values()
            if record.planned.host != "evil"
        }

    def take(self, host: PlannedHost, body: protocol.Message) -> None:
        for action in self.run.happen(Told, host=host.name, body=body):
            if isinstance(action, Record):
                self.n += 1
                line = to_line(Recorded(n=self.n, at=datetime.now(timezone.utc), event=action.event))
                self.view.apply(from_line(line.encode().decode()))

    async def hear(self, lines: list[bytes]) -> None:
        reader = asyncio.StreamReader(limit=protocol.MAX_LINE_BYTES)
        reader.feed_data(protocol.encode(WELCOME) + b"".join(lines))
        reader.feed_eof()
        try:
            await self.link._listen(reader)
        except (protocol.ProtocolError, BreachError, ReachError, asyncio.IncompleteReadError):
            return


@pytest.mark.parametrize("examples", hostile.EXAMPLES)
def test_whatever_a_host_says_it_speaks_for_its_own_tasks_only(examples: int, tmp_path: Path) -> None:
    before = hostile.memory_mib(os.getpid())

    @settings(hostile.QUIET, max_examples=examples)
    @given(seed=hostile.SEEDS)
    def property_(seed: int) -> None:
        heard = Heard(tmp_path)
        conversation = hostile.Speaker(seed).lines(event)
        # Each line for itself, too: the first that is nonsense ends a line.
        for part in ([line] for line in conversation):
            asyncio.run(heard.hear(part))
        heard.output.close()
        stopped = heard.run.ended() is not None or heard.run.state.phase.value in ("stopping", "ended")
        if not stopped and heard.run.state.move is None:
            assert heard._others() == heard.others

    property_()
    assert not [path.name for path in tmp_path.iterdir() if path.name != "worker-1"]
    assert hostile.growth_mib(os.getpid(), before) < hostile.MOST_GROWTH_MIB


@pytest.mark.parametrize("form", hostile.HEAVY)
def test_one_heavy_message_does_not_make_a_supervisor_large(form: str, tmp_path: Path) -> None:
    """In a process of its own: what an older one has free, and in which pieces, is nobody's growth."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        assert fresh.submit(peak_growth_mib, form, tmp_path).result() < hostile.MOST_GROWTH_MIB


def peak_growth_mib(form: str, tmp_path: Path) -> int:
    heard, line = Heard(tmp_path), hostile.HEAVY[form].rstrip("\n")
    event = f'{{"kind":"event","seq":1,"incarnation":"evil","at":0.0,"body":{line}}}\n'
    before = hostile.forget_peak(os.getpid())
    asyncio.run(heard.hear([event.encode()]))
    return hostile.memory_mib(os.getpid(), "VmHWM:") - before


@pytest.mark.parametrize("examples", hostile.EXAMPLES)
def test_whatever_a_client_says_the_run_s_socket_answers_the_next(examples: int) -> None:
    name = f"fuzz-{os.getpid()}"
    home = registry.make(name, name)
    assert home is not None
    asked: list[protocol.Message] = []
    before = hostile.memory_mib(os.getpid())

    def take(message: protocol.Message) -> str:
        if isinstance(message, AskStop):
            asked.append(message)
        return "no"

    async def converse(conversation: list[bytes]) -> None:
        server = ControlServer(take, lambda: None)
        await server.start(home)
        for line in conversation:
            reader, writer = await asyncio.open_unix_connection(f"{home.path}/{CONTROL_SOCKET}")
            with contextlib.suppress(ConnectionError):  # it may be cut off before it has said all
                writer.write(line)
                writer.write_eof()
                await asyncio.wait_for(reader.read(), 30)
            writer.close()
        asked.clear()
        answer = await asyncio.to_thread(ask)
        assert (answer, len(asked)) == ("no", 1)
        server.close(0)

    def ask() -> str:
        line = Control(f"{home.path}/{CONTROL_SOCKET}")
        try:
            return line.ask(AskStop(how="stop"))
        finally:
            line.close()

    @settings(hostile.QUIET, max_examples=examples)
    @given(seed=hostile.SEEDS)
    def property_(seed: int) -> None:
        asyncio.run(converse(hostile.Speaker(seed).lines(lambda speaker: speaker.message(*REQUESTS))))

    property_()
    assert hostile.growth_mib(os.getpid(), before) < hostile.MOST_GROWTH_MIB
    home.remove()
    home.close()
