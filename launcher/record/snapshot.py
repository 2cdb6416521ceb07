"""The view of a run in a file, so that whoever looks reads what is new, not what is old.

The first line says what it covers: the number of the last event, the byte of ``events.jsonl`` and the rows of the rings
from which to go on, and a checksum of the second line, the view. A file that is missing, damaged, of another version or
not of these events is passed over: then all is read.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launcher.record import events as ev
from launcher.record.course.parts import Part
from launcher.record.drill_view import DrillView
from launcher.record.kept import At, HostView
from launcher.record.rates import Rate
from launcher.record.states import Phase, TaskState
from launcher.record.task_view import AttemptView, TaskView
from launcher.record.view import RunView
from launcher.wire.protocol import ProtocolError, from_json, to_json
from launcher.wire.roles import TaskId

_FORM = 1
_PLAIN = (
    "started_at", "part_at", "last_at", "n", "phase_reason", "max_steps", "model_dir", "generation", "ports",
    "checkpoint_count",
)  # fmt: skip
_EVENTS = ("started", "input", "stop", "board", "ended")
_KEPT = ("evaluations", "checkpoints", "notices", "news", "recoveries", "moves")
_TASK_PLAIN = (
    "host", "since", "pid", "attempt", "cpu", "rss_mib", "global_step", "loss", "waiting", "uses", "problem", "tail",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """``offset``: of the first byte of ``events.jsonl`` that ``view`` does not know; ``places``: as ``SampleReader``
    has them."""

    view: RunView
    offset: int
    places: Mapping[str, int]


def save(path: Path, snapshot: Snapshot) -> None:
    """Replaces the file as a whole (0600). After a loss of power it may be damaged: nothing waits for the disk. Raises
    OSError."""
    body = json.dumps(_view_json(snapshot.view), separators=(",", ":")).encode()
    head = {"form": _FORM, "n": snapshot.view.n, "offset": snapshot.offset, "places": dict(snapshot.places)}
    data = json.dumps({**head, "crc": zlib.crc32(body)}).encode() + b"\n" + body
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as stream:
            stream.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: Path, events: Path) -> Snapshot | None:
    """The snapshot, if it is whole and of these events."""
    try:
        first, _, body = path.read_bytes().partition(b"\n")
        head = json.loads(first)
        offset = int(head["offset"])
        if head["form"] != _FORM or head["crc"] != zlib.crc32(body) or not _ends_a_line(events, offset):
            return None
        view = _view(json.loads(body))
        return Snapshot(view=view, offset=offset, places={str(k): int(n) for k, n in head["places"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ProtocolError, RecursionError):
        return None


def _ends_a_line(events: Path, offset: int) -> bool:
    with events.open("rb") as stream:
        stream.seek(offset - 1)
        return stream.read(1) == b"\n"


def _view_json(view: RunView) -> dict[str, Any]:
    return {
        **{name: getattr(view, name) for name in _PLAIN},
        "phase": view.phase.value,
        **{name: _event_json(getattr(view, name)) for name in _EVENTS},
        **{name: [[kept.at, _event_json(kept.event)] for kept in getattr(view, name)] for name in _KEPT},
        "hosts": [asdict(host) for host in view.hosts.values()],
        "preloads": [_event_json(preload) for preload in view.preloads.values()],
        "drills": [_drill_json(number, drill) for number, drill in view.drills.items()],
        "loss": view.loss.dump(),
        "rates": [rate.ends() for rate in view.pace.rates],
        "parts": [asdict(part) for part in view.parts],
        "tasks": [_task_json(task) for task in view.tasks.values()],
    }


def _view(body: Mapping[str, Any]) -> RunView:
    view = RunView()
    for name in _PLAIN:
        setattr(view, name, body[name])
    view.phase = Phase(body["phase"])
    for name in _EVENTS:
        setattr(view, name, _event(body[name]))
    for name in _KEPT:
        kept: deque[At] = getattr(view, name)
        kept.extend(At(at, event) for at, raw in body[name] if (event := _event(raw)) is not None)
    view.hosts = {host["name"]: HostView(**host) for host in body["hosts"]}
    for preload in map(_event, body["preloads"]):
        if isinstance(preload, ev.PreloadChanged):
            view.preloads[preload.host, preload.key] = preload
    view.drills = {drill[0]: _drill(drill) for drill in body["drills"]}
    view.loss.load(body["loss"])
    for rate, ends in zip(view.pace.rates, body["rates"], strict=True):
        _fill(rate, ends)
    view.parts = [Part(**part) for part in body["parts"]]
    view.tasks = {task.task: task for task in map(_task, body["tasks"])}
    return view


def _task_json(task: TaskView) -> dict[str, Any]:
    return {
        **{name: getattr(task, name) for name in _TASK_PLAIN},
        "task": task.task.name,
        "state": task.state.value,
        "attempts": [[getattr(attempt, name) for name in AttemptView.__slots__] for attempt in task.attempts],
        "rates": [task.step_rate.ends(), task.example_rate.ends()],
    }


def _task(body: Mapping[str, Any]) -> TaskView:
    task = TaskView(TaskId.parse(body["task"]))
    for name in _TASK_PLAIN:
        setattr(task, name, body[name])
    task.state = TaskState(body["state"])
    for values in body["attempts"]:
        attempt = AttemptView(**dict(zip(AttemptView.__slots__, values, strict=True)))
        attempt.waits = (attempt.waits[0], attempt.waits[1])
        task.attempts.append(attempt)
    _fill(task.step_rate, body["rates"][0])
    _fill(task.example_rate, body["rates"][1])
    return task


def _fill(rate: Rate, ends: list[list[float]]) -> None:
    for at, value in ends:
        rate.add(at, value)


def _drill_json(number: int, drill: DrillView) -> list[Any]:
    return [number, drill.fault, drill.fired_at, _event_json(drill.fired), _event_json(drill.over)]


def _drill(values: list[Any]) -> DrillView:
    _, fault, fired_at, raw_fired, raw_over = values
    fired, over = _event(raw_fired), _event(raw_over)
    return DrillView(
        fault,
        fired_at,
        fired if isinstance(fired, ev.DrillFired) else None,
        over if isinstance(over, ev.DrillOver) else None,
    )


def _event_json(event: ev.RunEvent | None) -> dict[str, Any] | None:
    return None if event is None else to_json(event)


def _event(body: Any) -> ev.RunEvent | None:
    event = None if body is None else from_json(body)
    return event if isinstance(event, ev.RunEvent) else None
