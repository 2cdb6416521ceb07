"""What is known of a run and its tasks, and which ways a task may go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from launcher.causes import Cause
from launcher.plan.model import Plan, PlannedTask
from launcher.record.states import Outcome, Phase, TaskState
from launcher.spec import drills
from launcher.spec.drills import Drill, Pause
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, Role, TaskId, chief_of

_RUNNING = (
    TaskState.STARTING,
    TaskState.READY,
    TaskState.TRAINING,
    TaskState.EVALUATING,
    TaskState.FINISHED,
    TaskState.DRAINING,
    TaskState.STOPPING,
)
SHUT = protocol.Gate(open=False)
_ENDS = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.STOPPED})
_DEATHS = _ENDS | {TaskState.BACKOFF, TaskState.STOPPING}

TRANSITIONS: Mapping[TaskState, frozenset[TaskState]] = MappingProxyType(
    {
        TaskState.WAITING: frozenset({TaskState.STARTING, TaskState.FAILED, TaskState.STOPPED}),
        TaskState.STARTING: _DEATHS
        | {TaskState.READY, TaskState.TRAINING, TaskState.EVALUATING, TaskState.FINISHED, TaskState.DRAINING},
        TaskState.READY: _DEATHS | {TaskState.TRAINING, TaskState.EVALUATING, TaskState.FINISHED, TaskState.DRAINING},
        TaskState.TRAINING: _DEATHS | {TaskState.FINISHED},
        TaskState.EVALUATING: _DEATHS | {TaskState.DRAINING},
        TaskState.FINISHED: _DEATHS | {TaskState.READY},  # for its next training
        TaskState.DRAINING: _DEATHS | {TaskState.READY},
        TaskState.STOPPING: _ENDS | {TaskState.BACKOFF},
        TaskState.BACKOFF: frozenset({TaskState.WAITING, TaskState.STARTING, TaskState.STOPPED, TaskState.FAILED}),
        TaskState.SUCCEEDED: frozenset({TaskState.BACKOFF}),  # together with others (see ``shape``)
        TaskState.FAILED: frozenset(),
        TaskState.STOPPED: frozenset(),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRecord:
    """What is known of one task. Times in monotonic seconds.

    ``ready``: this attempt has been ready; ``early_deaths``: deaths in a row before it was;
    ``alike_at``: when it died in the same way (``likeness``) in a row; ``restarts``: how often it
    was started again, ``restarted_at`` when of late; ``restart_at``: when the back-off ends; ``training``: the one that
    it has begun last, empty where tasks name none, ``folders``: of all that it has begun by
    ``train_and_evaluate``, ``began``: any; ``finished``: its last
    gradient in that is applied; ``left_out``: a training that does not wait for it; ``doing``: what it does outside of
    any training, since ``doing_at``; ``leaving_at``: when its program had ended, ``threads``: what it waits for since,
    ``hurried``: it is ended for that; ``uses``, ``used_nothing``: see ``protocol.Uses`` and ``Leaving``;
    ``nothing_left``: its last step had been reached before; ``trained``: it has done a step, in any attempt;
    ``stepped_at``: when it last did a step; ``restart_wanted``: why it is taken down to be started again; ``reached``:
    see ``protocol.Reached``; ``listens``: an evaluator whose loop can be told to end, ``evaluated``: what it has done
    last; ``term_at``: when SIGTERM follows the word to stop.
    """

    planned: PlannedTask
    state: TaskState = TaskState.WAITING
    attempt: int = 0
    started_at: float = 0.0
    running: bool = False
    ready: bool = False
    speaks: bool = False
    waits_for: str = ""
    missing: str = ""
    early_deaths: int = 0
    likeness: str = ""
    alike_at: tuple[float, ...] = ()
    restarts: int = 0
    restarted_at: tuple[float, ...] = ()
    restart_at: float = math.inf
    global_step: int = 0
    stepped_at: float = 0.0
    restart_wanted: str = ""
    training: str = ""
    folders: tuple[str, ...] = ()
    began: bool = False
    finished: bool = False
    left_out: str = ""
    doing: str = ""
    doing_at: float = 0.0
    leaving_at: float = math.inf
    threads: tuple[str, ...] = ()
    hurried: bool = False
    uses: str = ""
    used_nothing: bool = False
    nothing_left: bool = False
    trained: bool = False
    reached: int | None = None
    listens: bool = False
    evaluated: protocol.Evaluated | None = None
    term_at: float = math.inf

    @property
    def task(self) -> TaskId:
        return self.planned.task

    @property
    def alive(self) -> bool:
        """Whether a process of it may exist."""
        return self.state in _RUNNING


@dataclass(frozen=True, kw_only=True, slots=True)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """Of a task that died or is paused, until it and everybody who waited for it trains again (see ``outages``).

    ``attempt``: the newest that was lost; ``training``: the one that was under way; ``detected_s``: from its death
    until it was known; ``step``: the newest global step until training went on; ``waiting``: trainers that cannot
    train meanwhile; ``back_at``: when the task was ready again.
    """

    task: TaskId
    attempt: int
    began_at: float
    training: str = ""
    detected_s: float = 0.0
    paused: bool = False
    step: int = 0
    steps_rolled_back: int = 0
    waiting: frozenset[TaskId] = frozenset()
    back_at: float = math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """Of hosts that were lost, until everybody trains again (see ``moves``).

    ``began_at``: when the first was last heard; ``detected_s``: from then until it was given up; ``dead_at``: when
    nothing of the run is alive on any of them; ``tasks``: those that had to leave; ``trained``: the chief had saved for
    the last time before; ``step``: the newest global step of the former generation.
    """

    hosts: tuple[str, ...]
    began_at: float
    detected_s: float
    dead_at: float
    tasks: frozenset[TaskId]
    trained: bool = False
    step: int = 0
    steps_rolled_back: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillRecord:
    """A fault drill of the plan. ``ready_at``: when its task was first ready; ``fired_at``: when it was carried out, on
    ``attempt``; ``noticed_at``: when the death was known; ``continue_at``: when a paused task goes on; ``over``: what
    it caused has been told."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """Everything that decides. ``locked``: folders that are, and that all hosts have seen; ``unseen``: hosts that have
    not seen one yet. ``gate``: as it was last told to the tasks; ``holds``: the training whose variables the
    parameter servers were given last, ``initialised``: they have them; ``trains_in``: the folder that the chief has
    named last, ``folders``: all of them; ``over``: trainings that are; ``endless``: the input ends when it is stopped,
     ``exhausted``: nothing of it is left; ``gate_at``: when the gate was opened last; ``drain_until``: when the
    patience with late workers, or with the evaluator, ends; ``failures``: every death so far, in order;
    ``metrics``: names of those that were evaluated; ``uses``: all that its trainers have shown that they use,
    ``spoken``: any of them has said anything; ``saved``: the last checkpoint; ``asked_at``: when it was last asked what
    a task does, ``stacks``: the answers; ``lost``: hosts that are not used any more; ``moves``: how many of them were
    left behind by new generations; ``move``: the last of these, until everybody trains again."""

    plan: Plan
    tasks: Mapping[TaskId, TaskRecord]
    generation: int = 1
    lost: frozenset[str] = frozenset()
    moves: int = 0
    move: Move | None = None
    phase: Phase = Phase.STARTING
    began_at: float = math.inf
    reserved: frozenset[str] = frozenset()
    locked: frozenset[str] = frozenset()
    unseen: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    trains_in: str = ""
    launched: bool = False
    gate: protocol.Gate = SHUT
    holds: str = ""
    initialised: bool = False
    folders: frozenset[str] = frozenset()
    training: Training = Training()
    over: tuple[str, ...] = ()
    endless: bool = False
    exhausted: bool = False
    gate_at: float = math.inf
    global_step: int = 0
    progress_at: float = 0.0
    drain_until: float = math.inf
    stop_how: str = ""
    outcome: Outcome = Outcome.SUCCEEDED
    cause: Cause | None = None
    failures: tuple[Cause, ...] = ()
    outages: tuple[Outage, ...] = ()
    drills: tuple[DrillRecord, ...] = ()
    metrics: tuple[str, ...] = ()
    uses: frozenset[str] = frozenset()
    spoken: bool = False
    saved: protocol.CheckpointSaved | None = None
    asked_at: Mapping[TaskId, float] = field(default_factory=dict)
    stacks: Mapping[TaskId, protocol.Stacks] = field(default_factory=dict)

    @property
    def chief(self) -> TaskId:
        return chief_of(self.tasks)

    @property
    def workers(self) -> list[TaskRecord]:
        """Trainers besides the chief."""
        chief = self.chief
        return [record for record in self.of_role(*TRAINERS) if record.task != chief]

    def of_role(self, *roles: Role) -> list[TaskRecord]:
        return [record for record in self.tasks.values() if record.task.role in roles]


def initial(plan: Plan) -> RunState:
    """The state of a run that has not begun."""
    return RunState(
        plan=plan,
        tasks={planned.task: TaskRecord(planned=planned) for planned in plan.tasks},
        training=Training(max_steps=plan.max_steps),
        drills=tuple(DrillRecord(drill=drills.parse(text)) for text in plan.inject),
    )
