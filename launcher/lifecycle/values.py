"""What the lifecycle takes (happenings) and what it gives back (actions)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from launcher.causes import Cause
from launcher.plan.model import Plan, PlannedHost
from launcher.record import events
from launcher.record.states import Outcome, StopHow
from launcher.wire import protocol
from launcher.wire.roles import Role, TaskId

# --- what has happened -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Happening:
    """Base of what ``step`` takes. ``now``: monotonic seconds."""

    now: float


@dataclass(frozen=True, kw_only=True)
class Begun(Happening):
    """The supervisor is up."""


@dataclass(frozen=True, kw_only=True)
class HostGranted(Happening):
    """The engine gives a host that was asked for: as it was planned, with what is now known of it."""

    host: PlannedHost


@dataclass(frozen=True, kw_only=True)
class HostRefused(Happening):
    """The engine does not give it, and will not."""

    host: str
    message: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class HostAnswers(Happening):
    """The agent of a host answers for the first time. ``open_ports``: why ports cannot be guarded there."""

    host: str
    open_ports: str = ""


@dataclass(frozen=True, kw_only=True)
class Told(Happening):
    """An agent said ``body`` (a body of ``protocol.Event``)."""

    host: str
    body: protocol.Message


@dataclass(frozen=True, kw_only=True)
class AgentRenewed(Happening):
    """The agent of a host died and came back: its tasks are dead, its ports still held."""

    host: str


@dataclass(frozen=True, kw_only=True)
class HostLost(Happening):
    """A host cannot be reached any more. ``advice``: what to do about it, if something is known; ``silent_s``: for how
    long it has said nothing; ``leased_from``: from when on its lease runs; ``gone``: all that ran there is dead, says
    its engine; ``lied``: it was given up because it claimed what was none of its business."""

    host: str
    message: str
    advice: str = ""
    silent_s: float = 0.0
    leased_from: float = -math.inf
    gone: bool = False
    lied: bool = False


@dataclass(frozen=True, kw_only=True)
class StopAsked(Happening):
    """Somebody wants the end."""

    how: StopHow
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class RestartAsked(Happening):
    """Somebody wants one task restarted in place."""

    task: TaskId


@dataclass(frozen=True, kw_only=True)
class ScaleAsked(Happening):
    """Somebody wants ``count`` workers. ``forced``: although the program may divide its input by another number."""

    count: int
    forced: bool = False
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class DrainAsked(Happening):
    """Somebody wants everything to leave a host in order."""

    host: str


@dataclass(frozen=True, kw_only=True)
class Ticked(Happening):
    """Time has passed (see ``next_wakeup``)."""


# --- what is to be done ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Action:
    """Base of what ``step`` gives back."""


@dataclass(frozen=True, kw_only=True)
class AskHost(Action):
    """Ask the engine for a host, on which tasks of these roles are to run; not for one at an address of ``avoid``."""

    host: PlannedHost
    roles: frozenset[Role]
    avoid: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class OpenLink(Action):
    """Reach the agent of a host that was granted."""

    host: PlannedHost


@dataclass(frozen=True, kw_only=True)
class LeaveHost(Action):
    """Nothing more is said to this host. End what can be reached there, and give it back to its engine."""

    host: str


@dataclass(frozen=True, kw_only=True)
class Prepare(Action):
    """A generation begins on these hosts: reserve every port, lock the model_dir (the host of the task ``locker``),
    start the preloaded interpreters. ``kept``: tasks that keep the port which they had; ``guarded``: ports are."""

    plan: Plan
    generation: int
    hosts: frozenset[str]
    locker: TaskId
    kept: frozenset[TaskId] = frozenset()
    guarded: bool = False


@dataclass(frozen=True, kw_only=True)
class Place(Action):
    """Within a generation these tasks go on elsewhere, as ``plan`` has it: reserve a port for each there."""

    plan: Plan
    tasks: frozenset[TaskId]


@dataclass(frozen=True, kw_only=True)
class Warm(Action):
    """Start the preloaded interpreters on these hosts that tasks will need which ``plan`` has there."""

    plan: Plan
    hosts: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class LockModelDir(Action):
    """Lock the folder in which the chief is about to train, on the host of that task. ``departed``: attempts whose
    hosts are lost, and that have lost the folder with them."""

    path: str
    task: TaskId
    departed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SeeModelDir(Action):
    """Let these hosts see that the folder is there what it is on the chief's host."""

    path: str
    hosts: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class SetLease(Action):
    """Tell a host what happens there at the end of its lease (``protocol.LeaseTerms``)."""

    host: str
    grace: bool


@dataclass(frozen=True, kw_only=True)
class StartTask(Action):
    task: TaskId
    attempt: int


@dataclass(frozen=True, kw_only=True)
class StopTask(Action):
    task: TaskId
    attempt: int
    grace_s: float


@dataclass(frozen=True, kw_only=True)
class SignalTask(Action):
    task: TaskId
    attempt: int
    signal: int


@dataclass(frozen=True, kw_only=True)
class ProveTask(Action):
    task: TaskId
    attempt: int


@dataclass(frozen=True, kw_only=True)
class TakeStacks(Action):
    """See what an attempt is doing; the answer is ``protocol.Stacks``."""

    task: TaskId
    attempt: int


@dataclass(frozen=True, kw_only=True)
class TellTask(Action):
    """Pass ``message`` to one task, or to every task if ``task`` is None."""

    task: TaskId | None
    message: protocol.Message


@dataclass(frozen=True, kw_only=True)
class Record(Action):
    """Write an event of the run."""

    event: events.RunEvent


@dataclass(frozen=True, kw_only=True)
class End(Action):
    """The run is over: nothing of it is to be left anywhere, these hosts above all."""

    outcome: Outcome
    cause: Cause | None
    how: StopHow | None = None
    hosts: frozenset[str] = frozenset()
