"""What happens next: the one place that decides about starting, restarting, stopping and ending.

``step(state, happening)`` is pure: it takes what has happened and gives the new state and what is to be done.
The rules:

1. Every port is reserved and the model_dir is locked before any task starts.
2. Everybody starts at once, and trainers wait for the *gate* before they open a session. The gate is open while each
   parameter server is proven to be the one listener at its address. Where tasks cannot wait inside (the adjustment
   ``session-gate`` is off, or the command is not Python), the trainers' first start waits for the gate.
3. A task that dies is started again in place, after a back-off, as often as its role may. What would fail again the
   same way (wrong arguments; a second death before the task was ready) is not tried again.
4. The chief saves for the last time when no trainer that may still train is left (the *barrier*).
5. Trainers done, by the success policy: parameter servers are stopped, the evaluator is told to evaluate the last
   checkpoint and end (the *drain*), in bounded time. Then the run ends.
6. Stopping is ordered: trainers, evaluator, parameter servers.
7. The first failure that no restart mended is the cause.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from launcher import causes, events, protocol
from launcher.causes import Cause
from launcher.model import (
    ROLES,
    TRAINERS,
    Outcome,
    Phase,
    Plan,
    PlannedTask,
    Role,
    Success,
    TaskId,
    TaskState,
)

# --- what has happened -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Happening:
    """Base of what ``step`` takes. ``now``: monotonic seconds."""

    now: float


@dataclass(frozen=True, kw_only=True)
class Begun(Happening):
    """The supervisor is up, and every host's agent answers."""


@dataclass(frozen=True, kw_only=True)
class Told(Happening):
    """An agent said ``body`` (a body of ``protocol.Event``)."""

    host: str
    body: protocol.Message


@dataclass(frozen=True, kw_only=True)
class AgentRenewed(Happening):
    """The agent of a host died and came back: its tasks are dead, its ports still held."""

    host: str


@dataclass(frozen=True, kw_only=True)
class HostLost(Happening):
    """A host cannot be reached any more."""

    host: str
    message: str


@dataclass(frozen=True, kw_only=True)
class StopAsked(Happening):
    """Somebody wants the end. ``how``: see ``events.StopRequested``."""

    how: str
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class RestartAsked(Happening):
    """Somebody wants one task restarted in place."""

    task: TaskId


@dataclass(frozen=True, kw_only=True)
class Ticked(Happening):
    """Time has passed (see ``next_wakeup``)."""


# --- what is to be done ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Action:
    """Base of what ``step`` gives back."""


@dataclass(frozen=True, kw_only=True)
class Prepare(Action):
    """Reserve every port, lock the model_dir, start the preloaded interpreters."""


@dataclass(frozen=True, kw_only=True)
class StartTask(Action):
    task: TaskId
    attempt: int


@dataclass(frozen=True, kw_only=True)
class StopTask(Action):
    task: TaskId
    attempt: int
    grace_s: float


@dataclass(frozen=True, kw_only=True)
class SignalTask(Action):
    task: TaskId
    attempt: int
    signal: int


@dataclass(frozen=True, kw_only=True)
class ProveTask(Action):
    task: TaskId
    attempt: int


@dataclass(frozen=True, kw_only=True)
class TellTask(Action):
    """Pass ``message`` to one task, or to every task if ``task`` is None."""

    task: TaskId | None
    message: protocol.Message


@dataclass(frozen=True, kw_only=True)
class Record(Action):
    """Write an event of the run."""

    event: events.RunEvent


@dataclass(frozen=True, kw_only=True)
class End(Action):
    """The run is over: nothing of it is to be left anywhere."""

    outcome: Outcome
    cause: Cause | None
    how: str = ""


# --- the state ---------------------------------------------------------------------------------------------------

_RUNNING = (
    TaskState.STARTING,
    TaskState.READY,
    TaskState.TRAINING,
    TaskState.EVALUATING,
    TaskState.FINISHED,
    TaskState.DRAINING,
    TaskState.STOPPING,
)
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
        TaskState.BACKOFF: frozenset({TaskState.STARTING, TaskState.STOPPED, TaskState.FAILED}),
        TaskState.SUCCEEDED: frozenset(),
        TaskState.FAILED: frozenset(),
        TaskState.STOPPED: frozenset(),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRecord:
    """What is known of one task. Times in monotonic seconds.

    ``ready``: this attempt has been ready; ``early_deaths``: deaths in a row before it was; ``restarts``: how often it
    was started again; ``restart_at``: when the back-off ends; ``died_at``: when the attempt before died, until the
    task has recovered.
    """

    planned: PlannedTask
    state: TaskState = TaskState.WAITING
    attempt: int = 0
    started_at: float = 0.0
    running: bool = False
    ready: bool = False
    speaks: bool = False
    waits_for: str = ""
    early_deaths: int = 0
    restarts: int = 0
    restart_at: float = math.inf
    died_at: float | None = None
    global_step: int = 0
    restart_wanted: bool = False

    @property
    def task(self) -> TaskId:
        return self.planned.task

    @property
    def alive(self) -> bool:
        """Whether a process of it may exist."""
        return self.state in _RUNNING


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """Everything that decides. ``gate``: trainers may open sessions; ``served``: it has been open once, so that
    variables may live on the parameter servers; ``fresh_ps``: a ps was restarted since the chief last restored."""

    plan: Plan
    tasks: Mapping[TaskId, TaskRecord]
    phase: Phase = Phase.STARTING
    began_at: float = 0.0
    reserved: frozenset[str] = frozenset()
    locked: bool = False
    launched: bool = False
    gate: bool = False
    served: bool = False
    variables_lost: bool = False
    barrier_open: bool = False
    max_steps: int | None = None
    global_step: int = 0
    progress_at: float = 0.0
    drain_until: float = math.inf
    stop_how: str = ""
    outcome: Outcome = Outcome.SUCCEEDED
    cause: Cause | None = None
    failures: tuple[Cause, ...] = ()

    def of_role(self, *roles: Role) -> list[TaskRecord]:
        return [record for record in self.tasks.values() if record.task.role in roles]


def initial(plan: Plan) -> RunState:
    """The state of a run that has not begun."""
    return RunState(
        plan=plan,
        tasks={planned.task: TaskRecord(planned=planned) for planned in plan.tasks},
        max_steps=plan.max_steps,
    )


def step(state: RunState, happening: Happening) -> tuple[RunState, tuple[Action, ...]]:
    """The state after ``happening``, and what is to be done about it, in order."""
    draft = _Draft(state, happening.now)
    draft.take(happening)
    draft.settle()
    return draft.finished()


def next_wakeup(state: RunState) -> float:
    """When ``Ticked`` is due at the latest (monotonic seconds; infinity: never)."""
    due = [state.drain_until, *(record.restart_at for record in state.tasks.values())]
    if state.phase in (Phase.STARTING, Phase.TRAINING):
        due.append(_run_deadline(state))
        due.extend(_start_deadline(state, record) for record in state.tasks.values())
        due.append(_hang_deadline(state))
    return min(due)


def _run_deadline(state: RunState) -> float:
    timeout_s = state.plan.policy.timeout_s
    return math.inf if timeout_s is None or state.stop_how else state.began_at + timeout_s


def _start_deadline(state: RunState, record: TaskRecord) -> float:
    """When a started task must be ready. Only parameter servers must be by themselves; trainers once they speak,
    since a command that is no Estimator job never says that it is ready."""
    if not record.running or record.ready or record.state is not TaskState.STARTING:
        return math.inf
    if record.task.role is Role.PS or (record.task.role.trains and record.speaks and state.gate):
        return record.started_at + state.plan.policy.start_timeout_s
    return math.inf


def _hang_deadline(state: RunState) -> float:
    hang_s = state.plan.policy.hang_timeout_s
    trains = any(record.state is TaskState.TRAINING for record in state.of_role(*TRAINERS))
    return math.inf if hang_s is None or not trains else state.progress_at + hang_s


class _Draft:
    """One step in the making: a state that may still be changed, and the actions so far."""

    def __init__(self, state: RunState, now: float) -> None:
        self.state = state
        self.now = now
        self.tasks = dict(state.tasks)
        self.actions: list[Action] = []

    def finished(self) -> tuple[RunState, tuple[Action, ...]]:
        return replace(self.state, tasks=self.tasks), tuple(self.actions)

    def set(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]

    def do(self, action: Action) -> None:
        self.actions.append(action)

    def record(self, event: events.RunEvent) -> None:
        self.do(Record(event=event))

    def notice(self, severity: str, message: str, task: TaskId | None = None) -> None:
        self.record(events.Noticed(severity=severity, message=message, task=task.name if task else None))

    def of_role(self, *roles: Role) -> list[TaskRecord]:
        return [record for record in self.tasks.values() if record.task.role in roles]

    # --- taking what has happened

    def take(self, happening: Happening) -> None:
        if isinstance(happening, Told):
            handler = _ON_TOLD.get(type(happening.body))
            if handler is not None:
                handler(self, happening.host, happening.body)
        elif isinstance(happening, Begun):
            self.set(began_at=self.now, progress_at=self.now)
            self.do(Prepare())
        elif isinstance(happening, StopAsked):
            self.stop_asked(happening)
        elif isinstance(happening, RestartAsked):
            self.restart_asked(happening.task)
        elif isinstance(happening, AgentRenewed):
            self.agent_renewed(happening.host)
        elif isinstance(happening, HostLost):
            self.fail(causes.host_lost(happening.host, happening.message), outcome=Outcome.FAILED)

    def on_reserved(self, host: str, body: protocol.Message) -> None:
        self.set(reserved=self.state.reserved | {host})

    def on_locked(self, host: str, body: protocol.Message) -> None:
        assert isinstance(body, protocol.Locked)
        self.set(locked=True)
        if body.note:
            self.notice("info", body.note)

    def on_refused(self, host: str, body: protocol.Message) -> None:
        assert isinstance(body, protocol.Refused)
        if body.command == "start":
            record = self.tasks[TaskId.parse(body.task)]
            if record.attempt == body.attempt and record.alive:
                self.move(record, TaskState.FAILED, reason=body.message, running=False)
                self.fail(causes.not_started(body.task, host, body.message))
            return
        self.fail(causes.refused(host, body))

    def on_preload(self, host: str, body: protocol.Message) -> None:
        assert isinstance(body, protocol.PreloadState)
        self.record(
            events.PreloadChanged(
                host=host, key=body.key, state=body.state, pid=body.pid, seconds=body.seconds, message=body.message
            )
        )

    def current(self, task: str, attempt: int) -> TaskRecord | None:
        """The record of that task, if ``attempt`` is its present one and its process may be alive."""
        record = self.tasks[TaskId.parse(task)]
        return record if record.attempt == attempt and record.alive else None

    def on_started(self, host: str, body: protocol.Message) -> None:
        assert isinstance(body, protocol.Started)
        record = self.current(body.task, body.attempt)
        if record is None:
            return
        record = self.update(record, running=True, started_at=self.now)
        self.say(record, record.state, pid=body.pid, start=body.start)
        if record.task.role is Role.PS and record.state is TaskState.STARTING:
            self.do(ProveTask(task=record.task, attempt=record.attempt))

    def on_listening(self, host: str, body: protocol.Message) -> None:
        assert isinstance(body, protocol.Listening)
        record = self.current(body.task, body.attempt)
        if record is not None and record.state is TaskState.STARTING:
            self.move(record, TaskState.READY, ready=True)

    def on_exited(self, host: str, body: protocol.Message) -> None:
        assert isinstance(body, protocol.Exited)
        record = self.current(body.task, body.attempt)
        if record is not None:
            self.exited(record, body)

    def on_usage(self, host: str, body: protocol.Message) -> None:
        assert isinstance(body, protocol.Usage)
        self.record(events.UsageSampled(host=host, cpu=body.cpu, rss_mib=body.rss_mib))

    def on_reported(self, host: str, body: protocol.Message) -> None:
        assert isinstance(body, protocol.Reported)
        record = self.current(body.task, body.attempt)
        handler = _ON_REPORT.get(type(body.report))
        if record is None or handler is None:
            return
        if not record.speaks:
            record = self.update(record, speaks=True)
        handler(self, record, body.report)

    # --- what tasks report

    def on_ready(self, record: TaskRecord, report: protocol.Message) -> None:
        assert isinstance(report, protocol.Ready)
        if record.task.role is Role.PS:
            return  # its own word is no proof: see ``on_listening``
        if record.task.role is Role.CHIEF and self.state.variables_lost:
            self.set(variables_lost=False)
        record = self.update(record, ready=True, early_deaths=0)
        if record.state is TaskState.STARTING:
            self.move(record, TaskState.READY, reason="kept the live variables" if report.kept else "")

    def on_step(self, record: TaskRecord, report: protocol.Message) -> None:
        assert isinstance(report, protocol.Step)
        record = self.update(record, global_step=report.global_step)
        self.progressed(report.global_step)
        self.record(
            events.Progressed(
                task=record.task.name,
                attempt=record.attempt,
                global_step=report.global_step,
                local_steps=report.local_steps,
                examples=report.examples,
                loss=report.loss,
            )
        )
        if record.state in (TaskState.STARTING, TaskState.READY) and report.local_steps > 0:
            self.move(self.update(record, ready=True, early_deaths=0), TaskState.TRAINING)

    def on_finished(self, record: TaskRecord, report: protocol.Message) -> None:
        assert isinstance(report, protocol.Finished)
        self.record(
            events.Progressed(
                task=record.task.name,
                attempt=record.attempt,
                global_step=report.global_step,
                local_steps=report.local_steps,
                examples=report.examples,
            )
        )
        self.progressed(report.global_step)
        record = self.update(record, global_step=report.global_step, ready=True)
        if TaskState.FINISHED in TRANSITIONS[record.state]:
            self.move(record, TaskState.FINISHED, reason=report.reason)

    def on_checkpoint(self, record: TaskRecord, report: protocol.Message) -> None:
        assert isinstance(report, protocol.CheckpointSaved)
        self.record(events.CheckpointWritten(task=record.task.name, global_step=report.global_step, path=report.path))

    def on_evaluated(self, record: TaskRecord, report: protocol.Message) -> None:
        assert isinstance(report, protocol.Evaluated)
        self.record(
            events.EvaluationDone(
                task=record.task.name,
                global_step=report.global_step,
                metrics=report.metrics,
                checkpoint=report.checkpoint,
                name=report.name,
            )
        )
        record = self.update(record, ready=True, early_deaths=0)
        if record.task.role is Role.EVALUATOR and record.state in (TaskState.STARTING, TaskState.READY):
            self.move(record, TaskState.EVALUATING)

    def on_waiting(self, record: TaskRecord, report: protocol.Message) -> None:
        assert isinstance(report, protocol.Waiting)
        self.update(record, waits_for=report.what)

    def on_max_steps(self, record: TaskRecord, report: protocol.Message) -> None:
        assert isinstance(report, protocol.MaxSteps)
        if report.max_steps != self.state.max_steps and record.task.role is Role.CHIEF:
            self.set(max_steps=report.max_steps)
            self.record(events.TargetKnown(max_steps=report.max_steps))

    def progressed(self, global_step: int) -> None:
        if global_step != self.state.global_step:
            self.set(global_step=global_step, progress_at=self.now)

    # --- changing a task

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
        self.say(record, target, reason=reason, exited=exited)
        if record.died_at is not None and target in (TaskState.READY, TaskState.TRAINING, TaskState.EVALUATING):
            self.recovered(record)
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
                pid=pid,
                start=start,
                reason=reason,
                exit_code=exited.exit_code if exited else None,
                signal=exited.signal if exited else None,
                tail=exited.tail if exited else "",
            )
        )

    def recovered(self, record: TaskRecord) -> None:
        """A restarted trainer has recovered when it trains again, the others when they are ready."""
        if record.died_at is None or (record.task.role.trains and record.state is not TaskState.TRAINING):
            return
        self.record(
            events.Recovered(
                task=record.task.name,
                attempt=record.attempt,
                detected_s=0.0,
                recovered_s=round(self.now - record.died_at, 3),
            )
        )
        self.update(record, died_at=None)

    def start(self, record: TaskRecord) -> None:
        record = self.update(
            record,
            attempt=record.attempt + 1,
            started_at=self.now,
            running=False,
            ready=False,
            speaks=False,
            waits_for="",
            restart_at=math.inf,
            restart_wanted=False,
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
            self.do(StopTask(task=record.task, attempt=record.attempt, grace_s=grace_s))

    # --- how tasks end

    def exited(self, record: TaskRecord, body: protocol.Exited) -> None:
        record = self.update(record, running=False, waits_for="")
        if record.task.role is Role.PS:
            self.set(variables_lost=True)
        if record.restart_wanted and self.state.phase in (Phase.STARTING, Phase.TRAINING):
            self.move(record, TaskState.BACKOFF, reason="restarted by hand", restart_at=self.now, died_at=self.now)
        elif record.state is TaskState.STOPPING:
            ended_well = body.exit_code == 0 and record.task.role is not Role.PS
            self.move(record, TaskState.SUCCEEDED if ended_well else TaskState.STOPPED, exited=body)
        elif body.exit_code == 0 and not self.ended_early(record):
            self.move(record, TaskState.SUCCEEDED, exited=body)
        else:
            self.died(record, body)

    def ended_early(self, record: TaskRecord) -> bool:
        """A parameter server that returns while somebody trains with it has failed, whatever its exit code."""
        return record.task.role is Role.PS and any(
            trainer.ready or trainer.waits_for for trainer in self.of_role(*TRAINERS) if trainer.alive
        )

    def died(self, record: TaskRecord, body: protocol.Exited) -> None:
        early_deaths = 0 if record.ready else record.early_deaths + 1
        record = self.update(record, early_deaths=early_deaths)
        cause = causes.of_exit(record.planned.host, body)
        self.set(failures=(*self.state.failures, cause))
        refusal = self.no_restart(record, body, cause)
        if refusal is None:
            delay_s = self.backoff_s(record)
            left = self.restarts_left(record) - 1
            self.move(
                record,
                TaskState.BACKOFF,
                reason=f"{cause.message}; starting again ({left} restarts left after this one)",
                exited=body,
                restart_at=self.now + delay_s,
                died_at=self.now,
                restarts=record.restarts + 1,
            )
            return
        record = self.move(record, TaskState.FAILED, reason=f"{cause.message}; {refusal}", exited=body)
        self.failed_for_good(record, cause)

    def backoff_s(self, record: TaskRecord) -> float:
        """The first restart of a task that had been ready comes at once; after that the waits double, to a minute."""
        if record.restarts == 0 and record.ready:
            return 0.0
        return float(min(60.0, self.state.plan.policy.backoff_s * 2.0 ** max(0, record.restarts - 1)))

    def restarts_left(self, record: TaskRecord) -> int:
        return self.state.plan.policy.restarts[record.task.role] - record.restarts

    def no_restart(self, record: TaskRecord, body: protocol.Exited, cause: Cause) -> str | None:
        """Why a dead task is not started again, None if it is."""
        if self.state.phase is Phase.STOPPING or self.state.stop_how:
            return "the run is being stopped"
        if self.state.phase is Phase.DRAINING and record.task.role is not Role.EVALUATOR:
            return "training is over"
        if cause.permanent:
            return "not started again, since it would fail the same way"
        if body.signal is None and record.early_deaths >= 2:
            return "not started again, since it failed twice before it was ready"
        if self.restarts_left(record) <= 0:
            used = self.state.plan.policy.restarts[record.task.role]
            return f"its {used} restarts are used up" if used else f"policy.restarts.{record.task.role} is 0"
        return None

    def failed_for_good(self, record: TaskRecord, cause: Cause) -> None:
        """What one task's final failure means for the run."""
        if self.state.phase in (Phase.STOPPING, Phase.ENDED):
            return
        everyone_matters = self.state.plan.policy.success is Success.ALL_WORKERS
        if record.task.role is Role.WORKER and not everyone_matters:
            self.notice("warning", f"{record.task} has failed for good; the others go on without it", record.task)
        elif record.task.role is Role.EVALUATOR and self.state.phase in (Phase.STARTING, Phase.TRAINING):
            self.set(outcome=Outcome.FAILED, cause=self.state.cause or cause)
            self.notice("error", f"{record.task} has failed for good; training goes on unevaluated", record.task)
        else:
            self.fail(cause)

    def fail(self, cause: Cause, *, outcome: Outcome = Outcome.FAILED) -> None:
        """The run cannot succeed any more: everything is stopped."""
        if self.state.phase in (Phase.STOPPING, Phase.ENDED):
            return
        first = causes.first((*self.state.failures, cause), cause)
        self.set(outcome=outcome, cause=self.state.cause or first)
        self.go(Phase.STOPPING, first.message)

    def agent_renewed(self, host: str) -> None:
        self.notice("warning", f"the agent of {host} died and was started again")
        for record in list(self.tasks.values()):
            if record.planned.host == host and record.alive:
                death = protocol.Exited(
                    task=record.task.name, attempt=record.attempt, exit_code=None, signal=9, tail=""
                )
                self.exited(record, death)

    def restart_asked(self, task: TaskId) -> None:
        record = self.tasks.get(task)
        if record is None or not record.alive or self.state.phase is not Phase.TRAINING:
            self.notice("warning", f"{task} does not run now, so it is not restarted", task)
            return
        self.update(record, restart_wanted=True)
        self.do(StopTask(task=task, attempt=record.attempt, grace_s=self.state.plan.policy.grace_s))

    # --- asking for the end

    def stop_asked(self, asked: StopAsked) -> None:
        self.record(events.StopRequested(how=asked.how, by=asked.by))
        again = bool(self.state.stop_how)
        if not again and self.state.outcome is Outcome.SUCCEEDED:
            self.set(outcome=Outcome.INTERRUPTED)
        if asked.how == "kill" or again:
            self.set(stop_how=self.state.stop_how or asked.how)
            for record in list(self.tasks.values()):
                self.stop(record, 0.0, "stopped at once")
            self.go(Phase.STOPPING, "stopped at once")
            return
        self.set(stop_how=asked.how)
        self.stop_trainers(f"asked to end ({asked.how})")
        if not self.state.launched:
            self.go(Phase.STOPPING, "stopped before it had started")

    def stop_trainers(self, reason: str) -> None:
        for record in self.of_role(*TRAINERS):
            self.stop(record, self.trainer_grace_s(), reason)

    def trainer_grace_s(self) -> float:
        """A trainer whose parameter server is dead can save nothing; it gets little time."""
        ps_dead = any(not record.alive for record in self.of_role(Role.PS))
        return min(2.0, self.state.plan.policy.grace_s) if ps_dead else self.state.plan.policy.grace_s

    # --- what follows from the state

    def go(self, phase: Phase, reason: str = "") -> None:
        if self.state.phase is not phase:
            self.set(phase=phase)
            self.record(events.PhaseChanged(phase=phase.value, reason=reason))

    def settle(self) -> None:
        """Does whatever the state as a whole asks for. Safe to call at any time, any number of times."""
        self.look_at_the_clock()
        self.launch()
        self.watch_gate()
        self.restart_the_dead()
        self.watch_barrier()
        self.watch_training()
        self.watch_drain()
        self.unwind()

    def look_at_the_clock(self) -> None:
        if self.state.phase not in (Phase.STARTING, Phase.TRAINING):
            return
        policy = self.state.plan.policy
        if self.now >= _run_deadline(self.state):
            cause = causes.deadline(policy.timeout_s or 0.0)
            self.set(outcome=Outcome.TIMED_OUT, cause=cause, stop_how="deadline")
            self.stop_trainers(cause.message)
        for record in self.tasks.values():
            if self.now >= _start_deadline(self.state, record):
                self.fail(causes.not_ready(record.planned, policy.start_timeout_s), outcome=Outcome.TIMED_OUT)
                return
        if self.now >= _hang_deadline(replace(self.state, tasks=self.tasks)):
            self.fail(causes.hang(self.state.global_step, policy.hang_timeout_s or 0.0), outcome=Outcome.TIMED_OUT)

    def launch(self) -> None:
        hosts = {planned.host for planned in self.state.plan.tasks}
        prepared = self.state.reserved >= hosts and (self.state.locked or not self.state.plan.model_dir)
        if self.state.launched or not prepared or self.state.phase is not Phase.STARTING or self.state.stop_how:
            return
        self.set(launched=True)
        waits_inside = "session-gate" in self.state.plan.adjustments
        for record in sorted(self.tasks.values(), key=lambda record: record.task):
            if waits_inside or not record.task.role.trains:
                self.start(record)
        self.go(Phase.TRAINING)

    def watch_gate(self) -> None:
        """Opens and shuts the gate. A ps that has ended of its own accord, before anybody needed it, bars nobody."""
        if not self.state.launched or self.state.phase is not Phase.TRAINING:
            return
        servers = self.of_role(Role.PS)
        is_open = all((record.ready and record.running) or record.state is TaskState.SUCCEEDED for record in servers)
        if is_open != self.state.gate:
            alive = self.state.served and not self.state.variables_lost
            self.set(gate=is_open, served=self.state.served or is_open)
            self.do(TellTask(task=None, message=protocol.Gate(open=is_open, variables_alive=alive)))
        if is_open:
            for record in self.of_role(*TRAINERS):
                if record.state is TaskState.WAITING and not self.state.stop_how:
                    self.start(record)

    def restart_the_dead(self) -> None:
        for record in list(self.tasks.values()):
            if record.state is TaskState.BACKOFF and self.now >= record.restart_at:
                if record.task.role is Role.CHIEF:
                    self.tell_gate()
                self.start(record)

    def tell_gate(self) -> None:
        """Says the gate again: a new chief must know whether live variables are to be kept."""
        alive = self.state.served and not self.state.variables_lost
        self.do(TellTask(task=None, message=protocol.Gate(open=self.state.gate, variables_alive=alive)))

    def watch_barrier(self) -> None:
        chief = next(iter(self.of_role(Role.CHIEF)))
        arrived = chief.state is TaskState.FINISHED or (chief.state is TaskState.STOPPING and chief.speaks)
        if not arrived or self.state.barrier_open:
            return
        reached = self.state.max_steps is not None and self.state.global_step >= self.state.max_steps
        if not any(self.may_train(record, reached) for record in self.of_role(Role.WORKER)):
            self.set(barrier_open=True)
            self.do(TellTask(task=chief.task, message=protocol.Barrier()))

    def may_train(self, record: TaskRecord, reached: bool) -> bool:
        """Whether a worker may still apply gradients. One that is not ready when the last step is reached will not."""
        if record.state is TaskState.FINISHED or record.state.final:
            return False
        if record.state is TaskState.STOPPING:
            return record.running and record.ready
        return record.ready if reached else True

    def watch_training(self) -> None:
        """Training is over when the success policy says so, or when it was stopped and every trainer has ended."""
        if self.state.phase is not Phase.TRAINING or not self.state.launched:
            return
        trainers = self.of_role(*TRAINERS)
        chief = next(record for record in trainers if record.task.role is Role.CHIEF)
        if all(record.state.final for record in trainers):
            self.training_over(chief)
        elif chief.state is TaskState.SUCCEEDED and self.state.plan.policy.success is Success.CHIEF:
            self.stop_late_workers()

    def stop_late_workers(self) -> None:
        """After the chief has gone nothing that workers train is saved; they get the grace period to end."""
        grace_s = self.state.plan.policy.grace_s
        if math.isinf(self.state.drain_until):
            self.set(drain_until=self.now + grace_s)
        elif self.now >= self.state.drain_until:
            for record in self.of_role(Role.WORKER):
                self.stop(record, 0.0, f"still running {grace_s:g} s after the chief had ended")

    def training_over(self, chief: TaskRecord) -> None:
        self.set(drain_until=math.inf)
        if self.state.stop_how in ("terminate", "kill") or self.state.phase is Phase.STOPPING:
            self.go(Phase.STOPPING, "stopped")
            return
        self.go(Phase.DRAINING, "training is over")
        for record in self.of_role(Role.PS):
            self.stop(record, min(2.0, self.state.plan.policy.grace_s), "training is over")
        for record in self.of_role(Role.EVALUATOR):
            if record.state in (TaskState.WAITING, TaskState.BACKOFF):
                continue
            if TaskState.DRAINING in TRANSITIONS[record.state]:
                self.move(record, TaskState.DRAINING)
        self.set(drain_until=self.now + self.state.plan.policy.evaluator_drain_s)
        self.do(TellTask(task=None, message=protocol.Drain(global_step=self.state.global_step or None)))

    def watch_drain(self) -> None:
        if self.state.phase is not Phase.DRAINING:
            return
        evaluators = self.of_role(Role.EVALUATOR)
        if all(record.state.final for record in evaluators):
            self.go(Phase.STOPPING, "evaluation is done")
            return
        for record in evaluators:
            if record.state is TaskState.STARTING and record.running and not math.isinf(self.state.drain_until):
                self.move(record, TaskState.DRAINING)
                self.do(TellTask(task=record.task, message=protocol.Drain(global_step=self.state.global_step or None)))
        if self.now >= self.state.drain_until:
            bound_s = self.state.plan.policy.evaluator_drain_s
            self.fail(causes.drain_timeout(evaluators[0].planned, bound_s), outcome=Outcome.TIMED_OUT)

    def unwind(self) -> None:
        """Stops what is left, in order: trainers, evaluator, parameter servers. Then the run ends."""
        if self.state.phase is not Phase.STOPPING:
            return
        self.set(drain_until=math.inf)
        grace_s = self.state.plan.policy.grace_s
        for roles, patience_s in ((TRAINERS, self.trainer_grace_s()), ((Role.EVALUATOR,), grace_s), ((Role.PS,), 2.0)):
            left = [record for record in self.of_role(*roles) if not record.state.final]
            for record in left:
                if record.state is not TaskState.STOPPING:
                    self.stop(record, min(patience_s, grace_s), "the run is being stopped")
            if any(not record.state.final for record in self.of_role(*roles)):
                return
        self.go(Phase.ENDED)
        self.do(End(outcome=self.state.outcome, cause=self.state.cause, how=self.state.stop_how))


_ON_TOLD: Mapping[type[protocol.Message], Callable[[_Draft, str, protocol.Message], None]] = MappingProxyType(
    {
        protocol.Reserved: _Draft.on_reserved,
        protocol.Locked: _Draft.on_locked,
        protocol.Refused: _Draft.on_refused,
        protocol.PreloadState: _Draft.on_preload,
        protocol.Started: _Draft.on_started,
        protocol.Listening: _Draft.on_listening,
        protocol.Exited: _Draft.on_exited,
        protocol.Usage: _Draft.on_usage,
        protocol.Reported: _Draft.on_reported,
    }
)

_ON_REPORT: Mapping[type[protocol.Message], Callable[[_Draft, TaskRecord, protocol.Message], None]] = MappingProxyType(
    {
        protocol.Ready: _Draft.on_ready,
        protocol.Step: _Draft.on_step,
        protocol.Finished: _Draft.on_finished,
        protocol.CheckpointSaved: _Draft.on_checkpoint,
        protocol.Evaluated: _Draft.on_evaluated,
        protocol.Waiting: _Draft.on_waiting,
        protocol.MaxSteps: _Draft.on_max_steps,
    }
)

assert set(TRANSITIONS) == set(TaskState) and len(ROLES) == 4
