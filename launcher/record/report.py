"""What is said about a run as a whole: ``report.json`` and ``status --json``.

Both are made from a ``RunView``, so a run whose supervisor was killed is explained from the events that it left.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from launcher.record.course.parameters import parameters_of
from launcher.record.course.parts import part_of
from launcher.record.drill_view import DrillView
from launcher.record.events import Scaled
from launcher.record.kept import At
from launcher.record.reachable import unreachable
from launcher.record.reading import load_view
from launcher.record.runs import RunFolder, elsewhere, is_live, write_private
from launcher.record.states import Outcome, TaskState
from launcher.record.task_view import AttemptView, TaskView
from launcher.record.view import RunView
from launcher.wire import protocol
from launcher.wire.protocol import JsonValue
from launcher.wire.text import harmless

SERVER, NOTHING = "server", "none"
SHAPES = {
    protocol.COLLECTIVE: "collective",
    protocol.COORDINATOR: "coordinator",
    protocol.ESTIMATOR: "Estimator",
    protocol.SESSION: "monitored sessions",
    protocol.TENSORFLOW: "TensorFlow",
    SERVER: "servers",
    NOTHING: "no TensorFlow seen",
}


# --- report.json -------------------------------------------------------------------------------------------------


def build_report(view: RunView, folder: RunFolder, *, live: bool = False) -> dict[str, Any]:
    """The report. A run that has not said how it ended is ``lost``, unless it is ``live``: then it has no outcome."""
    outcome = outcome_of(view, live=live)
    return {
        "outcome": outcome.value if outcome else None,
        "exit_code": view.ended.exit_code if view.ended else None,
        "duration_s": round(view.elapsed_s(view.last_at), 3),
        "global_step": view.global_step,
        "shape": shape_of(view),
        "cause": cause_of(view, live=live),
        "knock_on": [task.task.name for task in knocked_on(view)],
        "run": view.run or folder.run,
        "name": view.name,
        "parts": _parts(view, outcome),
        "started": _utc(view.started_at) if view.started else None,
        "ended": _utc(view.ended_at) if outcome and view.started else None,
        "model_dir": view.model_dir,
        "command": list(view.started.command) if view.started else [],
        "version": view.started.version if view.started else "",
        "hosts": [{"host": host.name, "state": host.state, "facts": host.facts} for host in view.hosts.values()],
        "generation": view.generation,
        "tasks": [_task(task) for task in view.ordered()],
        "moves": [_fields(kept) for kept in view.moves],
        "recoveries": [_fields(kept) for kept in view.recoveries if not isinstance(kept.event, Scaled)],
        "scalings": [_fields(kept) for kept in view.recoveries if isinstance(kept.event, Scaled)],
        "input": _input(view),
        "metrics": _metrics(view),
        "checkpoints": [_fields(kept) for kept in list(view.checkpoints)[-5:]],
        "notices": [_fields(kept) for kept in view.notices],
        "drills": [_drill(drill) for drill in view.drills.values()],
        "files": {"run_dir": str(folder.path), "events": str(folder.events), "logs": str(folder.logs)},
    }


def write_report(view: RunView, folder: RunFolder, path: Path | None = None) -> dict[str, Any]:
    """Builds the report of a run that has ended and writes it, as a whole (0600), to the folder or to that ``path``.
    Raises OSError."""
    report: dict[str, Any] = _plain(build_report(view, folder))
    write_private(path or folder.report, json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return report


def outcome_of(view: RunView, *, live: bool = False) -> Outcome | None:
    """How the run ended; None while it is ``live``; lost when it never said."""
    return view.outcome or (None if live and not view.ended else Outcome.LOST)


def name_for_commands(folder: Path) -> str:
    """What ``tflaunch logs`` and the like find the run in that folder by."""
    return folder.name if folder.parent.name == "runs" else str(folder)


def shape_of(view: RunView) -> str | None:
    """What the program is, by what its trainers use (a key of ``SHAPES``); None while nothing is known."""
    trainers = [task for task in view.tasks.values() if task.task.role.trains]
    seen = {task.uses for task in trainers}
    silent = view.ended is not None and all(task.local_steps is None for task in trainers)
    return next((shape for shape in SHAPES if shape in seen), NOTHING if silent else None)


def cause_of(view: RunView, *, live: bool = False) -> dict[str, Any] | None:
    """The first cause; None if there is none."""
    if view.ended:
        return dict(view.ended.cause) if view.ended.cause is not None else None
    if live:
        return None
    pid, host = (view.started.pid, view.started.host) if view.started else (None, None)
    name = name_for_commands(Path(view.started.run_dir)) if view.started else ""
    return {
        "task": None,
        "host": host,
        "kind": "lost",
        "exit": None,
        "message": f"the supervisor{f' (pid {pid})' if pid else ''} died without a word; known is what it had written",
        "advice": f"go on from its last checkpoint: tflaunch resume {name}".rstrip(),
    }


def knocked_on(view: RunView) -> list[TaskView]:
    """The tasks that failed besides the first cause."""
    cause = cause_of(view) or {}
    return [task for task in view.ordered() if task.state is TaskState.FAILED and task.task.name != cause.get("task")]


def _parts(view: RunView, outcome: Outcome | None) -> list[dict[str, Any]]:
    """Each time that the run was started; the last as far as it is known."""
    parts = list(view.parts)
    if view.started is not None:
        parts.append(part_of(view.started, view.part_at, view.last_at, view.ended, view.global_step))
    made = [
        {
            "part": part.number,
            "started": _utc(part.started_at),
            "ended": _utc(part.ended_at),
            "outcome": part.outcome,
            "exit_code": part.exit_code,
            "duration_s": round(part.duration_s, 3),
            "global_step": part.global_step,
            "version": part.version,
            "cause": None if part.cause is None else dict(part.cause),
        }
        for part in parts
    ]
    if made and outcome is None:
        made[-1].update(ended=None, outcome=None)
    return made


def _task(task: TaskView) -> dict[str, Any]:
    return {
        "task": task.task.name,
        "host": task.host,
        "state": task.state.value,
        "uses": task.uses or None,
        "attempts": [_attempt(attempt) for attempt in task.attempts],
        "restarts": task.restarts,
        "global_step": task.global_step,
        "local_steps": task.local_steps,
        "examples": task.examples,
        "waiting": None if task.mean_waiting is None else round(task.mean_waiting, 4),
    }


def _attempt(attempt: AttemptView) -> dict[str, Any]:
    return {
        "started": _utc(attempt.started),
        "ended": None if attempt.ended is None else _utc(attempt.ended),
        "exit": attempt.exit,
        "signal": attempt.signal,
        "host": attempt.host,
        "pid": attempt.pid,
        "start": attempt.start,
        "reason": attempt.reason,
        "generation": attempt.generation,
    }


def _input(view: RunView) -> dict[str, Any]:
    if view.input is None:
        return {"examples": view.examples, "duplicates": None, "skipped": None}
    return {name: getattr(view.input, name) for name in view.input.fields}


def _metrics(view: RunView) -> dict[str, Any] | None:
    done = view.evaluation
    return None if done is None else {"global_step": done.global_step, **done.metrics}


def _drill(drill: DrillView) -> dict[str, Any]:
    from launcher.spec import drills  # whoever only looks at a run need not wait for all that reads a spec

    fired = drill.fired
    return {
        "at": None if drill.fired_at is None else _utc(drill.fired_at),
        "fault": drill.fault,
        "task": fired.task if fired else drills.parse(drill.fault).task.name,
        "global_step": fired.global_step if fired else None,
        "message": fired.message if fired else "",
        "detected_after_s": drill.detected_s,
        "recovered_after_s": drill.recovered_s,
        "steps_lost": drill.steps_lost,
    }


def _fields(kept: At) -> dict[str, Any]:
    return {"at": _utc(kept.at), **{name: getattr(kept.event, name) for name in kept.event.fields}}


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    """JSON has no NaN or infinity: they become null. Who prints a text of the report gets no escape sequences of
    tasks or hosts."""
    if isinstance(value, Mapping):
        return {harmless(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return harmless(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- status ------------------------------------------------------------------------------------------------------


def board_of(view: RunView, *, live: bool) -> str | None:
    """Where its TensorBoard answers now."""
    return view.board.url if live and view.board is not None and view.board.state == "up" else None


def status_json(view: RunView, *, live: bool = True) -> dict[str, JsonValue]:
    """What ``tflaunch status --json`` prints. Tasks that nobody has seen end were lost with the launcher."""
    outcome = outcome_of(view, live=live)
    lost = {task.task for task in view.ordered() if outcome is Outcome.LOST and not task.state.final}
    return {
        "run": view.run,
        "part": len(view.parts) + 1,
        "outcome": outcome.value if outcome else None,
        "phase": view.phase.value,
        "started": _utc(view.started_at) if view.started else None,
        "ended": _utc(view.ended_at) if outcome and view.started else None,
        "duration_s": round(view.elapsed_s(view.last_at if outcome else max(view.last_at, time.time())), 3),
        "exit_code": view.ended.exit_code if view.ended else None,
        "cause": cause_of(view, live=live),
        "global_step": view.global_step,
        "max_steps": view.max_steps,
        "shape": shape_of(view),
        "tensorboard": board_of(view, live=live),
        "parameters": dict(parameters_of(view.started.command)) if view.started else {},
        "metrics": _metrics(view),
        "tasks": [
            {
                "task": task.task.name,
                "host": task.host,
                "pid": None if task.task in lost else task.pid,
                "state": Outcome.LOST.value if task.task in lost else task.state.value,
                "uses": task.uses or None,
                "restarts": task.restarts,
                "global_step": task.global_step,
                "examples": task.examples,
            }
            for task in view.ordered()
        ],
    }


def status_of(folder: RunFolder) -> dict[str, JsonValue]:
    """The status of a run from its folder alone, live or not. ``note``: what else is to be known of a live one."""
    view, away = load_view(folder), elsewhere(folder)
    status = status_json(view, live=is_live(folder) or bool(away))
    note = "" if view.ended else f"on {away}, seen from here only by its files" if away else unreachable(folder)
    return {**status, "run": view.run or folder.run, "note": note or None}
