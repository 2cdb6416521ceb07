"""Which ways a task and a run may go."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from launcher.record.states import Phase, TaskState

RUNNING = (
    TaskState.STARTING,
    TaskState.RUNNING,
    TaskState.READY,
    TaskState.TRAINING,
    TaskState.EVALUATING,
    TaskState.FINISHED,
    TaskState.DRAINING,
    TaskState.STOPPING,
)
NOT_READY = (TaskState.STARTING, TaskState.RUNNING)
_ENDS = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.STOPPED, TaskState.LEFT})
_DEATHS = _ENDS | {TaskState.BACKOFF, TaskState.STOPPING}
_WORKS = frozenset({TaskState.READY, TaskState.TRAINING, TaskState.EVALUATING, TaskState.FINISHED, TaskState.DRAINING})

_ON = frozenset({Phase.TRAINING, Phase.MOVING, Phase.DRAINING, Phase.STOPPING})
PHASES: Mapping[Phase, frozenset[Phase]] = MappingProxyType(
    {
        Phase.ALLOCATING: frozenset({Phase.STARTING, Phase.STOPPING}),
        Phase.STARTING: _ON - {Phase.DRAINING},
        Phase.TRAINING: _ON - {Phase.TRAINING},
        Phase.MOVING: frozenset({Phase.STARTING, Phase.STOPPING}),  # begins as a new generation
        Phase.DRAINING: frozenset({Phase.MOVING, Phase.STOPPING}),
        Phase.STOPPING: frozenset({Phase.ENDED}),
        Phase.ENDED: frozenset(),
    }
)
TRANSITIONS: Mapping[TaskState, frozenset[TaskState]] = MappingProxyType(
    {
        TaskState.WAITING: frozenset({TaskState.STARTING, TaskState.FAILED, TaskState.STOPPED, TaskState.LEFT}),
        TaskState.STARTING: _DEATHS | _WORKS | {TaskState.RUNNING},
        TaskState.RUNNING: _DEATHS | _WORKS,
        TaskState.READY: _DEATHS | (_WORKS - {TaskState.READY}),
        TaskState.TRAINING: _DEATHS | {TaskState.FINISHED},
        TaskState.EVALUATING: _DEATHS | {TaskState.DRAINING},
        TaskState.FINISHED: _DEATHS | {TaskState.READY},  # for its next training
        TaskState.DRAINING: _DEATHS | {TaskState.READY},
        TaskState.STOPPING: _ENDS | {TaskState.BACKOFF},
        TaskState.BACKOFF: _ENDS - {TaskState.SUCCEEDED} | {TaskState.WAITING, TaskState.STARTING},
        TaskState.SUCCEEDED: frozenset({TaskState.BACKOFF}),  # together with others (see ``shape``)
        TaskState.FAILED: frozenset(),
        TaskState.STOPPED: frozenset(),
        TaskState.LEFT: frozenset({TaskState.WAITING}),  # more are wanted again
    }
)
