"""What a run is and was: a fold over its events.

``RunView.apply`` takes one event after the other, live or from the file, and never fails: what a newer version wrote
is passed over. Times are seconds since the epoch, as the events have them; no clock is read here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import singledispatchmethod

from launcher.record import events as ev
from launcher.record.course.pace import Pace
from launcher.record.course.parts import Part, part_of
from launcher.record.drill_view import DrillView
from launcher.record.kept import At, HostView, is_news, task_named
from launcher.record.rates import Series
from launcher.record.sampling.samples import AnySample, InputSample, Sample
from launcher.record.states import Outcome, Phase, TaskState, named
from launcher.record.task_view import TaskView, furthest, total
from launcher.wire.roles import TaskId, chief_of

KEPT = 1000  # of each kind of thing that a run may go on producing for ever
_KEPT_AS = {ev.BoardChanged: "board", ev.InputCounted: "input", ev.StopRequested: "stop"}
KEPT_NEWEST = 100  # of those of which only the newest are looked at


class RunView:
    """Everything that the events have told so far."""

    def __init__(self) -> None:
        self.started: ev.RunStarted | None = None
        self.started_at = self.part_at = self.last_at = 0.0
        self.parts: list[Part] = []  # those before the present one
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
        self.evaluations: deque[At] = deque(maxlen=KEPT_NEWEST)
        self.checkpoints: deque[At] = deque(maxlen=KEPT_NEWEST)
        self.checkpoint_count = 0
        self.notices: deque[At] = deque(maxlen=KEPT)
        self.news: deque[At] = deque(maxlen=KEPT_NEWEST)
        self.recoveries: deque[At] = deque(maxlen=KEPT)
        self.moves: deque[At] = deque(maxlen=KEPT)
        self.drills: dict[int, DrillView] = {}
        self.input: ev.InputCounted | None = None
        self.stop: ev.StopRequested | None = None
        self.board: ev.BoardChanged | None = None
        self.ended: ev.RunEnded | None = None
        self.pace = Pace()

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
        return named(Outcome, self.ended.outcome) if self.ended else None

    @property
    def global_step(self) -> int | None:
        """Where the training is; falls when a roll-back is reported."""
        if self.ended and self.ended.global_step is not None:
            return self.ended.global_step
        if (step := furthest(self.tasks.values())) is not None:
            return step
        written = [kept.event for kept in self.checkpoints]
        return max((event.global_step for event in written if isinstance(event, ev.CheckpointWritten)), default=None)

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
        return self.pace.steps_per_s(now)

    def examples_per_s(self, now: float) -> float | None:
        """Examples a second of all trainers; None where no script says."""
        rates = [task.example_rate.per_s(now) for task in self.tasks.values()]
        return sum(rate or 0.0 for rate in rates) if any(rate is not None for rate in rates) else None

    def eta_s(self, now: float) -> float | None:
        """Seconds until ``max_steps`` at the present rate; None when that cannot be said."""
        step = self.global_step
        if step is None or self.max_steps is None:
            return None
        return self.pace.left_s(now, self.last_at, self.max_steps - step)

    def elapsed_s(self, now: float) -> float:
        """For how long it has run, in all its parts."""
        before_s = sum(part.duration_s for part in self.parts)
        if self.ended:
            return before_s + self.ended.duration_s
        return before_s + (max(0.0, now - self.part_at) if self.started else 0.0)

    @property
    def ended_at(self) -> float:
        """When it was last heard of; never before its start, wherever the clock was set meanwhile."""
        return self.last_at if self.last_at >= self.part_at else self.part_at + self.elapsed_s(self.last_at)

    def ordered(self) -> list[TaskView]:
        """The tasks by role and index."""
        return [self.tasks[task] for task in sorted(self.tasks)]

    # --- the fold ------------------------------------------------------------------------------------------------

    def apply(self, recorded: ev.Recorded) -> None:
        """Takes the next event of the run; one that was taken before changes nothing."""
        if recorded.n <= self.n:
            return
        self.n = recorded.n
        at = recorded.at.timestamp()
        self._fold(recorded.event, at)
        self.last_at = at
        if is_news(recorded.event):
            self.news.append(At(self.last_at, recorded.event))

    def _task(self, name: object) -> TaskView | None:
        task = task_named(name)
        if task is None:
            return None
        return self.tasks.setdefault(task, TaskView(task))

    @singledispatchmethod
    def _fold(self, event: ev.RunEvent, at: float) -> None:
        """Some are kept as they are; one of a newer version changes nothing."""
        if (name := _KEPT_AS.get(type(event))) is not None:
            setattr(self, name, event)

    @_fold.register
    def _(self, event: ev.RunStarted, at: float) -> None:
        if self.started is None:
            self.started_at = at
            self.drills = {number: DrillView(fault) for number, fault in enumerate(event.inject)}
        else:
            self._go_on(self.started, {str(body.get("task")) for body in event.tasks})
        self.started, self.part_at, self.max_steps = event, at, event.max_steps
        self.model_dir = event.model_dir or self.model_dir
        for body in event.tasks:
            task = self._task(body.get("task") or body.get("name"))
            if task is not None:
                task.host, task.since = str(body.get("host") or ""), at
                self.hosts.setdefault(task.host, HostView(task.host))

    def _go_on(self, before: ev.RunStarted, tasks: set[str]) -> None:
        """What was known of the part before is over; the next has these tasks."""
        self.parts.append(part_of(before, self.part_at, self.last_at, self.ended, self.global_step))
        self.ended = self.stop = self.board = None
        self.phase, self.phase_reason = Phase.STARTING, ""
        self.hosts, self.preloads = {}, {}
        self.pace.clear()
        for task in self.tasks.values():
            task.wait_again(self.last_at, left=task.task.name not in tasks)

    @_fold.register
    def _(self, event: ev.PhaseChanged, at: float) -> None:
        self.phase = named(Phase, event.phase) or self.phase
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
        task, state = self._task(event.task), named(TaskState, event.state)
        if task is not None and state is not None:
            task.change(event, state, at)

    @_fold.register
    def _(self, event: ev.Progressed, at: float) -> None:
        task = self._task(event.task)
        if task is None:
            return
        self._note_loss(task, event)
        self._heard(task, at)
        task.progress(event, at)
        self._stepped(at)

    def take(self, sample: AnySample) -> None:
        """Takes what was sampled; its time is its own, and events may come before or after it."""
        self.last_at = max(self.last_at, sample.at)
        if isinstance(sample, InputSample):
            self.input = sample.event
        elif (task := self.tasks.get(sample.task)) is not None and self.ended is None:
            self._note_loss(task, sample)
            self._heard(task, sample.at)
            task.take(sample)
            if sample.global_step is not None:
                self._stepped(sample.at)

    def _heard(self, task: TaskView, at: float) -> None:
        if task.host in self.hosts:
            self.hosts[task.host].heard_at = at

    def _note_loss(self, task: TaskView, said: ev.Progressed | Sample) -> None:
        step, loss = said.global_step, said.loss
        if step is not None and loss is not None and task.global_step != step and task.task == chief_of(self.tasks):
            self.loss.add(step, loss)

    def _stepped(self, at: float) -> None:
        if self.pace.is_due(at) and (step := self.global_step) is not None:
            self.pace.stepped(at, step)

    @_fold.register
    def _(self, event: ev.ProgramSeen, at: float) -> None:
        if (task := self._task(event.task)) is not None:
            task.uses = event.uses

    @_fold.register
    def _(self, event: ev.UsageSampled, at: float) -> None:
        for name, share in event.cpu.items():
            if (task := self._task(name)) is not None:
                task.cpu, task.rss_mib = share, event.rss_mib.get(name, task.rss_mib)
                self._heard(task, at)

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
    def _(self, event: ev.TasksMoved, at: float) -> None:
        self.moves.append(At(at, event))

    @_fold.register(ev.Recovered)
    @_fold.register(ev.MoveOver)
    @_fold.register(ev.Scaled)
    def _(self, event: ev.RunEvent, at: float) -> None:
        self.recoveries.append(At(at, event))

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
