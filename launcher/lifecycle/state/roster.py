"""Which tasks are alive, open, due and so on: kept where tasks change, so that asking costs the same with ten tasks and
with thousands, and no rule walks through all of them for one.

A task is looked at again when it has changed, and everybody when what all depend on has (``_context``).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from enum import Enum, auto
from types import MappingProxyType

from launcher.lifecycle.state import deadlines, shape
from launcher.lifecycle.state.run_state import RunState
from launcher.lifecycle.state.task import TaskRecord
from launcher.record.states import TaskState
from launcher.wire.roles import Role, TaskId


class Is(Enum):
    """What a task may be to the rules."""

    ALIVE = auto()  # a process of it may exist
    OPEN = auto()  # has not ended for good
    UP = auto()  # alive, and has not been asked to stop
    DOWN = auto()  # no process of it exists
    TO_STOP = auto()  # open, and has not been asked to stop
    WAITING = auto()  # not started yet
    UNPROVEN = auto()  # a parameter server that bars the gate
    ITSELF = auto()  # a trainer that does not only serve
    TRAINS = auto()  # one that is open
    SERVES = auto()  # a trainer that only serves
    AWAITS_SERVERS = auto()  # a trainer that is about to train, or may be
    OUGHT_TO_TRAIN = auto()
    MAY_TRAIN = auto()  # a worker that may still apply gradients in the chief's training
    STARTING_OVER = auto()  # on its way down, to be started again with others
    HAS_REACHED = auto()  # told to stop, and has said how far it is
    HAS_NOT_REACHED = auto()
    LEFT_BEHIND = auto()  # does not yet do again what it did before a move


_IS: Mapping[Is, Callable[[RunState, TaskRecord], bool]] = MappingProxyType(
    {
        Is.ALIVE: lambda state, record: record.alive,
        Is.OPEN: lambda state, record: not record.state.final,
        Is.UP: lambda state, record: record.alive and record.state is not TaskState.STOPPING,
        Is.DOWN: lambda state, record: not record.alive,
        Is.TO_STOP: lambda state, record: not record.state.final and record.state is not TaskState.STOPPING,
        Is.WAITING: lambda state, record: record.state is TaskState.WAITING,
        Is.UNPROVEN: shape.is_unproven,
        Is.ITSELF: lambda state, record: record.task.role.trains and not shape.only_serves(state, record),
        Is.TRAINS: lambda state, record: (
            record.task.role.trains and not record.state.final and not shape.only_serves(state, record)
        ),
        Is.SERVES: lambda state, record: record.task.role.trains and shape.only_serves(state, record),
        Is.AWAITS_SERVERS: shape.awaits_servers,
        Is.OUGHT_TO_TRAIN: deadlines.ought_to_train,
        Is.MAY_TRAIN: lambda state, record: (
            record.task.role.trains and record is not state.chief and deadlines.may_train(state, record)
        ),
        Is.STARTING_OVER: lambda state, record: (
            record.task.role is not Role.EVALUATOR and record.alive and bool(record.attempt.restart_wanted)
        ),
        Is.HAS_REACHED: lambda state, record: shape.is_told(record) and record.attempt.reached is not None,
        Is.HAS_NOT_REACHED: lambda state, record: shape.is_told(record) and record.attempt.reached is None,
        Is.LEFT_BEHIND: shape.is_left_behind,
    }
)


class Roster:
    """Of one run."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._members: dict[Is, dict[Role, dict[TaskId, TaskRecord]]] = {}
        self._position: dict[TaskId, int] = {}
        self._context: object = None
        self._flags = (False, False)
        self._due: dict[TaskId, float] = {}
        self._heap: list[tuple[float, int, TaskId]] = []
        self._late: dict[TaskId, float] = {}
        self._changed: dict[TaskId, TaskRecord] = {}

    def any(self, what: Is, *roles: Role) -> bool:
        self._refresh()
        members = self._members[what]
        return any(members[role] for role in roles or Role)

    def each(self, what: Is, *roles: Role) -> list[TaskRecord]:
        self._refresh()
        members = self._members[what]
        found = [record for role in roles or Role for record in members[role].values()]
        return self._in_order(found)

    def overdue(self, now: float) -> list[TaskRecord]:
        self._refresh()
        while self._heap and self._heap[0][0] <= now:
            due_at, _, task = heapq.heappop(self._heap)
            if self._due.get(task) == due_at:
                self._late[task] = due_at
        return self._in_order([self._state.tasks[task] for task in self._late]) if self._late else []

    def next_due(self) -> float:
        self._refresh()
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return min((*self._late.values(), self._heap[0][0] if self._heap else math.inf))

    def changed(self) -> dict[TaskId, TaskRecord]:
        self._refresh()
        changed, self._changed = self._changed, {}
        return changed

    def _in_order(self, records: list[TaskRecord]) -> list[TaskRecord]:
        return sorted(records, key=lambda record: self._position[record.task])

    # --- kept

    def _refresh(self) -> None:
        state = self._state
        context = _context(state)
        if context != self._context:
            if self._context is None or context[0] != self._context[0]:  # type: ignore[index]
                self._begin()
            self._context = context
            touched = list(state.tasks.values())
        elif state.changed:
            touched = list(state.changed.values())
        else:
            return
        self._changed.update(state.changed)
        state.changed.clear()
        for record in touched:
            self._position.setdefault(record.task, len(self._position))  # it may have joined
            self._look_at(record)
        flags = (self._has(Is.STARTING_OVER), self._has(Is.AWAITS_SERVERS))
        if flags != self._flags:
            self._flags = flags
            touched = list(state.tasks.values())
        for record in touched:
            self._schedule(record)

    def _begin(self) -> None:
        """Of a generation."""
        self._members = {what: {role: {} for role in Role} for what in Is}
        self._position = {task: position for position, task in enumerate(self._state.tasks)}
        self._due, self._heap, self._late = {}, [], {}

    def _look_at(self, record: TaskRecord) -> None:
        task = record.task
        for what, has in _IS.items():
            members = self._members[what][task.role]
            if has(self._state, record):
                members[task] = record
            else:
                members.pop(task, None)

    def _has(self, what: Is) -> bool:
        return any(self._members[what].values())

    def _schedule(self, record: TaskRecord) -> None:
        starting_over, awaited = self._flags
        due_at = deadlines.due_at(self._state, record, starting_over=starting_over, awaited=awaited)
        if self._due.get(record.task) == due_at:
            return
        self._due[record.task] = due_at
        self._late.pop(record.task, None)
        if math.isfinite(due_at):
            heapq.heappush(self._heap, (due_at, self._position[record.task], record.task))


def _context(state: RunState) -> tuple[object, ...]:
    """What all tasks depend on, besides each one's own record."""
    generation, training = state.generation, state.training
    return (
        generation.number,
        state.phase,
        state.stop_how,
        generation.gate.open,
        generation.gate_at,
        training.name,
        training.barrier_at,
        training.barrier_open,
        training.saved_last,
        state.over,
        state.uses,
        state.foremost is not None,
        deadlines.last_step_reached(state),
        generation.chief.state is TaskState.SUCCEEDED,
    )
