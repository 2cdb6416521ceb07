"""One trace of a whole run: what the launcher saw, and every sample, on one clock.

The format is that of chrome://tracing, which Perfetto reads as well ("Trace Event Format", Google). A process of the
trace is a task, or the launcher; slices of one thread never overlap, which both viewers need.

Clocks: samples carry their host's. Where a sample arrived before it was sent, or long after, the host's clock is off
by about that much, and what ran in the task is moved; on one machine nothing is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from launcher.record import events as ev
from launcher.record.states import TaskState
from launcher.timeline.samples import Op, Sample, lanes
from launcher.wire.roles import ROLES, TaskId

LAUNCHER_PID = 1
_FIRST_TASK_PID = 10
_STATE_LANE = 0
_FIRST_OP_LANE = 10
_LANES_PER_TRAINER = 1000
_PLAUSIBLE_DELAY_S = 0.25

Event = dict[str, Any]


def merge(recorded: Sequence[ev.Recorded], samples: Sequence[Sample]) -> dict[str, Any]:
    """The trace, as the JSON object that viewers open. Times in it count from the first thing that happened."""
    shifts = clock_shifts(samples)
    starts = [_us(item) for item in recorded[:1]] + [sample.began_us + shifts[sample.task] for sample in samples]
    origin_us = min(starts, default=0)
    names = _task_names(recorded, samples)
    pids = {name: _FIRST_TASK_PID + number for number, name in enumerate(names)}
    made = [*_processes(pids), *_launcher_events(recorded, pids), *_op_events(samples, pids, shifts)]
    for event in made:
        if "ts" in event:
            event["ts"] -= origin_us
    made.sort(key=lambda event: (event.get("ts", -1), -event.get("dur", 0)))
    return {"displayTimeUnit": "ms", "traceEvents": made, "otherData": {"began_us": origin_us, "made_by": "tflaunch"}}


def clock_shifts(samples: Sequence[Sample]) -> dict[str, int]:
    """What to add to the times of each task's host, in microseconds: 0 where its clock agrees with ours."""
    shifts = {}
    for task in {sample.task for sample in samples}:
        delays = [sample.delay_s for sample in samples if sample.task == task and sample.delay_s is not None]
        least = min(delays, default=0.0)
        shifts[task] = 0 if 0 <= least < _PLAUSIBLE_DELAY_S else round(least * 1e6)
    return shifts


def _us(item: ev.Recorded) -> int:
    return round(item.at.timestamp() * 1e6)


def _task_names(recorded: Sequence[ev.Recorded], samples: Sequence[Sample]) -> list[str]:
    names = {
        str(task["task"]) for item in recorded if isinstance(item.event, ev.RunStarted) for task in item.event.tasks
    }
    names |= {sample.owner(device) for sample in samples for device in sample.devices} | {item.task for item in samples}
    return sorted(names, key=_order)


def _order(name: str) -> tuple[int, int, str]:
    try:
        task = TaskId.parse(name)
    except ValueError:
        return len(ROLES), 0, name
    return ROLES.index(task.role), task.index, ""


def _processes(pids: dict[str, int]) -> Iterator[Event]:
    for name, pid in {"launcher": LAUNCHER_PID, **pids}.items():
        yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}}


def _thread(pid: int, tid: int, name: str) -> Event:
    return {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}


# --- what the launcher saw ---------------------------------------------------------------------------------------


def _launcher_events(recorded: Sequence[ev.Recorded], pids: dict[str, int]) -> Iterator[Event]:
    end_us = _us(recorded[-1]) if recorded else 0
    open_states: dict[str, tuple[str, ev.TaskChanged, int]] = {}
    phase: tuple[str, int] | None = None
    if recorded:
        yield _thread(LAUNCHER_PID, _STATE_LANE, "phase")
        yield _thread(LAUNCHER_PID, 1, "events")
        yield from (_thread(pid, _STATE_LANE, "state") for pid in pids.values())
    for item in recorded:
        event, at_us = item.event, _us(item)
        if isinstance(event, ev.TaskChanged) and event.task in pids:
            if event.task in open_states:
                yield _state(open_states.pop(event.task), at_us, pids)
            if not TaskState(event.state).final:
                open_states[event.task] = (event.state, event, at_us)
            if event.state in (TaskState.BACKOFF, TaskState.FAILED):
                yield _instant(
                    "restart" if event.state == TaskState.BACKOFF else "failed", pids[event.task], at_us, event
                )
        elif isinstance(event, ev.PhaseChanged):
            if phase is not None:
                yield _slice(phase[0], LAUNCHER_PID, phase[1], at_us)
            phase = (event.phase, at_us)
        elif isinstance(event, _INSTANTS):
            task = getattr(event, "task", None)
            yield _instant(event.kind.replace("_", " "), pids.get(task or "", LAUNCHER_PID), at_us, event)
        yield from _counters(event, at_us, pids)
    for waiting in open_states.values():
        yield _state(waiting, end_us, pids)
    if phase is not None:
        yield _slice(phase[0], LAUNCHER_PID, phase[1], end_us)


_INSTANTS = (
    ev.CheckpointWritten,
    ev.EvaluationDone,
    ev.Recovered,
    ev.TasksMoved,
    ev.MoveOver,
    ev.Scaled,
    ev.DrillFired,
    ev.StopRequested,
    ev.Noticed,
    ev.HostChanged,
    ev.GenerationBound,
    ev.RunEnded,
)
_SHOWN = (
    "attempt",
    "pid",
    "host",
    "reason",
    "exit_code",
    "signal",
    "global_step",
    "path",
    "metrics",
    "message",
    "outcome",
)


def _args(event: ev.RunEvent) -> dict[str, Any]:
    values = ((name, getattr(event, name, None)) for name in _SHOWN)
    return {name: value for name, value in values if value not in (None, "", {})}


def _state(opened: tuple[str, ev.TaskChanged, int], end_us: int, pids: dict[str, int]) -> Event:
    name, event, start_us = opened
    return {**_slice(name, pids[event.task], start_us, end_us), "args": _args(event)}


def _slice(name: str, pid: int, start_us: int, end_us: int) -> Event:
    return {
        "ph": "X",
        "name": name,
        "cat": "run",
        "pid": pid,
        "tid": 0,
        "ts": start_us,
        "dur": max(0, end_us - start_us),
    }


def _instant(name: str, pid: int, at_us: int, event: ev.RunEvent) -> Event:
    lane = 1 if pid == LAUNCHER_PID else _STATE_LANE
    return {"ph": "i", "s": "p", "name": name, "cat": "run", "pid": pid, "tid": lane, "ts": at_us, "args": _args(event)}


def _counters(event: ev.RunEvent, at_us: int, pids: dict[str, int]) -> Iterator[Event]:
    if isinstance(event, ev.UsageSampled):
        for task, cores in event.cpu.items():
            if task in pids:
                yield _counter("cpu (cores)", pids[task], at_us, round(cores, 3))
    elif isinstance(event, ev.Progressed) and event.task in pids:
        yield _counter("global step", pids[event.task], at_us, event.global_step)


def _counter(name: str, pid: int, at_us: int, value: float) -> Event:
    return {"ph": "C", "name": name, "pid": pid, "tid": 0, "ts": at_us, "args": {"value": value}}


# --- what the tasks saw ------------------------------------------------------------------------------------------


def _op_events(samples: Sequence[Sample], pids: dict[str, int], shifts: dict[str, int]) -> Iterator[Event]:
    seen: set[tuple[int, int]] = set()
    trainers = {name: number for number, name in enumerate(sorted({sample.task for sample in samples}, key=_order))}
    for owner, sample, ops in _by_owner(samples):
        pid, shift = pids[owner], shifts[sample.task] if owner == sample.task else 0
        foreign = owner != sample.task
        base = _FIRST_OP_LANE + (trainers[sample.task] + 1) * _LANES_PER_TRAINER * foreign
        for lane, op in lanes(ops):
            tid = base + lane
            if (pid, tid) not in seen:
                seen.add((pid, tid))
                yield _thread(pid, tid, f"for {sample.task}" if foreign else "ops")
                yield {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}
            yield _op_event(op, pid, tid, shift, sample)


def _by_owner(samples: Sequence[Sample]) -> Iterable[tuple[str, Sample, list[Op]]]:
    """Per sample and task, all that ran there; samples of one task do not overlap, so that lanes can be shared."""
    for sample in samples:
        owners: dict[str, list[Op]] = {}
        for device, ops in sample.devices.items():
            owners.setdefault(sample.owner(device), []).extend(ops)
        yield from ((owner, sample, ops) for owner, ops in owners.items())


def _op_event(op: Op, pid: int, tid: int, shift: int, sample: Sample) -> Event:
    args: dict[str, Any] = {"name": op.name, "global_step": sample.global_step}
    if op.detail:
        args["detail"] = op.detail
    ts = op.start_us + shift
    return {"ph": "X", "name": op.type, "cat": "op", "pid": pid, "tid": tid, "ts": ts, "dur": op.dur_us, "args": args}
