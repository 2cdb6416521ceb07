"""The process that sees a run through: one queue, one loop.

Agents' events, clients' requests, signals and the clock go into the queue; ``Lifecycle.step`` decides; its actions go
to the agents and into ``events.jsonl``. It renders nothing, and decides nothing itself.
"""

from __future__ import annotations

import asyncio
import math
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from launcher import causes, lifecycle
from launcher.hosts.agents import Agents
from launcher.hosts.engine import Answers, Engine
from launcher.hosts.known import agents_of, engine_of
from launcher.lifecycle import Happening, Lifecycle
from launcher.plan.model import Plan, PlannedHost
from launcher.record import events, runs
from launcher.record.states import Outcome, StopHow
from launcher.supervise import control
from launcher.supervise.diary import Diary
from launcher.supervise.dispatch import Dispatch
from launcher.supervise.hosts import Hosts
from launcher.supervise.links import AgentLink
from launcher.supervise.listening import Listening
from launcher.supervise.orders import Orders
from launcher.supervise.output_files import OutputFiles
from launcher.wire import protocol
from launcher.wire.private.folder import CONTROL_SOCKET, REFRESH_S, Folder
from launcher.wire.roles import TaskId

_ANSWER_S = 30.0  # for what an agent does at once, on a machine that has much to do
_OUTPUT_PATIENCE_S = 30.0


class Supervisor:
    """Runs one plan in one run folder, on hosts that an engine gives, by ``agents``. ``home``: a private folder, in
    which this process lives."""

    def __init__(
        self,
        folder: runs.RunFolder,
        plan: Plan,
        engine_for: Callable[[Answers], Engine],
        agents: Agents,
        *,
        run_id: str,
        home: Folder,
    ) -> None:
        self.folder = folder
        self.plan = plan
        self.run_id = run_id
        self._home = home
        self._queue: asyncio.Queue[Happening] = asyncio.Queue()
        self._outcome: lifecycle.End | None = None
        self._expected_output: dict[str, int] = {}
        self._agents = agents
        self._diary = Diary(folder)
        self._lifecycle = Lifecycle(plan, self._diary.former)
        self._output = OutputFiles(self._diary.log_of, plan.policy.log_limit_mib * 1024 * 1024)
        self._hosts = Hosts(engine_for, agents, self._link, self._put, self._diary.warn)
        self._dispatch = Dispatch(plan, self._hosts.links, self._diary, run_id=run_id, folder=str(folder.path))

    def _link(self, host: PlannedHost) -> AgentLink:
        patience_s = max(self.plan.policy.lease_s, 1.0)
        orders = Orders(answer_s=max(patience_s, _ANSWER_S), start_s=self.plan.policy.start_timeout_s + _ANSWER_S)
        link = AgentLink(host, self._agents, self.run_id, self._output, orders, patience_s=patience_s)
        link.on_welcome = self._on_welcome
        link.on_event = self._on_event
        link.on_lost = self._on_lost
        return link

    # --- the loop

    async def run(self, owner: int | None = None) -> int:
        """Sees the run to its end; gives the exit code. Whatever happens, the end is recorded. ``owner``: a pipe with
        whose other end the run ends."""
        server = control.ControlServer(self._on_request, lambda: self._on_orphaned("its terminal is gone"))
        if owner is not None:
            control.watch_owner(owner, lambda: self._on_orphaned("the process that owned it is gone"))
        self._diary.began(self.plan, self.run_id)
        listening = Listening(self.folder, self.plan.listeners, self._diary.warn)
        await server.start(self._home)
        runs.write_supervisor(self.folder, runs.this_supervisor(Path(self._home.path, CONTROL_SOCKET)))
        self._refresh_home()
        self._listen_to_signals()
        self._put(lifecycle.Begun(now=time.monotonic()))
        try:
            await self._loop()
            await self._rest_of_output()
        finally:
            everywhere = frozenset(host.name for host in self.plan.hosts)
            try:
                await self._hosts.finish(self._outcome.hosts if self._outcome is not None else everywhere)
            finally:
                code = self._record_end()
                await listening.finish()
                server.close(code)
                self._home.remove()
        return code

    async def _loop(self) -> None:
        while self._outcome is None:
            wait_s = self._lifecycle.next_wakeup() - time.monotonic()
            try:
                timeout_s = None if math.isinf(wait_s) else max(0.0, wait_s)
                happening = await asyncio.wait_for(self._queue.get(), timeout_s)
            except asyncio.TimeoutError:
                await asyncio.sleep(0)  # a time-out of 0 s would leave the lines no turn
                happening = lifecycle.Ticked(now=time.monotonic())
            for action in self._lifecycle.step(happening):
                self._perform(action)

    def _perform(self, action: lifecycle.Action) -> None:
        if isinstance(action, lifecycle.Record):
            self._diary.record(action.event)
        elif isinstance(action, lifecycle.AskHost):
            self._hosts.ask(action)
        elif isinstance(action, lifecycle.OpenLink):
            self._hosts.open(action.host)
        elif isinstance(action, lifecycle.LeaveHost):
            self._hosts.leave(action.host)
        elif isinstance(action, lifecycle.End):
            self._outcome = action
        else:
            self._dispatch.perform(action)

    def _refresh_home(self) -> None:
        self._home.refresh()
        asyncio.get_running_loop().call_later(REFRESH_S, self._refresh_home)

    def _put(self, happening: Happening) -> None:
        self._queue.put_nowait(happening)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number, how in control.SIGNALS.items():
            loop.add_signal_handler(number, self._on_signal, how, number)

    def _on_signal(self, how: StopHow, number: signal.Signals) -> None:
        self._put(self._stop(how, number.name))

    def _stop(self, how: StopHow, by: str) -> Happening:
        return lifecycle.StopAsked(now=time.monotonic(), how=how, by=by)

    def _on_orphaned(self, why: str) -> None:
        self._put(self._stop(StopHow.HANGUP, why))

    # --- what comes in

    def _on_welcome(self, host: PlannedHost, welcome: protocol.Welcome, renewed: bool) -> None:
        facts: dict[str, protocol.JsonValue] = {
            "pid": welcome.pid,
            "python": welcome.python,
            "cores": welcome.cores,
            "memory_mib": welcome.memory_mib,
            "gpus": welcome.gpus,
        }
        self._diary.record(events.HostChanged(host=host.name, state="renewed" if renewed else "up", facts=facts))
        if renewed:
            self._dispatch.renewed(host.name)
            self._put(lifecycle.AgentRenewed(now=time.monotonic(), host=host.name))
            return
        self._put(lifecycle.HostAnswers(now=time.monotonic(), host=host.name, open_ports=welcome.open_ports))

    def _on_event(self, host: PlannedHost, body: protocol.Message) -> None:
        if isinstance(body, protocol.Reserved):
            if not self._dispatch.reserved(body):
                return
        elif isinstance(body, protocol.Exited):
            self._expected_output[f"{TaskId.parse(body.task).slug}.{body.attempt}"] = body.output_bytes
        elif isinstance(body, protocol.Reported) and isinstance(body.report, protocol.Profiled):
            self._diary.keep_sample(TaskId.parse(body.task), body.attempt, body.report)
            return
        elif isinstance(body, protocol.Guarded):
            if body.note:
                self._diary.warn(f"host {host.name}: {body.note}")
            return
        elif isinstance(body, protocol.BoardState):
            self._board_changed(host.name, body)
            return
        elif isinstance(body, protocol.Stacks) and body.text:
            self._diary.keep_stacks(body)
        self._put(lifecycle.Told(now=time.monotonic(), host=host.name, body=body))

    def _board_changed(self, host: str, told: protocol.BoardState) -> None:
        self._diary.record(events.BoardChanged(host=host, state=told.state, url=told.url, message=told.message))

    def _on_lost(self, host: PlannedHost, message: str, advice: str) -> None:
        now, link = time.monotonic(), self._hosts.links.get(host.name)
        if link is not None:
            self._put(
                lifecycle.HostLost(
                    now=now,
                    host=host.name,
                    message=message,
                    advice=advice,
                    silent_s=now - link.heard_at if link.heard_at else 0.0,
                    leased_from=link.leased_from,
                    lied=link.lied,
                )
            )

    def _on_request(self, message: protocol.Message) -> str:
        if isinstance(message, control.AskStop):
            if message.how not in list(StopHow):
                return f"not a way to end a run: {message.how!r}"
            self._put(self._stop(StopHow(message.how), message.by))
            return ""
        if isinstance(message, control.AskRestart):
            task = TaskId.parse(message.task)
            if task not in self._dispatch.host_of:
                return f"this run has no task {message.task}"
            if why_not := self._lifecycle.why_no_restart(task):
                return why_not
            self._put(lifecycle.RestartAsked(now=time.monotonic(), task=task))
            return ""
        if isinstance(message, control.AskScale):
            if why := self._lifecycle.why_not_scale(message.count, forced=message.forced):
                return why
            self._put(lifecycle.ScaleAsked(now=time.monotonic(), count=message.count, forced=message.forced))
            return ""
        if isinstance(message, control.AskDrain):
            if why := self._lifecycle.why_not_drain(message.host):
                return why
            self._put(lifecycle.DrainAsked(now=time.monotonic(), host=message.host))
            return ""
        return f"not a request: {message.kind}"

    # --- the end

    def _record_end(self) -> int:
        end = self._outcome or lifecycle.End(outcome=Outcome.FAILED, cause=causes.launcher_failed(sys.exc_info()[1]))
        self._output.close()
        return self._diary.ended(end, self._lifecycle.state.global_step or None)

    async def _rest_of_output(self) -> None:
        """Waits for the output that ended tasks have written, as long as more of it arrives."""
        missing, since = self._missing_output(), time.monotonic()
        while missing and time.monotonic() < since + _OUTPUT_PATIENCE_S:
            await asyncio.sleep(0.01)
            left = self._missing_output()
            if left != missing:
                missing, since = left, time.monotonic()
        for key, size in missing.items():
            message = f"the last {size} bytes of the output of {key.rpartition('.')[0]} have not arrived"
            self._diary.warn(message)

    def _missing_output(self) -> dict[str, int]:
        received = self._output.received
        return {
            key: size - received.get(key, 0)
            for key, size in self._expected_output.items()
            if size > received.get(key, 0)
        }


def supervise(
    folder: runs.RunFolder,
    plan: Plan,
    environ: Mapping[str, str],
    *,
    run_id: str,
    home: Folder,
    owner: int | None = None,
) -> int:
    """Runs the plan in this process; gives the exit code. ``owner``: see ``Supervisor.run``."""

    async def run() -> int:
        agents = agents_of(run_id, plan, environ)
        engine_for = partial(engine_of, plan)
        return await Supervisor(folder, plan, engine_for, agents, run_id=run_id, home=home).run(owner)

    # Not asyncio.run: it would wait for what does not end when it is cancelled, and this process ends anyway.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(run())
