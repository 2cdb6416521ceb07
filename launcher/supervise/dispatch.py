"""What goes out: the actions that were decided on become commands to agents."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace

from launcher import lifecycle
from launcher.lifecycle import Action
from launcher.plan import plan as plans
from launcher.plan.model import BoundPlan, Plan, PlannedHost
from launcher.record import events
from launcher.supervise.diary import Diary
from launcher.supervise.links import AgentLink
from launcher.wire import protocol
from launcher.wire.roles import TaskId


class Dispatch:
    """Knows where the tasks of the present generation are, and what each host has been told. A host without a link is
    told nothing more."""

    def __init__(self, plan: Plan, links: Mapping[str, AgentLink], diary: Diary, *, run_id: str, folder: str) -> None:
        self.plan = plan
        self.generation = 1
        self._guarded = False
        self.host_of = {planned.task: planned.host for planned in plan.tasks}
        self._links = links
        self._diary = diary
        self._run_id = run_id
        self._folder = folder
        self._bound: BoundPlan | None = None
        self._ports: dict[TaskId, int] = {}
        self._keys: dict[TaskId, str] = {}
        self._preloaded: set[tuple[str, str]] = set()
        self._moving: set[TaskId] = set()  # they have no port yet where they go on
        self._moved: set[TaskId] = set()  # and no key

    def reserved(self, body: protocol.Reserved) -> bool:
        """A host's ports; False if they are a former generation's."""
        if body.generation != self.generation:
            return False
        ports = {TaskId.parse(name): port for name, port in body.ports.items()}
        self._ports.update(ports)
        if self._moving & ports.keys():
            self._moving -= ports.keys()
            if self._bound is not None and not self._moving:
                self._bind()
        return True

    def renewed(self, host: str) -> None:
        """A new agent there knows nothing of what the former was told."""
        self._preloaded = {(name, key) for name, key in self._preloaded if name != host}
        self._guard(host)
        self._preload(host)

    def perform(self, action: Action) -> None:
        """Has an agent, or several, do it."""
        if isinstance(action, lifecycle.Prepare):
            self._prepare(action)
        elif isinstance(action, lifecycle.Place):
            self._place(action)
        elif isinstance(action, (lifecycle.Warm, lifecycle.SetLease)):
            self._tell_hosts(action)
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

    def _tell_hosts(self, action: lifecycle.Warm | lifecycle.SetLease) -> None:
        if isinstance(action, lifecycle.SetLease):
            self._say(action.host, protocol.LeaseTerms(grace=action.grace))
            return
        for host in sorted(action.hosts):
            self._preload(host, action.plan)

    def _to(self, task: TaskId, message: protocol.Message) -> None:
        self._say(self.host_of[task], message)

    def _say(self, host: str, message: protocol.Message) -> None:
        link = self._links.get(host)
        if link is not None:
            link.send(message)

    def _tell(self, action: lifecycle.TellTask) -> None:
        if action.task is not None:
            self._to(action.task, protocol.Tell(task=action.task.name, message=action.message))
            return
        for host in self._links:
            self._say(host, protocol.Tell(task="", message=action.message))

    def _prepare(self, action: lifecycle.Prepare) -> None:
        self.plan, self.generation, self._bound = action.plan, action.generation, None
        self._keys.clear()
        self._moving.clear()
        self._moved.clear()
        self._guarded = action.guarded
        self.host_of = {planned.task: planned.host for planned in self.plan.tasks}
        self._ports = {task: port for task, port in self._ports.items() if task in action.kept}
        for host in (host for host in self.plan.hosts if host.name in action.hosts):
            self._reserve(host, [planned.task for planned in self.plan.tasks if planned.host == host.name])
        if self.plan.model_dir is not None:
            self._lock(self.plan.model_dir, action.locker)

    def _place(self, action: lifecycle.Place) -> None:
        self.plan = action.plan
        self.host_of = {planned.task: planned.host for planned in self.plan.tasks}
        self._moving |= action.tasks
        self._moved |= action.tasks
        for host in self.plan.hosts:
            tasks = [task for task in sorted(action.tasks) if self.host_of[task] == host.name]
            if tasks:
                self._reserve(host, tasks)

    def _reserve(self, host: PlannedHost, tasks: list[TaskId]) -> None:
        self._guard(host.name)
        self._preload(host.name)
        low, high = host.ports or (None, None)
        names = tuple(task.name for task in tasks)
        self._say(host.name, protocol.Reserve(generation=self.generation, tasks=names, low=low, high=high))

    def _agree_on_model_dir(self, action: lifecycle.LockModelDir | lifecycle.SeeModelDir) -> None:
        if isinstance(action, lifecycle.LockModelDir):
            self._lock(action.path, action.task, action.departed)
            return
        for host in action.hosts:
            self._say(host, protocol.SeeModelDir(path=action.path))

    def _lock(self, model_dir: str, user: TaskId, departed: tuple[str, ...] = ()) -> None:
        self._to(user, protocol.LockModelDir(path=model_dir, generation=self.generation, departed=departed))

    def _guard(self, host: str) -> None:
        if self._guarded:
            self._say(host, plans.guard_message(self._bound, host, self._keys))

    def _preload(self, host: str, plan: Plan | None = None) -> None:
        for message in plans.preload_messages(plan or self.plan, host):
            if (host, message.key) in self._preloaded:
                continue
            self._preloaded.add((host, message.key))
            self._diary.record(events.PreloadChanged(host=host, key=message.key, state=protocol.PreloadStage.STARTING))
            self._say(host, message)
        self._start_board(host)

    def _start(self, task: TaskId, attempt: int) -> None:
        bound = self._bind() if self._bound is None or task in self._moved else self._bound
        self._to(task, plans.start_message(bound, task, attempt, run=self._run_id))

    def _bind(self) -> BoundPlan:
        """Every task has its address, and every address its key; all hosts are told before anybody is started there.
        Who was to come and left again before it had a port has none."""
        there = tuple(item for item in self.plan.tasks if item.task in self._ports or item.task not in self._moving)
        self._bound = bound = plans.bind(replace(self.plan, tasks=there), self._ports, generation=self.generation)
        ports = {task.name: port for task, port in sorted(self._ports.items())}
        self._diary.record(events.GenerationBound(generation=self.generation, ports=ports))
        known = {task: key for task, key in self._keys.items() if task not in self._moved}
        self._keys = {task: known.get(task) or secrets.token_hex(32) for task in bound.ports}
        self._moved &= self._moving
        for host in self._links:
            self._guard(host)
        return bound

    def _start_board(self, host: str) -> None:
        """TensorBoard runs where the run folder is, else on the chief's host, which knows the model alone."""
        message = plans.board_message(self.plan, host, self._folder, run=self._run_id)
        if message is not None:
            self._say(host, message)
