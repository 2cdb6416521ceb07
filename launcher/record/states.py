"""How a run and its tasks stand, and how a run ends. Values only."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from launcher.wire.errors import EXIT_HOST

_E = TypeVar("_E", bound=Enum)


def named(cls: type[_E], text: str) -> _E | None:
    """The member of that value; None for one of a newer version."""
    return next((value for value in cls if value.value == text), None)


class Outcome(str, Enum):
    """How a run has ended. ``LOST``: its supervisor died without a word."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"
    LOST = "lost"

    def __str__(self) -> str:
        return self.value


class TaskState(str, Enum):
    """What a task is doing. The last four are final."""

    WAITING = "waiting"  # not started yet
    STARTING = "starting"  # its process is there, and is expected to say more
    RUNNING = "running"  # its process has said nothing of what it does, and may never
    READY = "ready"  # ps: proven listener; trainer: session open; evaluator: looks for checkpoints
    TRAINING = "training"  # has done a step
    EVALUATING = "evaluating"  # evaluates, or waits for the next checkpoint after its first evaluation
    FINISHED = "finished"  # trainer: its last gradient is applied, its process still runs
    DRAINING = "draining"  # evaluator: told to evaluate the last checkpoint and end
    STOPPING = "stopping"  # asked to end by the launcher
    BACKOFF = "backoff"  # died, will be started again
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"  # ended by the launcher, as it should
    LEFT = "left"  # ended, since fewer were wanted

    def __str__(self) -> str:
        return self.value

    @property
    def final(self) -> bool:
        """Whether the task will not run again."""
        return self in (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.STOPPED, TaskState.LEFT)


class Phase(str, Enum):
    """Where a run is."""

    ALLOCATING = "allocating"  # its hosts are being had
    STARTING = "starting"
    TRAINING = "training"
    MOVING = "moving"  # a host is lost; everybody is stopped, to go on as a new generation without it
    DRAINING = "draining"  # training is over, the evaluator evaluates the last checkpoint
    STOPPING = "stopping"
    ENDED = "ended"

    def __str__(self) -> str:
        return self.value


class StopHow(str, Enum):
    """How a run was asked to end."""

    INTERRUPT = "interrupt"  # Ctrl-C
    TERMINATE = "terminate"  # SIGTERM
    HANGUP = "hangup"  # its terminal is gone
    STOP = "stop"  # `tflaunch stop`
    KILL = "kill"  # `tflaunch stop --now`
    DEADLINE = "deadline"  # its time is over

    def __str__(self) -> str:
        return self.value


def exit_code(outcome: Outcome, cause_kind: str | None = None, how: StopHow | None = None) -> int:
    """The exit code of a run. ``cause_kind``: the first cause's kind; ``how``: who asked for the end, as in
    ``events.StopRequested``."""
    if outcome is Outcome.INTERRUPTED:
        return 143 if how is StopHow.TERMINATE else 130
    if outcome is Outcome.FAILED and cause_kind == "host":
        return EXIT_HOST
    return _EXIT_CODES[outcome]


_EXIT_CODES = {Outcome.SUCCEEDED: 0, Outcome.FAILED: 1, Outcome.TIMED_OUT: 4, Outcome.LOST: 1}
