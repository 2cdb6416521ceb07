"""What a run is and was: a fold over its events.

``RunView.apply`` takes one event after the other, live or from the file, and never fails: what a newer version wrote
is passed over. Times are seconds since the epoch, as the events have them; no clock is read here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import singledispatchmethod
from typing import TypeVar

from launcher.record import events as ev
from launcher.record.drill_view import DrillView
from launcher.record.rates import Rate, Series
from launcher.record.states import Outcome, Phase, TaskState
from launcher.record.task_view import TaskView, total
from launcher.wire.protocol import JsonValue
from launcher.wire.roles import TaskId, chief_of

KEPT = 1000  # of each kind of thing that a run may go on producing for ever
ETA_WINDOW_S = 60.0
STEP_EVERY_S = 0.2  # at most so often the global step is put down for its rate
_E = TypeVar("_E", bound=Enum)


@dataclass(slots=True)
class HostView:
    name: str
    state: str = ""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    message: str = ""


@dataclass(frozen=True, slots=True)
class At:
    """An event that is kept, with its time."""

    at: float
    event: ev.RunEvent


def _enum(cls: type[_E], text: str) -> _E | None:
    try:
        return cls(text)
    except ValueError:
        return None


def _task_id(text: object) -> TaskId | None:
    try:
        return TaskId.parse(str(text))
    except ValueError:
        return None


class RunView:
    """Everything that the events have told so far."""

    def __init__(self) -> None:
        self.started: ev.RunStarted | None = None
        self.started_at = 0.0
        self.last_at = 0.0
        self.n = 0
        self.phase = Phase.STARTING
        self.phase_reason = ""
        self.max_steps: int | None = None
        self.model_dir: str | None = None
        self.only_watched = False  # whoever looks does not own the run: Ctrl-C ends the looking
        self.tasks: dict[TaskId, TaskView] = {}
        self.hosts: dict[str, HostView] = {}
        self.preloads: dict[tuple[str, str], ev.PreloadChanged] = {}
        self.generation = 0
        self.ports: Mapping[str, int] = {}
        self.loss = Series()
        self.evaluations: deque[At] = deque(maxlen=KEPT)
        self.checkpoints: deque[At] = deque(maxlen=KEPT)
        self.checkpoint_count = 0
        self.notices: deque[At] = deque(maxlen=KEPT)
        self.news: deque[At] = deque(maxlen=KEPT)
        self.recoveries: deque[At] = deque(maxlen=KEPT)
        self.moves: deque[At] = deque(maxlen=KEPT)
        self.drills: dict[int, DrillView] = {}
        self.input: ev.InputCounted | None = None
        self.stop: ev.StopRequested | None = None
        self.ended: ev.RunEnded | None = None
        self._stepped_at = 0.0
        self._rate = Rate()
        self._eta_rate = Rate(ETA_WINDOW_S)

    # --- what views ask ------------------------------------------------------------------------------------------

    @property
    def run(self) -> str:
        return self.started.run if self.started else ""

    @property
    def name(self) -> str:
        return self.started.name if self.started else ""

    @property
    def outcome(self) -> Outcome | None:
        """None while the run has not said how it ended."""
        return _enum(Outcome, self.ended.outcome) if self.ended else None

    @property
    def global_step(self) -> int | None:
        """Where the training is; falls when a roll-back is reported."""
        if self.ended and self.ended.global_step is not None:
            return self.ended.global_step
        trainers = [task for task in self.tasks.values() if task.global_step is not None]
        running = [task for task in trainers if not task.state.final and task.state is not TaskState.BACKOFF]
        steps = [task.global_step for task in running or trainers if task.global_step is not None]
        if not steps:
            written = [kept.event for kept in self.checkpoints]
            steps = [event.global_step for event in written if isinstance(event, ev.CheckpointWritten)]
        return max(steps, default=None)

    @property
    def examples(self) -> int | None:
        return total(task.examples for task in self.tasks.values())

    @property
    def evaluation(self) -> ev.EvaluationDone | None:
        """The last evaluation."""
        event = self.evaluations[-1].event if self.evaluations else None
        return event if isinstance(event, ev.EvaluationDone) else None

    def steps_per_s(self, now: float) -> float | None:
        """Growth of the global step."""
        return self._rate.per_s(now)

    def examples_per_s(self, now: float) -> float | None:
        """Examples a second of all trainers; None where no script says."""
        rates = [task.example_rate.per_s(now) for task in self.tasks.values()]
        return sum(rate or 0.0 for rate in rates) if any(rate is not None for rate in rates) else None

    def eta_s(self, now: float) -> float | None:
        """Seconds until ``max_steps`` at the present rate; None when that cannot be said."""
        rate, step = self._eta_rate.per_s(now), self.global_step
        if not rate or step is None or self.max_steps is None:
            return None
        return max(0.0, (self.max_steps - step) / rate - (now - self.last_at if now > self.last_at else 0.0))

    def elapsed_s(self, now: float) -> float:
        if self.ended:
            return self.ended.duration_s
        return max(0.0, now - self.started_at) if self.started else 0.0

    def ordered(self) -> list[TaskView]:
        """The tasks by role and index."""
        return [self.tasks[task] for task in sorted(self.tasks)]

    # --- the fold ------------------------------------------------------------------------------------------------

    def apply(self, recorded: ev.Recorded) -> None:
        """Takes the next event of the run; one that was taken before changes nothing."""
        if recorded.n <= self.n:
            return
        self.n = recorded.n
        self.last_at = recorded.at.timestamp()
        self._fold(recorded.event, self.last_at)
        if ev.is_news(recorded.event):
            self.news.append(At(self.last_at, recorded.event))

    def _task(self, name: object) -> TaskView | None:
        task = _task_id(name)
        if task is None:
            return None
        return self.tasks.setdefault(task, TaskView(task))

    @singledispatchmethod
    def _fold(self, event: ev.RunEvent, at: float) -> None:
        """An event of a newer version changes nothing."""

    @_fold.register
    def _(self, event: ev.RunStarted, at: float) -> None:
        self.started, self.started_at, self.max_steps = event, at, event.max_steps
        self.model_dir = event.model_dir
        self.drills = {number: DrillView(fault) for number, fault in enumerate(event.inject)}
        for body in event.tasks:
            task = self._task(body.get("task") or body.get("name"))
            if task is not None:
                task.host, task.since = str(body.get("host") or ""), at
                self.hosts.setdefault(task.host, HostView(task.host))

    @_fold.register
    def _(self, event: ev.PhaseChanged, at: float) -> None:
        self.phase = _enum(Phase, event.phase) or self.phase
        self.phase_reason = event.reason

    @_fold.register
    def _(self, event: ev.GenerationBound, at: float) -> None:
        self.generation, self.ports = event.generation, event.ports

    @_fold.register
    def _(self, event: ev.HostChanged, at: float) -> None:
        host = self.hosts.setdefault(event.host, HostView(event.host))
        host.state, host.message, host.facts = event.state, event.message, {**host.facts, **event.facts}

    @_fold.register
    def _(self, event: ev.PreloadChanged, at: float) -> None:
        self.preloads[event.host, event.key] = event

    @_fold.register
    def _(self, event: ev.TaskChanged, at: float) -> None:
        task, state = self._task(event.task), _enum(TaskState, event.state)
        if task is not None and state is not None:
            task.change(event, state, at)

    @_fold.register
    def _(self, event: ev.Progressed, at: float) -> None:
        task = self._task(event.task)
        if task is None:
            return
        task.progress(event, at)
        if event.loss is not None and task.task == chief_of(self.tasks):
            self.loss.add(event.global_step, event.loss)
        if 0 <= at - self._stepped_at < STEP_EVERY_S:
            return  # with many trainers there is a report every few milliseconds
        self._stepped_at = at
        if (step := self.global_step) is not None:
            self._rate.add(at, step)
            self._eta_rate.add(at, step)

    @_fold.register
    def _(self, event: ev.ProgramSeen, at: float) -> None:
        if (task := self._task(event.task)) is not None:
            task.uses = event.uses

    @_fold.register
    def _(self, event: ev.UsageSampled, at: float) -> None:
        for name, share in event.cpu.items():
            if (task := self._task(name)) is not None:
                task.cpu = share
        for name, mib in event.rss_mib.items():
            if (task := self._task(name)) is not None:
                task.rss_mib = mib

    @_fold.register
    def _(self, event: ev.CheckpointWritten, at: float) -> None:
        self.checkpoints.append(At(at, event))
        self.checkpoint_count += 1

    @_fold.register
    def _(self, event: ev.EvaluationDone, at: float) -> None:
        self.evaluations.append(At(at, event))

    @_fold.register
    def _(self, event: ev.ModelDirKnown, at: float) -> None:
        self.model_dir = event.path

    @_fold.register
    def _(self, event: ev.TargetKnown, at: float) -> None:
        self.max_steps = event.max_steps

    @_fold.register
    def _(self, event: ev.Noticed, at: float) -> None:
        self.notices.append(At(at, event))
        task = self._task(event.task) if event.task else None
        if task is not None and event.severity != "info":
            task.problem = event.message

    @_fold.register
    def _(self, event: ev.StopRequested, at: float) -> None:
        self.stop = event

    @_fold.register
    def _(self, event: ev.TasksMoved, at: float) -> None:
        self.moves.append(At(at, event))

    @_fold.register(ev.Recovered)
    @_fold.register(ev.MoveOver)
    def _(self, event: ev.RunEvent, at: float) -> None:
        self.recoveries.append(At(at, event))

    @_fold.register
    def _(self, event: ev.InputCounted, at: float) -> None:
        self.input = event

    @_fold.register
    def _(self, event: ev.DrillFired, at: float) -> None:
        drill = self.drills.setdefault(event.number, DrillView(event.fault))
        drill.fired, drill.fired_at = event, at

    @_fold.register
    def _(self, event: ev.DrillOver, at: float) -> None:
        self.drills.setdefault(event.number, DrillView(event.fault)).over = event

    @_fold.register
    def _(self, event: ev.RunEnded, at: float) -> None:
        self.ended, self.phase = event, Phase.ENDED
        for task in self.tasks.values():
            task.cpu = task.rss_mib = None
