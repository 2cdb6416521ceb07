"""What one task of a run is and was: the part of the fold that concerns it alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from launcher.record.events import Progressed, TaskChanged
from launcher.record.rates import Rate
from launcher.record.sampling.samples import Sample, as_events
from launcher.record.states import TaskState
from launcher.wire.roles import TaskId


def total(values: Iterable[int | None]) -> int | None:
    """The sum of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def furthest(tasks: Iterable[TaskView]) -> int | None:
    """The global step of the trainers that run, or else of all; None where none has said it."""
    trainers = [task for task in tasks if task.global_step is not None]
    running = [task for task in trainers if not task.state.final and task.state is not TaskState.BACKOFF]
    return max((task.global_step for task in running or trainers if task.global_step is not None), default=None)


@dataclass(slots=True)
class AttemptView:
    """One process of a task. ``ended`` is None while it runs; ``waits``: sum and number of the shares of its time that
    it waited for input."""

    number: int
    started: float
    generation: int = 1
    ended: float | None = None
    exit: int | None = None
    signal: int | None = None
    pid: int | None = None
    start: str | None = None
    reason: str = ""
    host: str = ""
    local_steps: int | None = None
    examples: int | None = None
    waits: tuple[float, int] = (0.0, 0)

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
    lines of an attempt that ended; ``waiting``: the share of the last second that it waited for input."""

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
    uses: str = ""
    problem: str = ""
    tail: str = ""
    step_rate: Rate = field(default_factory=Rate)
    example_rate: Rate = field(default_factory=Rate)

    @property
    def restarts(self) -> int:
        """How often it was started again in place; a new generation starts everybody anew, and one that moves goes on
        elsewhere."""
        return len(self.restarted) if len(self.attempts) > 1 else 0

    @property
    def restarted(self) -> list[AttemptView]:
        """The attempts that another one of the same generation has followed on the same host."""
        return [
            one
            for one, after in pairwise(self.attempts)
            if (one.generation, one.host) == (after.generation, after.host)
        ]

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
        reports = sum(attempt.waits[1] for attempt in self.attempts)
        return sum(attempt.waits[0] for attempt in self.attempts) / reports if reports else None

    def numbered(self, number: int) -> AttemptView | None:
        """The newest attempt of that number."""
        return next((attempt for attempt in reversed(self.attempts) if attempt.number == number), None)

    def change(self, event: TaskChanged, state: TaskState, at: float) -> None:
        """Takes a change of state: begins an attempt, or ends one."""
        runs = state not in (TaskState.WAITING, TaskState.BACKOFF) and not state.final
        if runs and self._begins(event, state):
            self.attempts.append(
                AttemptView(event.attempt, started=at, generation=event.generation, host=event.host or "")
            )
            self.step_rate.clear()
            self.example_rate.clear()
        attempt = self.numbered(event.attempt)
        if attempt is not None:
            attempt.note(event)
            if attempt.ended is None and not runs:
                attempt.ended = max(at, attempt.started)  # the clock may have been set back
        self.state, self.since = state, at
        self.host, self.attempt = event.host or self.host, event.attempt
        self.pid = (event.pid or self.pid) if runs else None
        self.tail = event.tail or self.tail
        self._forget(state, event.reason)

    def wait_again(self, last_at: float, *, left: bool) -> None:
        """The next part of the run begins, with it unless it has ``left``; the one before was last heard of then."""
        for attempt in self.attempts:
            if attempt.ended is None:
                attempt.ended = max(last_at, attempt.started)
        self.state = TaskState.LEFT if left else TaskState.WAITING
        self.pid, self.problem, self.tail = None, "", ""
        self.cpu = self.rss_mib = self.waiting = None
        self.step_rate.clear()
        self.example_rate.clear()

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
            if event.reports and event.mean_wait is not None:
                attempt.waits = (event.mean_wait * event.reports, event.reports)
            elif event.input_wait is not None:
                attempt.waits = (attempt.waits[0] + event.input_wait, attempt.waits[1] + 1)
        if event.attempt < self.attempt:
            return
        self.global_step = event.global_step
        self.loss = event.loss if event.loss is not None else self.loss
        self.waiting = event.input_wait if event.input_wait is not None else self.waiting
        self.step_rate.add(at, event.local_steps)
        if event.examples is not None:
            self.example_rate.add(at, event.examples)

    def take(self, sample: Sample) -> None:
        """Takes a sample: what the attempt has done in all so far, and what it uses."""
        if sample.attempt >= self.attempt and self.pid is not None:
            self.cpu, self.rss_mib = sample.cpu, sample.rss_mib
        for event in as_events(sample, self.host):
            if isinstance(event, Progressed):
                self.progress(event, sample.at)
