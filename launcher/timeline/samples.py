"""The files in a run's ``timeline/``: each the trace of one step of one task.

They are Chrome traces, so that one can be looked at by itself; what else is known of the sample stands in
``otherData``. Those of TensorFlow's own ProfilerHook (``timeline-N.json``) are read as well.
"""

from __future__ import annotations

import base64
import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.wire.errors import UsageError
from launcher.wire.protocol import Profiled
from launcher.wire.roles import TaskId

KEPT = 20  # samples of one task; the oldest give way
_MOST_BYTES = 512 * 1024 * 1024  # of one sample, decompressed
_DEVICE = re.compile(r"(/(?:job|device)\S*)(?: Compute)?$")
_FILE = re.compile(r"(?P<task>.+?)\.(?P<attempt>\d+)-(?P<steps>\d+)\.json")
_ROLE = re.compile(r"/job:(ps|chief|worker|evaluator)/replica:\d+/task:(\d+)")


class TimelineError(UsageError):
    """There is no timeline, or none that can be read; the text says what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Op:
    """One operation that ran. Times in microseconds; ``start_us`` since the epoch, on its host's clock; ``detail``:
    what a transfer says of itself."""

    name: str
    type: str
    start_us: int
    dur_us: int
    detail: str = ""

    @property
    def end_us(self) -> int:
        return self.start_us + self.dur_us


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One traced step of ``task``. ``devices``: what ran where, parameter servers included; ``transfers``: source,
    target and bytes of what a step sends between devices, empty where that is not known; ``untraced_us``: how long a
    step before it took that was not traced; ``hooks_us``: what hooks took of such a step, by class; ``held``: bytes
    of variables by parameter server; ``delay_s``: when it was received by the supervisor's clock less when it was sent
    by the task's, None if that is not known."""

    task: str
    attempt: int = 1
    global_step: int = 0
    began_us: int
    ended_us: int
    devices: Mapping[str, tuple[Op, ...]]
    transfers: tuple[tuple[str, str, int], ...] = ()
    untraced_us: float | None = None
    hooks_us: Mapping[str, float] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    delay_s: float | None = None

    def owner(self, device: str) -> str:
        """The task that has the device: the sample's own where the session is of one process."""
        return task_of_device(device) or self.task

    def own(self) -> tuple[Op, ...]:
        """What ran in the task itself."""
        return tuple(op for device, ops in self.devices.items() if self.owner(device) == self.task for op in ops)


def task_of_device(device: str) -> str | None:
    """``worker:1`` for ``/job:worker/replica:0/task:1/device:CPU:0``; None for a device of no cluster."""
    match = _ROLE.match(device)
    return f"{match[1]}:{match[2]}" if match else None


# --- writing -----------------------------------------------------------------------------------------------------


def keep(folder: Path, task: TaskId, attempt: int, report: Profiled, received_at: float) -> Path:
    """Writes a sample that a task has sent, and removes its oldest beyond ``KEPT``. Raises ValueError if it is none."""
    try:
        body = json.loads(_decompressed(base64.b64decode(report.data, validate=True)))
        devices = {str(name): tuple(map(_op, ops)) for name, ops in body["devices"].items()}
        began_us, ended_us, steps = int(body["began_us"]), int(body["ended_us"]), int(body["steps"])
        untraced_us = body.get("untraced_us")
        hooks_us, held = _hooks(body.get("hooks_us")), _held(body.get("held"))
        transfers = [(str(source), str(target), int(size)) for source, target, size in body.get("transfers") or ()]
    except (KeyError, TypeError, AttributeError, ValueError, zlib.error) as error:
        raise ValueError(f"no sample of a timeline: {error}") from error
    other = {
        "task": task.name,
        "attempt": attempt,
        "global_step": report.global_step,
        "began_us": began_us,
        "ended_us": ended_us,
        "delay_s": round(received_at - report.sent_at, 6),
        "untraced_us": None if untraced_us is None else round(float(untraced_us), 1),
        "transfers": transfers,
        "hooks_us": hooks_us,
        "held": held,
    }
    path = folder / f"{task.slug}.{attempt}-{steps:09d}.json"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w") as stream:
        json.dump({"traceEvents": list(_events(devices)), "otherData": other}, stream, separators=(",", ":"))
    former = sorted(folder.glob(f"{task.slug}.*-*.json"), key=lambda file: file.stat().st_mtime_ns)
    for file in former[:-KEPT]:
        file.unlink(missing_ok=True)
    return path


def _decompressed(data: bytes) -> bytes:
    machine = zlib.decompressobj()
    text = machine.decompress(data, _MOST_BYTES)
    if machine.unconsumed_tail:
        raise ValueError("a sample of a timeline that is too large")
    return text


def _op(values: Any) -> Op:
    name, kind, start_us, dur_us, detail = values
    return Op(name=str(name), type=str(kind), start_us=int(start_us), dur_us=max(0, int(dur_us)), detail=str(detail))


def _hooks(found: Any) -> dict[str, float]:
    return {str(name): round(float(spent_us), 1) for name, spent_us in (found or {}).items()}


def _held(found: Any) -> dict[str, int]:
    return {str(task): int(size) for task, size in (found or {}).items()}


def _events(devices: Mapping[str, tuple[Op, ...]]) -> Iterable[dict[str, Any]]:
    for pid, (device, ops) in enumerate(sorted(devices.items())):
        yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": device}}
        for lane, op in lanes(ops):
            args = {"name": op.name, **({"detail": op.detail} if op.detail else {})}
            yield {
                "ph": "X",
                "name": op.type,
                "cat": "Op",
                "pid": pid,
                "tid": lane,
                "ts": op.start_us,
                "dur": op.dur_us,
            } | {"args": args}


def lanes(ops: Iterable[Op]) -> list[tuple[int, Op]]:
    """Each operation with the first lane that is free when it starts: slices of one lane never overlap."""
    ends: list[int] = []
    placed = []
    for op in sorted(ops, key=lambda op: (op.start_us, -op.dur_us)):
        lane = next((lane for lane, end in enumerate(ends) if end <= op.start_us), len(ends))
        if lane == len(ends):
            ends.append(0)
        ends[lane] = op.start_us + max(1, op.dur_us)
        placed.append((lane, op))
    return placed


# --- reading -----------------------------------------------------------------------------------------------------


def read_folder(folder: Path) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """The samples below a folder, by time, and what was wrong with files that are none."""
    samples, problems = [], []
    for path in sorted(folder.rglob("*.json")):
        try:
            samples.append(read_file(path))
        except TimelineError as error:
            problems.append(str(error))
    return tuple(sorted(samples, key=lambda sample: (sample.began_us, sample.task))), tuple(problems)


def read_file(path: Path) -> Sample:
    """One sample; raises TimelineError."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise TimelineError(f"{path}: no trace: {error}") from error
    except OSError as error:
        raise TimelineError(f"{path}: {error.strerror}") from error
    try:
        return _sample(path, body)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise TimelineError(f"{path}: no trace of a step: {type(error).__name__}: {error}") from error


def _sample(path: Path, body: Any) -> Sample:
    events = body["traceEvents"] if isinstance(body, dict) else body
    pids = {event["pid"]: event["args"]["name"] for event in events if event.get("name") == "process_name"}
    names = {pid: match[1] for pid, name in pids.items() if (match := _DEVICE.search(str(name)))}
    found: dict[str, list[Op]] = {name: [] for name in names.values()}
    for event in events:
        if event.get("ph") == "X" and event["pid"] in names:
            found[names[event["pid"]]].append(_op_of(event))
    devices = {name: tuple(ops) for name, ops in found.items() if ops}
    if not devices:
        raise ValueError("no device in it has run anything")
    every = [op for ops in devices.values() for op in ops]
    other: Mapping[str, Any] = (body.get("otherData") if isinstance(body, dict) else None) or {}
    return Sample(
        task=str(other["task"]) if "task" in other else _guess(path, devices),
        attempt=int(other.get("attempt", 1)),
        global_step=int(other.get("global_step", 0)),
        began_us=int(other.get("began_us", min(op.start_us for op in every))),
        ended_us=int(other.get("ended_us", max(op.end_us for op in every))),
        devices=devices,
        transfers=tuple((str(source), str(target), int(size)) for source, target, size in other.get("transfers") or ()),
        untraced_us=float(other["untraced_us"]) if other.get("untraced_us") is not None else None,
        hooks_us=_hooks(other.get("hooks_us")),
        held=_held(other.get("held")),
        delay_s=float(other["delay_s"]) if "delay_s" in other else None,
    )


def _op_of(event: Mapping[str, Any]) -> Op:
    args = event.get("args") or {}
    return Op(
        name=str(args.get("name", event["name"])),
        type=str(event["name"]),
        start_us=int(event["ts"]),
        dur_us=max(0, int(event.get("dur", 0))),
        detail=str(args.get("detail", "")),
    )


def _guess(path: Path, devices: Mapping[str, tuple[Op, ...]]) -> str:
    """Whose trace a file of TensorFlow's own hook is: the trainer's whose devices ran most in it, else its folder's."""
    counts: dict[str, int] = {}
    for device, ops in devices.items():
        task = task_of_device(device)
        if task is not None and not task.startswith("ps:"):
            counts[task] = counts.get(task, 0) + len(ops)
    if counts:
        return max(counts, key=lambda task: counts[task])
    for text in (path.parent.name, path.stem):
        try:
            return TaskId.parse(text).name
        except ValueError:
            continue
    return path.parent.name or path.stem
