"""A run while the rules look at it: how it stands, what time it is, and what is to be done so far."""

from __future__ import annotations

import math

from launcher.causes import Cause
from launcher.lifecycle.state import PHASES, TRANSITIONS, Attempt, RunState, TaskRecord
from launcher.lifecycle.state.roster import Is, Roster
from launcher.lifecycle.values import Action, Record, StartTask, StopTask
from launcher.record import events
from launcher.record.states import Outcome, Phase, TaskState
from launcher.wire import protocol
from launcher.wire.roles import Role, TaskId


class Run:
    """A run, and what may be done with it. ``now``: monotonic seconds."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.now = 0.0
        self._roster = Roster(state)
        self._actions: list[Action] = []

    def taken_actions(self) -> tuple[Action, ...]:
        """What is to be done since this was last asked, in order."""
        actions, self._actions = tuple(self._actions), []
        return actions

    # --- what is known

    @property
    def tasks(self) -> list[TaskRecord]:
        return list(self.state.tasks.values())

    def any(self, what: Is, *roles: Role) -> bool:
        """Whether any task of these roles, or of all, is that."""
        return self._roster.any(what, *roles)

    def each(self, what: Is, *roles: Role) -> list[TaskRecord]:
        """The tasks of these roles, or of all, that are that, in the order of the plan."""
        return self._roster.each(what, *roles)

    def overdue(self) -> list[TaskRecord]:
        """Tasks whose time for something has come (see ``roster.due_at``)."""
        return self._roster.overdue(self.now)

    def next_due(self) -> float:
        return self._roster.next_due()

    def changed(self) -> dict[TaskId, TaskRecord]:
        """The tasks that have changed since this was last asked."""
        return self._roster.changed()

    def is_chief(self, record: TaskRecord) -> bool:
        return record is self.state.chief

    def why_no_restart(self, task: TaskId) -> str:
        """Why a task cannot be restarted by hand now; empty if it can."""
        record = self.state.tasks.get(task)
        if record is None or not record.alive:
            state = "unknown" if record is None else record.state
            return f"{task} does not run now ({state}), so it is not restarted"
        return (
            "" if self.state.phase is Phase.TRAINING else f"the run is {self.state.phase}, so {task} is not restarted"
        )

    # --- what is to be done

    def do(self, action: Action) -> None:
        self._actions.append(action)

    def record(self, event: events.RunEvent) -> None:
        self.do(Record(event=event))

    def notice(self, severity: str, message: str, task: TaskId | None = None) -> None:
        self.record(events.Noticed(severity=severity, message=message, task=task.name if task else None))

    def move(
        self, record: TaskRecord, target: TaskState, *, reason: str = "", exited: protocol.Exited | None = None
    ) -> None:
        """Lets a task go on to ``target``; a move that the table does not allow is an error of this room."""
        if target not in TRANSITIONS[record.state]:
            raise AssertionError(f"{record.task}: {record.state} -> {target}")
        record.state = target
        if record.task.role is not Role.EVALUATOR and target is not TaskState.RUNNING:  # which only time has told
            self.state.progress_at = self.now
        self.say(record, reason=reason, exited=exited)

    def say(
        self,
        record: TaskRecord,
        *,
        pid: int | None = None,
        start: str | None = None,
        reason: str = "",
        exited: protocol.Exited | None = None,
    ) -> None:
        """Records how a task stands."""
        self.record(
            events.TaskChanged(
                task=record.task.name,
                attempt=record.attempt.number,
                state=record.state.value,
                host=record.planned.host,
                generation=self.state.generation.number,
                pid=pid,
                start=start,
                reason=reason,
                exit_code=exited.exit_code if exited else None,
                signal=exited.signal if exited else None,
                tail=exited.tail if exited else "",
            )
        )

    def start(self, record: TaskRecord) -> None:
        record.attempt = Attempt(number=record.attempt.number + 1, started_at=self.now)
        record.restart_at = math.inf
        self.state.unanswered.pop(record.task, None)
        self.move(record, TaskState.STARTING)
        self.do(StartTask(task=record.task, attempt=record.attempt.number))

    def stop(self, record: TaskRecord, grace_s: float, reason: str) -> None:
        """Takes a task down, whatever it is doing; its end is told by ``Exited``."""
        if record.state in (TaskState.WAITING, TaskState.BACKOFF):
            record.restart_at = math.inf
            self.move(record, TaskState.STOPPED, reason=reason)
        elif record.alive:
            if record.state is not TaskState.STOPPING:
                self.move(record, TaskState.STOPPING, reason=reason)
            record.attempt.term_at = math.inf
            self.do(StopTask(task=record.task, attempt=record.attempt.number, grace_s=grace_s))

    def go(self, phase: Phase, reason: str = "") -> None:
        """Goes on to another phase, as the table allows."""
        if self.state.phase is phase:
            return
        if phase not in PHASES[self.state.phase]:
            raise AssertionError(f"{self.state.phase} -> {phase}")
        self.state.phase = phase
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
        if self.state.outcome not in (Outcome.INTERRUPTED, Outcome.TIMED_OUT):
            self.state.outcome = outcome
        self.state.cause = self.state.cause or cause
