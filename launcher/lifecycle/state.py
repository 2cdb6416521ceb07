"""What is known of a run and its tasks, and which ways a task may go. The clock's bounds are read off it, too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from launcher.causes import Cause
from launcher.plan.model import Plan, PlannedTask
from launcher.record.states import Outcome, Phase, TaskState
from launcher.spec import drills
from launcher.spec.drills import AtStep, Drill, Exit, Pause
from launcher.spec.policy import Success
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, Role, TaskId

_RUNNING = (
    TaskState.STARTING,
    TaskState.READY,
    TaskState.TRAINING,
    TaskState.EVALUATING,
    TaskState.FINISHED,
    TaskState.DRAINING,
    TaskState.STOPPING,
)
STACKS_PATIENCE_S = 4.0
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
        TaskState.FINISHED: _DEATHS,
        TaskState.DRAINING: _DEATHS,
        TaskState.STOPPING: _ENDS | {TaskState.BACKOFF},
        TaskState.BACKOFF: frozenset({TaskState.WAITING, TaskState.STARTING, TaskState.STOPPED, TaskState.FAILED}),
        TaskState.SUCCEEDED: frozenset(),
        TaskState.FAILED: frozenset(),
        TaskState.STOPPED: frozenset(),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRecord:
    """What is known of one task. Times in monotonic seconds.

    ``ready``: this attempt has been ready; ``early_deaths``: deaths in a row before it was;
    ``alike_at``: when it died in the same way (``likeness``) in a row; ``restarts``: how often it
    was started again, ``restarted_at`` when of late; ``restart_at``: when the back-off ends; ``finished``: its last
    gradient is applied; ``stepped_at``: when it last did a step; ``term_at``: when SIGTERM follows the word to stop.
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
    restart_wanted: bool = False
    finished: bool = False
    term_at: float = math.inf

    @property
    def task(self) -> TaskId:
        return self.planned.task

    @property
    def alive(self) -> bool:
        """Whether a process of it may exist."""
        return self.state in _RUNNING


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """Of a task that died or is paused, until it and everybody who waited for it trains again (see ``outages``).

    ``attempt``: the newest that was lost; ``detected_s``: from its death until it was known; ``step``: the newest
    global step until training went on; ``waiting``: trainers that cannot train meanwhile; ``back_at``: when the task
    was ready again.
    """

    task: TaskId
    attempt: int
    began_at: float
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
    not seen one yet. ``gate``: as it was last told to the tasks; ``initialised``: the parameter servers hold
    variables; ``trains_in``: the folder that the chief has named; ``barrier_at``: when the chief arrived at the
    barrier; ``saved_last``: it has saved behind the barrier; ``endless``: the input ends when it is stopped;
    ``drain_until``: when patience with late workers, or with the evaluator, ends; ``failures``: every death so far, in
    order; ``metrics``: names of those that were evaluated; ``asked_at``: when it was last asked what a task does,
    ``stacks``: the answers; ``lost``: hosts that are not used any more; ``moves``: how many of them were left behind by
    new generations; ``move``: the last of these, until everybody trains again."""

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
    initialised: bool = False
    barrier_at: float = math.inf
    barrier_open: bool = False
    saved_last: bool = False
    max_steps: int | None = None
    endless: bool = False
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
    asked_at: Mapping[TaskId, float] = field(default_factory=dict)
    stacks: Mapping[TaskId, protocol.Stacks] = field(default_factory=dict)

    def of_role(self, *roles: Role) -> list[TaskRecord]:
        return [record for record in self.tasks.values() if record.task.role in roles]


def initial(plan: Plan) -> RunState:
    """The state of a run that has not begun."""
    return RunState(
        plan=plan,
        tasks={planned.task: TaskRecord(planned=planned) for planned in plan.tasks},
        max_steps=plan.max_steps,
        drills=tuple(DrillRecord(drill=drills.parse(text)) for text in plan.inject),
    )


def next_wakeup(state: RunState) -> float:
    """When ``Ticked`` is due at the latest (monotonic seconds; infinity: never)."""
    if unanswered := [at for task, at in state.asked_at.items() if task not in state.stacks]:
        return min(unanswered) + STACKS_PATIENCE_S  # whatever else is due waits for that
    due = [state.drain_until, *(min(record.restart_at, record.term_at) for record in state.tasks.values())]
    due.extend(straggler_deadline(state, record) for record in state.of_role(Role.WORKER))
    due.extend(min(drill_due_at(state, item), item.continue_at) for item in state.drills)
    if state.phase in (Phase.STARTING, Phase.TRAINING, Phase.MOVING):
        due.append(run_deadline(state))
    if state.phase is Phase.MOVING and state.move is not None:
        due.append(math.inf if any(record.alive for record in state.tasks.values()) else state.move.dead_at)
    if state.phase in (Phase.STARTING, Phase.TRAINING):
        due.extend(start_deadline(state, record) for record in state.tasks.values())
        due.append(hang_deadline(state))
    return min(due)


def run_deadline(state: RunState) -> float:
    timeout_s = state.plan.policy.timeout_s
    return math.inf if timeout_s is None or state.stop_how else state.began_at + timeout_s


def start_deadline(state: RunState, record: TaskRecord) -> float:
    """When a started task must be ready. Only parameter servers must be by themselves; trainers once they speak,
    since a command that is no Estimator job never says that it is ready."""
    if not record.running or record.ready or record.state is not TaskState.STARTING:
        return math.inf
    if record.task.role is Role.PS or (record.task.role.trains and record.speaks and state.gate.open):
        return record.started_at + state.plan.policy.start_timeout_s
    return math.inf


def may_train(state: RunState, record: TaskRecord) -> bool:
    """Whether a worker may still apply gradients. One that is not ready when the last step is reached will not."""
    if record.finished or record.state.final or (state.phase is Phase.MOVING and not record.running):
        return False
    if record.state is TaskState.STOPPING:
        return record.running and record.ready
    return record.ready if last_step_reached(state) else True


def last_step_reached(state: RunState) -> bool:
    return state.max_steps is not None and state.global_step >= state.max_steps


def straggler_deadline(state: RunState, record: TaskRecord) -> float:
    """Until when the chief waits for a worker before its last save: after the last step a worker has the grace time to
    notice; before it, it must go on training."""
    waited_for = not state.barrier_open and may_train(state, record)
    if math.isinf(state.barrier_at) or not waited_for or record.state is TaskState.STOPPING:
        return math.inf
    if last_step_reached(state):
        return state.barrier_at + state.plan.policy.grace_s
    hang_s = state.plan.policy.hang_timeout_s
    if hang_s is None or record.state is TaskState.BACKOFF:
        return math.inf
    return max(record.stepped_at, record.started_at, state.barrier_at) + hang_s


def hang_deadline(state: RunState) -> float:
    """When it has lasted too long that somebody ought to train and nobody does."""
    hang_s = state.plan.policy.hang_timeout_s
    waits_for_stragglers = math.isfinite(state.barrier_at)
    if (
        hang_s is None
        or waits_for_stragglers
        or not any(_ought_to_train(state, item) for item in state.of_role(*TRAINERS))
    ):
        return math.inf
    return state.progress_at + hang_s


def _ought_to_train(state: RunState, record: TaskRecord) -> bool:
    """A trainer that trains or could; one that waits for its session though it may have one; and, where each counts,
    one that is still on its way when the chief has ended."""
    if record.state in (TaskState.TRAINING, TaskState.READY):
        return True
    if record.state is not TaskState.STARTING or not record.running:
        return False
    waits = record.waits_for == "session" and state.gate.open
    chief_ended = any(chief.state is TaskState.SUCCEEDED for chief in state.of_role(Role.CHIEF))
    return waits or (chief_ended and state.plan.policy.success is Success.ALL_WORKERS)


def drill_due_at(state: RunState, item: DrillRecord) -> float:
    """When a drill is to be carried out; infinity while its task cannot be reached, or when it has been."""
    record = state.tasks.get(item.drill.task)
    if item.fired or record is None or not _can_be_drilled(state, record, item):
        return math.inf
    when = item.drill.when
    if isinstance(when, AtStep):
        return -math.inf if state.global_step >= when.step else math.inf
    return item.ready_at + when.seconds


def _can_be_drilled(state: RunState, record: TaskRecord, item: DrillRecord) -> bool:
    if state.phase not in (Phase.TRAINING, Phase.DRAINING) or state.stop_how:
        return False
    if not record.running or not record.alive or record.state is TaskState.STOPPING or record.restart_wanted:
        return False
    dying = any(
        other.fired and other.drill.task == record.task and other.attempt == record.attempt and not other.is_pause
        for other in state.drills
    )
    return not dying and (record.speaks or not isinstance(item.drill, Exit))
