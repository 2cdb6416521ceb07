"""What the lifecycle takes (happenings) and what it gives back (actions)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from launcher.causes import Cause
from launcher.plan.model import Plan
from launcher.record import events
from launcher.record.states import Outcome
from launcher.wire import protocol
from launcher.wire.roles import TaskId

# --- what has happened -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Happening:
    """Base of what ``step`` takes. ``now``: monotonic seconds."""

    now: float


@dataclass(frozen=True, kw_only=True)
class Begun(Happening):
    """The supervisor is up, and every host's agent answers."""


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
    long it has said nothing; ``dead_at``: when nothing of the run can be alive there any more; ``lied``: it was given
    up because it claimed what was none of its business."""

    host: str
    message: str
    advice: str = ""
    silent_s: float = 0.0
    dead_at: float = -math.inf
    lied: bool = False


@dataclass(frozen=True, kw_only=True)
class StopAsked(Happening):
    """Somebody wants the end. ``how``: see ``events.StopRequested``."""

    how: str
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class RestartAsked(Happening):
    """Somebody wants one task restarted in place."""

    task: TaskId


@dataclass(frozen=True, kw_only=True)
class Ticked(Happening):
    """Time has passed (see ``next_wakeup``)."""


# --- what is to be done ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Action:
    """Base of what ``step`` gives back."""


@dataclass(frozen=True, kw_only=True)
class Prepare(Action):
    """A generation begins: reserve every port, lock the model_dir, start the preloaded interpreters. Hosts that are
    ``lost`` are left out."""

    plan: Plan
    generation: int
    lost: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class LockModelDir(Action):
    """Lock the folder in which the chief is about to train."""

    path: str


@dataclass(frozen=True, kw_only=True)
class SeeModelDir(Action):
    """Let these hosts see that the folder is there what it is on the chief's host."""

    path: str
    hosts: frozenset[str]


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
    """The run is over: nothing of it is to be left anywhere."""

    outcome: Outcome
    cause: Cause | None
    how: str = ""
