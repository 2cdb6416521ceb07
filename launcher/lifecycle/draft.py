"""One step in the making: a state that may still be changed, and the actions so far."""

from __future__ import annotations

import math
from dataclasses import replace

from launcher.causes import Cause
from launcher.lifecycle.state import TRANSITIONS, RunState, TaskRecord
from launcher.lifecycle.values import Action, Record, StartTask, StopTask
from launcher.record import events
from launcher.record.states import Outcome, Phase, TaskState
from launcher.wire import protocol
from launcher.wire.roles import TRAINERS, Role, TaskId


class Draft:
    """A run while one step changes it."""

    def __init__(self, state: RunState, now: float) -> None:
        self.state = state
        self.now = now
        self.tasks = dict(state.tasks)
        self.actions: list[Action] = []

    def finished(self) -> tuple[RunState, tuple[Action, ...]]:
        return self.current, tuple(self.actions)

    def set(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]

    def training(self, **changes: object) -> None:
        """Changes what is known of the chief's training."""
        self.set(training=replace(self.state.training, **changes))  # type: ignore[arg-type]

    def do(self, action: Action) -> None:
        self.actions.append(action)

    def record(self, event: events.RunEvent) -> None:
        self.do(Record(event=event))

    def notice(self, severity: str, message: str, task: TaskId | None = None) -> None:
        self.record(events.Noticed(severity=severity, message=message, task=task.name if task else None))

    @property
    def current(self) -> RunState:
        """The state as it is now."""
        return replace(self.state, tasks=self.tasks)

    @property
    def chief(self) -> TaskRecord:
        return self.tasks[self.state.chief]

    @property
    def workers(self) -> list[TaskRecord]:
        """Trainers besides the chief."""
        chief = self.state.chief
        return [record for record in self.of_role(*TRAINERS) if record.task != chief]

    def is_chief(self, record: TaskRecord) -> bool:
        return record.task == self.state.chief

    def of_role(self, *roles: Role) -> list[TaskRecord]:
        return [record for record in self.tasks.values() if record.task.role in roles]

    def update(self, record: TaskRecord, **changes: object) -> TaskRecord:
        record = replace(record, **changes)  # type: ignore[arg-type]
        self.tasks[record.task] = record
        return record

    def move(
        self,
        record: TaskRecord,
        target: TaskState,
        *,
        reason: str = "",
        exited: protocol.Exited | None = None,
        **changes: object,
    ) -> TaskRecord:
        """Lets a task go on to ``target``; a move that the table does not allow is an error of this module."""
        if target not in TRANSITIONS[record.state]:
            raise AssertionError(f"{record.task}: {record.state} -> {target}")
        record = self.update(record, state=target, **changes)
        if record.task.role is not Role.EVALUATOR:
            self.set(progress_at=self.now)
        self.say(record, target, reason=reason, exited=exited)
        return record

    def say(
        self,
        record: TaskRecord,
        state: TaskState,
        *,
        pid: int | None = None,
        start: str | None = None,
        reason: str = "",
        exited: protocol.Exited | None = None,
    ) -> None:
        self.record(
            events.TaskChanged(
                task=record.task.name,
                attempt=record.attempt,
                state=state.value,
                host=record.planned.host,
                generation=self.state.generation,
                pid=pid,
                start=start,
                reason=reason,
                exit_code=exited.exit_code if exited else None,
                signal=exited.signal if exited else None,
                tail=exited.tail if exited else "",
            )
        )

    def start(self, record: TaskRecord) -> None:
        record = self.update(
            record,
            attempt=record.attempt + 1,
            started_at=self.now,
            running=False,
            ready=False,
            speaks=False,
            waits_for="",
            missing="",
            global_step=0,
            stepped_at=0.0,
            restart_at=math.inf,
            restart_wanted="",
            training="",
            folders=(),
            began=False,
            finished=False,
            left_out="",
            doing="",
            leaving_at=math.inf,
            threads=(),
            hurried=False,
            uses="",
            used_nothing=False,
            nothing_left=False,
            reached=None,
            listens=False,
            evaluated=None,
            term_at=math.inf,
        )
        self.move(record, TaskState.STARTING)
        self.do(StartTask(task=record.task, attempt=record.attempt))

    def stop(self, record: TaskRecord, grace_s: float, reason: str) -> None:
        """Takes a task down, whatever it is doing; its end is told by ``Exited``."""
        if record.state in (TaskState.WAITING, TaskState.BACKOFF):
            self.move(record, TaskState.STOPPED, reason=reason, restart_at=math.inf)
        elif record.alive:
            if record.state is not TaskState.STOPPING:
                self.move(record, TaskState.STOPPING, reason=reason)
            self.update(self.tasks[record.task], term_at=math.inf)
            self.do(StopTask(task=record.task, attempt=record.attempt, grace_s=grace_s))

    def go(self, phase: Phase, reason: str = "") -> None:
        if self.state.phase is not phase:
            self.set(phase=phase)
            self.record(events.PhaseChanged(phase=phase.value, reason=reason))

    def fail(self, cause: Cause, *, outcome: Outcome = Outcome.FAILED) -> None:
        """The run cannot succeed any more: everything is stopped."""
        if self.state.phase in (Phase.STOPPING, Phase.ENDED):
            return
        self.blame(cause, outcome=outcome)
        self.go(Phase.STOPPING, f"{cause.task} has failed" if cause.task else cause.message)

    def blame(self, cause: Cause, *, outcome: Outcome = Outcome.FAILED) -> None:
        """Notes why the run does not succeed. What fails while it is being ended, asked to or at its deadline, changes
        nothing about how it ended."""
        ending = self.state.outcome in (Outcome.INTERRUPTED, Outcome.TIMED_OUT)
        self.set(outcome=self.state.outcome if ending else outcome, cause=self.state.cause or cause)
