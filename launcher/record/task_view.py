"""What one task of a run is and was: the part of the fold that concerns it alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from launcher.record.events import Progressed, TaskChanged
from launcher.record.rates import Rate
from launcher.record.states import TaskState
from launcher.wire.roles import TaskId


def total(values: Iterable[int | None]) -> int | None:
    """The sum of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


@dataclass(slots=True)
class AttemptView:
    """One process of a task. ``ended`` is None while it runs."""

    number: int
    started: float
    generation: int = 1
    ended: float | None = None
    exit: int | None = None
    signal: int | None = None
    pid: int | None = None
    start: str | None = None
    reason: str = ""
    local_steps: int | None = None
    examples: int | None = None

    def note(self, event: TaskChanged) -> None:
        """Takes what the event says of this attempt."""
        self.pid = event.pid or self.pid
        self.start = event.start or self.start
        self.exit = event.exit_code if event.exit_code is not None else self.exit
        self.signal = event.signal if event.signal is not None else self.signal
        self.reason = event.reason or self.reason


@dataclass(slots=True)
class TaskView:
    """What is known about one task. ``uses``: see ``events.ProgramSeen``; ``cpu``: 1.0 is one core; ``tail``: last
    lines of an attempt that ended; ``waiting``: the share of the last second that it waited for input;
    ``waiting_shares``: sum and number of all."""

    task: TaskId
    host: str = ""
    state: TaskState = TaskState.WAITING
    since: float = 0.0
    pid: int | None = None
    attempt: int = 0
    attempts: list[AttemptView] = field(default_factory=list)
    cpu: float | None = None
    rss_mib: float | None = None
    global_step: int | None = None
    loss: float | None = None
    waiting: float | None = None
    waiting_shares: tuple[float, int] = (0.0, 0)
    uses: str = ""
    problem: str = ""
    tail: str = ""
    step_rate: Rate = field(default_factory=Rate)
    example_rate: Rate = field(default_factory=Rate)

    @property
    def restarts(self) -> int:
        """How often it was started again in place; a new generation starts everybody anew."""
        return len(self.restarted)

    @property
    def restarted(self) -> list[AttemptView]:
        """The attempts that another one of the same generation has followed."""
        return [one for one, after in pairwise(self.attempts) if one.generation == after.generation]

    @property
    def local_steps(self) -> int | None:
        """Steps of all attempts together; None where the task never said."""
        return total(attempt.local_steps for attempt in self.attempts)

    @property
    def examples(self) -> int | None:
        """Examples of all attempts together; None where the script does not say."""
        return total(attempt.examples for attempt in self.attempts)

    @property
    def mean_waiting(self) -> float | None:
        """The share of its time that it waited for input; None where the script does not say."""
        total_share, reports = self.waiting_shares
        return total_share / reports if reports else None

    def numbered(self, number: int) -> AttemptView | None:
        """The newest attempt of that number."""
        return next((attempt for attempt in reversed(self.attempts) if attempt.number == number), None)

    def change(self, event: TaskChanged, state: TaskState, at: float) -> None:
        """Takes a change of state: begins an attempt, or ends one."""
        runs = state not in (TaskState.WAITING, TaskState.BACKOFF) and not state.final
        if runs and self._begins(event, state):
            self.attempts.append(AttemptView(event.attempt, started=at, generation=event.generation))
            self.step_rate.clear()
            self.example_rate.clear()
        attempt = self.numbered(event.attempt)
        if attempt is not None:
            attempt.note(event)
            if attempt.ended is None and not runs:
                attempt.ended = at
        self.state, self.since = state, at
        self.host, self.attempt = event.host or self.host, event.attempt
        self.pid = (event.pid or self.pid) if runs else None
        self.tail = event.tail or self.tail
        self._forget(state, event.reason)

    def _begins(self, event: TaskChanged, state: TaskState) -> bool:
        known = self.numbered(event.attempt)
        if known is None:
            return state is TaskState.STARTING or not self.attempts
        return state is TaskState.STARTING and known.ended is not None

    def _forget(self, state: TaskState, reason: str) -> None:
        if self.pid is None:
            self.cpu = self.rss_mib = None
        if state in (TaskState.BACKOFF, TaskState.FAILED):
            self.problem = reason
        elif state in (TaskState.TRAINING, TaskState.EVALUATING, TaskState.SUCCEEDED):
            self.problem = ""

    def progress(self, event: Progressed, at: float) -> None:
        """Takes a trainer's report; a late one of an earlier attempt counts for that attempt only."""
        attempt = self.numbered(event.attempt)
        if attempt is not None:
            attempt.local_steps = event.local_steps
            attempt.examples = event.examples if event.examples is not None else attempt.examples
        if event.attempt < self.attempt:
            return
        self.global_step = event.global_step
        self.loss = event.loss if event.loss is not None else self.loss
        self.waiting = event.input_wait if event.input_wait is not None else self.waiting
        if event.input_wait is not None:
            self.waiting_shares = (self.waiting_shares[0] + event.input_wait, self.waiting_shares[1] + 1)
        self.step_rate.add(at, event.local_steps)
        if event.examples is not None:
            self.example_rate.add(at, event.examples)
