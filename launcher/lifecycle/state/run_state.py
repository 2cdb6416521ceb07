"""What is known of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from launcher.causes import Cause
from launcher.lifecycle.state.account import Account, Scaling
from launcher.lifecycle.state.hosts import HostRecord, HostState
from launcher.lifecycle.state.task import Attempt, TaskRecord
from launcher.plan.model import Plan
from launcher.record.course.parts import Former
from launcher.record.states import Outcome, Phase, StopHow
from launcher.spec import drills
from launcher.spec.drills import Drill, Pause
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, Role, TaskId, chief_of

SHUT = protocol.Gate(open=False)


@dataclass(kw_only=True, eq=False)
class Training:
    """What the chief trains, or has trained last (see ``protocol.Begun``).

    ``name``: empty where tasks name none. ``barrier_at``: when the chief arrived at the barrier; ``saved_last``: it has
    saved behind the barrier.
    """

    name: str = ""
    max_steps: int | None = None
    barrier_at: float = math.inf
    barrier_open: bool = False
    saved_last: bool = False


@dataclass(kw_only=True, eq=False)
class Outage:
    """Of a task that died or is paused, until it and everybody who waited for it trains again (see ``outages``).

    ``attempt``: the newest that was lost; ``training``: the one that was under way; ``detected_s``: from its death
    until it was known; ``step``: the newest global step until training went on; ``waiting``: trainers that could not
    train meanwhile, ``behind``: those of them that do not yet; ``back_at``: when the task was ready again.
    """

    task: TaskId
    attempt: int
    began_at: float
    training: str = ""
    detected_s: float = 0.0
    paused: bool = False
    step: int = 0
    steps_rolled_back: int = 0
    waiting: set[TaskId] = field(default_factory=set)
    behind: set[TaskId] = field(default_factory=set)
    back_at: float = math.inf


@dataclass(kw_only=True, eq=False)
class Move:
    """Of hosts that were lost, until everybody trains again (see ``moves``).

    ``began_at``: when the first was last heard; ``detected_s``: from then until it was given up; ``dead_at``: when
    nothing of the run is alive on any of them; ``tasks``: those that had to leave; ``trained``: the chief had saved for
    the last time before; ``step``: the newest global step of the former generation; ``alone``: only these tasks move;
    ``account``: what it costs.
    """

    hosts: tuple[str, ...]
    began_at: float
    detected_s: float
    dead_at: float
    tasks: frozenset[TaskId]
    account: Account
    trained: bool = False
    step: int = 0
    steps_rolled_back: int = 0
    alone: bool = False


@dataclass(kw_only=True, eq=False)
class DrillRecord:
    """A fault drill of the plan. ``number``: its place there; ``ready_at``: when its task was first ready;
    ``fired_at``: when it was carried out, on ``attempt``; ``noticed_at``: when the death was known; ``continue_at``:
    when a paused task goes on; ``over``: what it caused has been told."""

    number: int
    drill: Drill
    ready_at: float = math.inf
    fired_at: float = math.inf
    attempt: int = 0
    noticed_at: float = math.inf
    continue_at: float = math.inf
    over: bool = False

    @property
    def fired(self) -> bool:
        return math.isfinite(self.fired_at)

    @property
    def is_pause(self) -> bool:
        return isinstance(self.drill, Pause)


class Generation:
    """A cluster with its addresses, from its preparation until everybody of it has gone.

    ``hosts``: those that its tasks are on. ``locked``: folders that are, and that all hosts have seen; ``unseen``:
    hosts that have not seen one yet. ``launched``: its tasks have been started. ``gate``: as it was last told to the
    tasks, ``gate_at``: when it was opened last. ``holds``: the training whose variables the parameter servers were
    given last, ``initialised``: they have them. ``ps``: where they are, by index, if sessions are told so.
    ``unplaced``: tasks that go on elsewhere and have no port there yet, and when they may start,
    ``ported``: those of them that have one by now; ``departed``: attempts
    (``chief:0 1``) whose hosts are lost.
    """

    def __init__(self, number: int, tasks: Iterable[TaskRecord]) -> None:
        self.number = number
        self._tasks = {record.task: record for record in tasks}
        self.tasks: Mapping[TaskId, TaskRecord] = MappingProxyType(self._tasks)
        self.chief = self.tasks[chief_of(self.tasks)]
        self.hosts = frozenset(record.planned.host for record in self.tasks.values())
        self.locked: set[str] = set()
        self.unseen: dict[str, set[str]] = {}
        self.launched = False
        self.gate = SHUT
        self.gate_at = math.inf
        self.holds = ""
        self.initialised = False
        self.ps: Mapping[str, str] = {}
        self.unplaced: dict[TaskId, float] = {}
        self.departed: tuple[str, ...] = ()
        self.ported: set[TaskId] = set()
        self._of_role = {
            role: tuple(record for record in self.tasks.values() if record.task.role is role) for role in Role
        }

    def add(self, record: TaskRecord) -> None:
        """One more task."""
        self._tasks[record.task] = record
        self._of_role[record.task.role] += (record,)

    def of_role(self, *roles: Role) -> tuple[TaskRecord, ...]:
        """The tasks of these roles, in the order of the plan."""
        if len(roles) == 1:
            return self._of_role[roles[0]]
        return tuple(record for record in self.tasks.values() if record.task.role in roles)


@dataclass(kw_only=True, eq=False)
class RunState:
    """Everything that decides.

    ``first_generation``: the number of this part's; ``changed``: tasks that the rules have not looked at since;
    ``trains_in``: the folder that the chief has named last,
    ``folders``: all of them; ``over``: trainings that are; ``endless``: the input ends when it is stopped,
    ``exhausted``: nothing of it is left; ``foremost``: the trainer whose step is the run's; ``progress_at``: when
    anything went on last; ``drain_until``: when the patience with late workers, or with the evaluator, ends;
    ``failures``: every death so far, in order; ``outages``: those that are not over; ``metrics``: names of those that
    were evaluated; ``uses``: all that its trainers have shown that they use, ``spoken``: any of them has said anything;
    ``roams``: whether the sessions of all trainers can be told where everybody is, None where none has said so;
    ``lease_grace``: whether tasks get the grace time when the lease of their host is over;
    ``fixed``: why their number cannot change, ``divides``: which line of the program relies on it,
    ``reads``: which may, ``short_since``: fewer workers are left than there are to be at least; ``homesick``: how many
    have left for want of a host, and come back when there is one;
    ``holds``: trainers hold still, ``hold_until``: at most, ``saves_now``: the chief was told to save meanwhile;
    ``saved``: the last checkpoint; ``unanswered``: tasks that were asked what they do, and when; ``moves``: how many
    hosts were left behind by new generations; ``move``: the last of these, until everybody trains again; ``scaling``:
    the change of size that is under way; ``accounts``: what all these cost; ``duplicates``: rows of the input that
    were trained again, None where nobody counts."""

    plan: Plan
    generation: Generation
    training: Training
    first_generation: int = 1
    drills: tuple[DrillRecord, ...] = ()
    changed: dict[TaskId, TaskRecord] = field(default_factory=dict)
    hosts: dict[str, HostRecord] = field(default_factory=dict)
    phase: Phase = Phase.ALLOCATING
    began_at: float = math.inf
    moves: int = 0
    move: Move | None = None
    scaling: Scaling | None = None
    accounts: list[Account] = field(default_factory=list)
    duplicates: int | None = None
    trains_in: str = ""
    folders: set[str] = field(default_factory=set)
    over: tuple[str, ...] = ()
    endless: bool = False
    exhausted: bool = False
    global_step: int = 0
    foremost: TaskId | None = None
    progress_at: float = 0.0
    drain_until: float = math.inf
    stop_how: StopHow | None = None
    outcome: Outcome = Outcome.SUCCEEDED
    cause: Cause | None = None
    failures: list[Cause] = field(default_factory=list)
    outages: dict[TaskId, Outage] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    uses: frozenset[str] = frozenset()
    spoken: bool = False
    roams: bool | None = None
    lease_grace: bool = True
    fixed: str = ""
    divides: str = ""
    reads: str = ""
    short_since: float = math.inf
    homesick: int = 0
    holds: bool = False
    hold_until: float = math.inf
    saves_now: bool = False
    saved: protocol.CheckpointSaved | None = None
    unanswered: dict[TaskId, float] = field(default_factory=dict)

    def is_said_again(self, how: StopHow) -> bool:
        """Whether that end was announced already, and only to another process. A user who says it twice is in a hurry,
        a scheduler is not."""
        announced = (StopHow.TERMINATE, StopHow.HANGUP)
        is_same = how in announced and self.stop_how in announced
        return is_same and any(record.host.traits.says_when_to_end for record in self.hosts.values())

    @property
    def lost(self) -> frozenset[str]:
        """Hosts that are not used any more."""
        return frozenset(name for name, record in self.hosts.items() if record.state is HostState.LOST)

    @property
    def awaits_host(self) -> bool:
        """Whether another host may still come in the place of a lost one."""
        coming = (HostState.ASKED, HostState.GRANTED)
        return any(record.replaces and record.state in coming for record in self.hosts.values())

    @property
    def barred(self) -> frozenset[str]:
        """Hosts on which nothing more is to run."""
        return self.lost | {name for name, record in self.hosts.items() if record.drained}

    @property
    def tasks(self) -> Mapping[TaskId, TaskRecord]:
        return self.generation.tasks

    @property
    def chief(self) -> TaskRecord:
        return self.generation.chief

    @property
    def workers(self) -> list[TaskRecord]:
        """Trainers besides the chief."""
        return [record for record in self.of_role(*TRAINERS) if record is not self.chief]

    def of_role(self, *roles: Role) -> tuple[TaskRecord, ...]:
        return self.generation.of_role(*roles)


def initial(plan: Plan, former: Former) -> RunState:
    """The state of a run, or of its next part, that has not begun."""
    changed: dict[TaskId, TaskRecord] = {}
    records = [
        TaskRecord(planned=planned, attempt=Attempt(number=former.attempts.get(planned.task, 0)), changed=changed)
        for planned in plan.tasks
    ]
    return RunState(
        plan=plan,
        generation=Generation(former.generation + 1, records),
        first_generation=former.generation + 1,
        hosts={host.name: HostRecord(host=host) for host in plan.hosts},
        training=Training(max_steps=plan.max_steps),
        drills=tuple(DrillRecord(number=number, drill=drills.parse(text)) for number, text in enumerate(plan.inject)),
        changed=changed,
    )
