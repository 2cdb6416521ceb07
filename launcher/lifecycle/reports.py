"""What agents say, and what it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from launcher import causes
from launcher.lifecycle.ends import exited
from launcher.lifecycle.hangs import answered
from launcher.lifecycle.roaming.alone import placed
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import NOT_READY, TaskRecord
from launcher.lifecycle.task_reports import ON_REPORT
from launcher.lifecycle.values import ProveTask, SeeModelDir
from launcher.record import events
from launcher.record.states import TaskState
from launcher.wire import protocol
from launcher.wire.adjustments import ROAMING
from launcher.wire.roles import TRAINERS, Role, TaskId


def on_reserved(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Reserved)
    generation = run.state.generation
    if body.generation != generation.number:
        return
    run.state.hosts[host].reserved = body.generation
    if ROAMING in run.state.plan.adjustments:
        address = run.state.hosts[host].host.address
        fresh = {TaskId.parse(name): f"{address}:{port}" for name, port in body.ports.items()}
        places = {str(task.index): place for task, place in fresh.items() if task.role is Role.PS}
        generation.ps = {**generation.ps, **places}
        placed(run, fresh)


def on_locked(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Locked)
    users = {record.planned.host for record in run.state.of_role(*TRAINERS, Role.EVALUATOR)}
    others = set() if "://" in body.path else users - {host} - run.state.lost
    run.state.generation.unseen[body.path] = others
    if others:
        run.do(SeeModelDir(path=body.path, hosts=frozenset(others)))
    else:
        run.state.generation.locked.add(body.path)
    if body.note:
        run.notice("warning" if body.emptied else "info", body.note)


def on_seen(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Seen)
    unseen = run.state.generation.unseen.get(body.path, set())
    unseen.discard(host)
    if not unseen:
        run.state.generation.locked.add(body.path)


def on_lease(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.LeaseAgreed)
    record = run.state.hosts[host]
    record.has_grace = body.grace or record.told_grace


def on_refused(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Refused)
    if body.command == "start":
        record = run.state.tasks[TaskId.parse(body.task)]
        if record.attempt.number == body.attempt and record.alive:
            record.attempt.running = False
            run.move(record, TaskState.FAILED, reason=body.message)
            run.fail(causes.not_started(body.task, host, body.message))
        return
    run.fail(causes.refused(host, body))


def on_preload(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.PreloadState)
    run.record(
        events.PreloadChanged(
            host=host, key=body.key, state=body.state, pid=body.pid, seconds=body.seconds, message=body.message
        )
    )


def current(run: Run, task: str, attempt: int) -> TaskRecord | None:
    """The record of that task, if ``attempt`` is its present one and its process may be alive."""
    record = run.state.tasks[TaskId.parse(task)]
    return record if record.attempt.number == attempt and record.alive else None


def on_started(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Started)
    record = current(run, body.task, body.attempt)
    if record is None:
        return
    record.attempt.running = True
    record.attempt.started_at = run.now
    run.say(record, pid=body.pid, start=body.start)
    if record.task.role is Role.PS and record.state is TaskState.STARTING:
        run.do(ProveTask(task=record.task, attempt=record.attempt.number))


def on_listening(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Listening)
    record = current(run, body.task, body.attempt)
    if record is not None and record.state in NOT_READY:
        record.attempt.ready = True
        run.move(record, TaskState.READY)


def on_exited(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Exited)
    record = current(run, body.task, body.attempt)
    if record is not None:
        exited(run, record, body)


def on_stacks(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Stacks)
    record = run.state.tasks[TaskId.parse(body.task)]
    if record.attempt.number == body.attempt:
        answered(run, record, body)


def on_usage(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Usage)
    run.record(events.UsageSampled(host=host, cpu=body.cpu, rss_mib=body.rss_mib))


def on_connected(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Connected)
    record = current(run, body.task, body.attempt)
    if record is not None and not record.attempt.speaks:
        record.attempt.speaks = True


def on_reported(run: Run, host: str, body: protocol.Message) -> None:
    assert isinstance(body, protocol.Reported)
    record = current(run, body.task, body.attempt)
    handler = ON_REPORT.get(type(body.report))
    if record is None or handler is None:
        return
    if not record.attempt.speaks:
        record.attempt.speaks = True
    if record.task.role.trains and not run.state.spoken:
        run.state.spoken = True
    handler(run, record, body.report)


ON_TOLD: Mapping[type[protocol.Message], Callable[[Run, str, protocol.Message], None]] = MappingProxyType(
    {
        protocol.Reserved: on_reserved,
        protocol.Locked: on_locked,
        protocol.Seen: on_seen,
        protocol.LeaseAgreed: on_lease,
        protocol.Refused: on_refused,
        protocol.PreloadState: on_preload,
        protocol.Started: on_started,
        protocol.Listening: on_listening,
        protocol.Exited: on_exited,
        protocol.Stacks: on_stacks,
        protocol.Usage: on_usage,
        protocol.Connected: on_connected,
        protocol.Reported: on_reported,
    }
)
