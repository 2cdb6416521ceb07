"""The process that sees a run through: one queue, one loop.

Agents' events, clients' requests, signals and the clock go into the queue; ``lifecycle.step`` decides; its actions go
to the agents and into ``events.jsonl``. It renders nothing, and decides nothing itself.
"""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from launcher import __version__, causes, lifecycle
from launcher.hosts.transport import Transport
from launcher.lifecycle import Action, Happening, RunState
from launcher.plan import plan as plans
from launcher.plan.model import BoundPlan, Plan, PlannedHost
from launcher.private.folder import CONTROL_SOCKET, Folder
from launcher.record import events, report, runs
from launcher.record.event_log import EventLog
from launcher.record.states import Outcome, exit_code
from launcher.supervise import control
from launcher.supervise.links import AgentLink, OutputFiles
from launcher.supervise.orders import Orders
from launcher.timeline import samples
from launcher.wire import adjustments, protocol
from launcher.wire.roles import Role, TaskId

_ANSWER_S = 30.0  # for what an agent does at once, on a machine that has much to do
_OUTPUT_PATIENCE_S = 30.0
_FINISH_PATIENCE_S = 10.0
_ENDING_S = 5.0
_SIGNALS = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminate", signal.SIGHUP: "hangup"}


class Supervisor:
    """Runs one plan in one run folder. ``transport_for`` gives the way to a host; ``home``: a private folder, in which
    this process lives."""

    def __init__(
        self,
        folder: runs.RunFolder,
        plan: Plan,
        transport_for: Callable[[PlannedHost], Transport],
        *,
        run_id: str,
        home: Folder,
    ) -> None:
        self.folder = folder
        self.plan = plan
        self.run_id = run_id
        self._home = home
        self._state: RunState = lifecycle.initial(plan)
        self._queue: asyncio.Queue[Happening] = asyncio.Queue()
        self._log = EventLog(folder.events)
        self._output = OutputFiles(folder.log)
        self._outcome: lifecycle.End | None = None
        self._bound: BoundPlan | None = None
        self._ports: dict[TaskId, int] = {}
        self._welcomed: set[str] = set()
        self._open_hosts: dict[str, str] = {}
        self._keys: dict[TaskId, str] = {}
        self._lost_early: list[lifecycle.HostLost] = []
        self._expected_output: dict[str, int] = {}
        self._agent_env: dict[str, str] = {}
        self._links = {host.name: self._link(host, transport_for(host)) for host in plan.hosts}
        self._host_of = {planned.task: planned.host for planned in plan.tasks}
        self._generation = 1
        self._lost: set[str] = set()
        self._sweeps: list[asyncio.Task[None]] = []
        self._preloaded: set[tuple[str, str]] = set()
        self._transport_for = transport_for
        self._began = time.monotonic()

    def _link(self, host: PlannedHost, transport: Transport) -> AgentLink:
        patience_s = max(self.plan.policy.lease_s, 1.0)
        orders = Orders(answer_s=max(patience_s, _ANSWER_S), start_s=self.plan.policy.start_timeout_s + _ANSWER_S)
        link = AgentLink(host, transport, self.run_id, self._output, orders, patience_s=patience_s)
        link.on_welcome = self._on_welcome
        link.on_event = self._on_event
        link.on_lost = self._on_lost
        return link

    # --- the loop

    async def run(self) -> int:
        """Sees the run to its end; gives the exit code. Whatever happens, the end is recorded."""
        server = control.ControlServer(
            self._on_request, lambda: self._put(self._stop("hangup", "its terminal is gone"))
        )
        self._record_start()
        await server.start(self._home)
        runs.write_supervisor(self.folder, runs.this_supervisor(Path(self._home.path, CONTROL_SOCKET)))
        self._listen_to_signals()
        lines = [asyncio.create_task(link.run()) for link in self._links.values()]
        try:
            await self._loop()
            await self._rest_of_output()
        finally:
            await self._finish(lines)
            exit_code = self._record_end()
            server.close()
            self._home.remove()
        return exit_code

    async def _loop(self) -> None:
        while self._outcome is None:
            wait_s = lifecycle.next_wakeup(self._state) - time.monotonic()
            try:
                timeout_s = None if math.isinf(wait_s) else max(0.0, wait_s)
                happening = await asyncio.wait_for(self._queue.get(), timeout_s)
            except asyncio.TimeoutError:
                await asyncio.sleep(0)  # a time-out of 0 s would leave the lines no turn
                happening = lifecycle.Ticked(now=time.monotonic())
            self._state, actions = lifecycle.step(self._state, happening)
            for action in actions:
                self._perform(action)

    def _put(self, happening: Happening) -> None:
        self._queue.put_nowait(happening)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number, how in _SIGNALS.items():
            loop.add_signal_handler(number, self._on_signal, how, number)

    def _on_signal(self, how: str, number: signal.Signals) -> None:
        self._put(self._stop(how, number.name))

    def _stop(self, how: str, by: str) -> Happening:
        return lifecycle.StopAsked(now=time.monotonic(), how=how, by=by)

    # --- what comes in

    def _on_welcome(self, host: PlannedHost, welcome: protocol.Welcome, renewed: bool) -> None:
        facts: dict[str, protocol.JsonValue] = {
            "pid": welcome.pid,
            "python": welcome.python,
            "cores": welcome.cores,
            "memory_mib": welcome.memory_mib,
            "gpus": welcome.gpus,
        }
        self._record(events.HostChanged(host=host.name, state="renewed" if renewed else "up", facts=facts))
        if renewed:
            self._preloaded = {(name, key) for name, key in self._preloaded if name != host.name}
            self._guard(host.name)
            self._preload(host.name)
            self._put(lifecycle.AgentRenewed(now=time.monotonic(), host=host.name))
            return
        self._welcomed.add(host.name)
        if welcome.open_ports:
            self._open_hosts[host.name] = welcome.open_ports
        self._begin_when_all_have_answered()

    def _begin_when_all_have_answered(self) -> None:
        """Begins, or says of every host that cannot be had why."""
        if len(self._welcomed) + len(self._lost_early) < len(self._links):
            return
        for lost in self._lost_early:
            self._put(lost)
        if not self._lost_early:
            self._say_if_ports_are_open()
            self._put(lifecycle.Begun(now=time.monotonic()))

    def _say_if_ports_are_open(self) -> None:
        reasons = [f"they cannot be guarded on {host}: {why}" for host, why in self._open_hosts.items()]
        if adjustments.PORT_GUARD not in self.plan.adjustments:
            reasons = ["port-guard is switched off"]
        if reasons:
            message = adjustments.OPEN_PORTS.format("; ".join(reasons))
            self._record(events.Noticed(severity="warning", message=message))

    def _on_event(self, host: PlannedHost, body: protocol.Message) -> None:
        if isinstance(body, protocol.Reserved):
            if body.generation != self._generation:
                return
            self._ports.update({TaskId.parse(name): port for name, port in body.ports.items()})
        elif isinstance(body, protocol.Exited):
            self._expected_output[f"{TaskId.parse(body.task).slug}.{body.attempt}"] = body.output_bytes
        elif isinstance(body, protocol.Reported) and isinstance(body.report, protocol.Profiled):
            self._keep_sample(TaskId.parse(body.task), body.attempt, body.report)
            return
        elif isinstance(body, protocol.Guarded):
            if body.note:
                self._record(events.Noticed(severity="warning", message=f"host {host.name}: {body.note}"))
            return
        elif isinstance(body, protocol.BoardState):
            self._board_changed(host.name, body)
            return
        elif isinstance(body, protocol.Stacks) and body.text:
            self._keep_stacks(body)
        self._put(lifecycle.Told(now=time.monotonic(), host=host.name, body=body))

    def _start_board(self, host: str) -> None:
        """TensorBoard runs where the run folder is, else on the chief's host, which knows the model alone."""
        message = plans.board_message(self.plan, host, str(self.folder.path), run=self.run_id)
        if message is not None:
            self._links[host].send(message)

    def _board_changed(self, host: str, told: protocol.BoardState) -> None:
        self._record(events.BoardChanged(host=host, state=told.state, url=told.url, message=told.message))

    def _keep_sample(self, task: TaskId, attempt: int, report: protocol.Profiled) -> None:
        try:
            path = samples.keep(self.folder.timeline, task, attempt, report, time.time())
        except (OSError, ValueError) as error:
            message = f"a sample for the timeline could not be kept: {error}"
            self._record(events.Noticed(severity="warning", message=message, task=task.name))
            return
        step = report.global_step
        self._record(events.ProfileTaken(task=task.name, attempt=attempt, global_step=step, path=str(path)))

    def _keep_stacks(self, body: protocol.Stacks) -> None:
        path = self.folder.stacks(TaskId.parse(body.task))
        path.parent.mkdir(mode=0o700, exist_ok=True)
        waits = "".join(f"\nwaits for the file {file}" for file in body.files)
        head = f"attempt {body.attempt}, process {body.pid}, state {body.state}{waits}"
        runs.write_private(path, f"{head}\n\n{body.text}\n")

    def _on_lost(self, host: PlannedHost, message: str, advice: str) -> None:
        words = f"{message}; {advice}" if advice else message
        self._record(events.HostChanged(host=host.name, state="lost", message=words))
        now, link = time.monotonic(), self._links[host.name]
        lost = lifecycle.HostLost(
            now=now,
            host=host.name,
            message=message,
            advice=advice,
            silent_s=now - link.heard_at,
            dead_at=link.down_at + self._last_gasp_s(),
            lied=link.lied,
        )
        if host.name in self._welcomed:
            self._lost.add(host.name)
            self._sweeps.append(asyncio.create_task(self._transport_for(host).close(host)))
            self._put(lost)
        else:
            self._lost_early.append(lost)
            self._begin_when_all_have_answered()

    def _last_gasp_s(self) -> float:
        """How long tasks of a host may live after its line was lost: what was on its way then may still have reached
        the agent; from there on the lease counts, then the grace time."""
        policy = self.plan.policy
        return policy.lease_s * 7 / 6 + policy.grace_s + _ENDING_S

    def _on_request(self, message: protocol.Message) -> str:
        if isinstance(message, control.AskStop):
            self._put(self._stop(message.how, message.by))
            return ""
        if isinstance(message, control.AskRestart):
            task = TaskId.parse(message.task)
            if task not in self._host_of:
                return f"this run has no task {message.task}"
            self._put(lifecycle.RestartAsked(now=time.monotonic(), task=task))
            return ""
        return f"not a request: {message.kind}"

    # --- what goes out

    def _perform(self, action: Action) -> None:
        if isinstance(action, lifecycle.Record):
            self._record(action.event)
        elif isinstance(action, lifecycle.Prepare):
            self._prepare(action)
        elif isinstance(action, (lifecycle.LockModelDir, lifecycle.SeeModelDir)):
            self._agree_on_model_dir(action)
        elif isinstance(action, lifecycle.StartTask):
            self._start(action.task, action.attempt)
        elif isinstance(action, lifecycle.StopTask):
            message = protocol.Stop(task=action.task.name, attempt=action.attempt, grace_s=action.grace_s)
            self._to(action.task, message)
        elif isinstance(action, lifecycle.SignalTask):
            self._to(action.task, protocol.Signal(task=action.task.name, attempt=action.attempt, signal=action.signal))
        elif isinstance(action, lifecycle.ProveTask):
            self._to(action.task, protocol.Prove(task=action.task.name, attempt=action.attempt))
        elif isinstance(action, lifecycle.TakeStacks):
            self._to(action.task, protocol.TakeStacks(task=action.task.name, attempt=action.attempt))
        elif isinstance(action, lifecycle.TellTask):
            self._tell(action)
        elif isinstance(action, lifecycle.End):
            self._outcome = action

    def _to(self, task: TaskId, message: protocol.Message) -> None:
        self._links[self._host_of[task]].send(message)

    def _tell(self, action: lifecycle.TellTask) -> None:
        if action.task is not None:
            self._to(action.task, protocol.Tell(task=action.task.name, message=action.message))
            return
        for link in self._links_left().values():
            link.send(protocol.Tell(task="", message=action.message))

    def _links_left(self) -> dict[str, AgentLink]:
        return {host: link for host, link in self._links.items() if host not in self._lost}

    def _prepare(self, action: lifecycle.Prepare) -> None:
        self.plan, self._generation, self._bound = action.plan, action.generation, None
        self._host_of = {planned.task: planned.host for planned in self.plan.tasks}
        # A task that has ended on a lost host keeps its address: it only fills a place in the others' lists.
        self._ports = {task: port for task, port in self._ports.items() if self._host_of[task] in action.lost}
        for host, link in self._links_left().items():
            self._guard(host)
            self._preload(host)
            low, high = link.host.ports or (None, None)
            names = tuple(planned.task.name for planned in self.plan.tasks if planned.host == host)
            link.send(protocol.Reserve(generation=self._generation, tasks=names, low=low, high=high))
        if self.plan.model_dir is not None:
            self._lock(self.plan.model_dir)

    def _agree_on_model_dir(self, action: lifecycle.LockModelDir | lifecycle.SeeModelDir) -> None:
        if isinstance(action, lifecycle.LockModelDir):
            self._lock(action.path)
            return
        for host in action.hosts:
            self._links[host].send(protocol.SeeModelDir(path=action.path))

    def _lock(self, model_dir: str) -> None:
        """The chief's host locks it; without that, the host of whoever evaluates its last checkpoint."""
        users = (self.plan.chief, *self.plan.of_role(Role.EVALUATOR))
        user = next((planned for planned in users if planned.host not in self._lost), users[0])
        self._to(user.task, protocol.LockModelDir(path=model_dir, generation=self._generation))

    def _guard(self, host: str) -> None:
        """All hosts or none: who has no key gets no answer from those who ask for one."""
        if adjustments.PORT_GUARD in self.plan.adjustments and not self._open_hosts:
            self._links[host].send(plans.guard_message(self._bound, host, self._keys))

    def _preload(self, host: str) -> None:
        for message in plans.preload_messages(self.plan, host):
            if (host, message.key) in self._preloaded:
                continue
            self._preloaded.add((host, message.key))
            self._record(events.PreloadChanged(host=host, key=message.key, state="starting"))
            self._links[host].send(message)
        self._start_board(host)

    def _start(self, task: TaskId, attempt: int) -> None:
        if self._bound is None:
            self._bound = plans.bind(self.plan, self._ports, generation=self._generation)
            ports = {bound.name: port for bound, port in sorted(self._ports.items())}
            self._record(events.GenerationBound(generation=self._generation, ports=ports))
            self._keys = {bound: secrets.token_hex(32) for bound in self._bound.ports}
            for host in self._links_left():
                self._guard(host)
        self._to(task, plans.start_message(self._bound, task, attempt, run=self.run_id))

    # --- what is written down

    def _record(self, event: events.RunEvent) -> None:
        self._log.append(event, datetime.now(timezone.utc))

    def _record_start(self) -> None:
        self._record(
            events.RunStarted(
                run=self.folder.run,
                name=self.plan.name,
                pid=os.getpid(),
                host=socket.gethostname(),
                command=self.plan.tasks[0].argv,
                model_dir=self.plan.model_dir,
                run_dir=str(self.folder.path),
                tasks=tuple({"task": item.task.name, "host": item.host} for item in self.plan.tasks),
                max_steps=self.plan.max_steps,
                version=__version__,
                run_id=self.run_id,
                inject=self.plan.inject,
            )
        )

    def _record_end(self) -> int:
        end = self._outcome or lifecycle.End(outcome=Outcome.FAILED, cause=causes.launcher_failed(sys.exc_info()[1]))
        cause = end.cause
        code = exit_code(end.outcome, cause.kind if cause else None, end.how)
        self._record(
            events.RunEnded(
                outcome=end.outcome.value,
                exit_code=code,
                duration_s=round(time.monotonic() - self._began, 3),
                global_step=self._state.global_step or None,
                cause=causes.to_json(cause, run=self._name_for_commands()) if cause else None,
            )
        )
        self._log.close()
        self._output.close()
        report.write_report(report.load_view(self.folder), self.folder)
        return code

    def _name_for_commands(self) -> str:
        """What ``tflaunch logs`` and the like find this run by."""
        return self.folder.run if self.folder.path.parent.name == "runs" else str(self.folder.path)

    # --- the end

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
            self._record(events.Noticed(severity="warning", message=message))

    def _missing_output(self) -> dict[str, int]:
        received = self._output.received
        return {
            key: size - received.get(key, 0)
            for key, size in self._expected_output.items()
            if size > received.get(key, 0)
        }

    async def _finish(self, lines: list[asyncio.Task[None]]) -> None:
        """Ends every agent, and waits until it has gone."""
        for link in self._links.values():
            link.finish()
        _, late = await asyncio.wait(lines, timeout=_FINISH_PATIENCE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._sweeps, return_exceptions=True)
        # A host that was left behind may be there again; one that ends the run has just been looked at.
        again = [host for host in self.plan.hosts if host.name not in self._lost or self._generation > 1]
        await asyncio.gather(*(self._transport_for(host).close(host) for host in again))


def transport_table(
    run_id: str, plan: Plan, environ: Mapping[str, str], *, met: bool = False
) -> Callable[[PlannedHost], Transport]:
    """The way to each host of the plan: by its ``transport``. ``met``: the run has had agents, and gets no others."""
    from launcher.hosts.local import LocalTransport

    lease_s, grace_s = plan.policy.lease_s, plan.policy.grace_s
    table: dict[str, Transport] = {
        "local": LocalTransport(run=run_id, lease_s=lease_s, grace_s=grace_s, environ=environ, met=met)
    }
    if any(host.transport == "ssh" for host in plan.hosts):
        from launcher.hosts.ssh_agents import SshTransport

        interpreters = dict.fromkeys(planned.python[0] for planned in plan.tasks if planned.python)
        table["ssh"] = SshTransport(
            run=run_id,
            lease_s=lease_s,
            grace_s=grace_s,
            ps_wait_s=grace_s if len(plan.hosts) > 1 else 0.0,
            pythons=tuple(interpreters),
            met=met,
        )
    return lambda host: table[host.transport]


def supervise(folder: runs.RunFolder, plan: Plan, environ: Mapping[str, str], *, run_id: str, home: Folder) -> int:
    """Runs the plan in this process; gives the exit code."""
    transport_for = transport_table(run_id, plan, environ)
    return asyncio.run(Supervisor(folder, plan, transport_for, run_id=run_id, home=home).run())
