"""The end of a run in a few lines, for people: how it went, where things are, and for a failure the one cause."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.record.drill_view import table
from launcher.record.events import MoveOver, Noticed, Scaled, TasksMoved
from launcher.record.report import cause_of, knocked_on, name_for_commands, outcome_of
from launcher.record.runs import RunFolder
from launcher.record.states import Outcome
from launcher.record.view import RunView
from launcher.views.spans import Line, ansi, count, duration, number, places
from launcher.wire.roles import chief_of
from launcher.wire.text import harmless, one_line

SHOWN_LINES = 12
SHOWN_RESTARTS = 5
SHOWN_WARNINGS = 3
METRICS_WIDTH = 100
OUTCOME_STYLES = {
    Outcome.SUCCEEDED: "bold green",
    Outcome.FAILED: "bold red",
    Outcome.TIMED_OUT: "bold red",
    Outcome.INTERRUPTED: "bold yellow",
    Outcome.LOST: "bold red",
}


def summary(view: RunView, folder: RunFolder, *, color: bool = False) -> str:
    """``summary_lines`` as one text with a newline at its end."""
    return "".join(ansi(line, color=color) + "\n" for line in summary_lines(view, folder))


def summary_lines(view: RunView, folder: RunFolder) -> list[Line]:
    """The end of a run in a few lines: how it went, where things are, and for a failure the one cause."""
    outcome = outcome_of(view) or Outcome.LOST
    head = [duration(view.elapsed_s(view.last_at))]
    if view.global_step is not None:
        head.append(f"global step {view.global_step:,}")
    if view.examples:
        head.append(f"{count(view.examples)} examples")
    if restarts := sum(task.restarts for task in view.tasks.values()):
        head.append(f"{restarts} restart{'s' if restarts > 1 else ''}")
    words = outcome.value.replace("_", " ")
    lines: list[Line] = [
        ((one_line(f"{view.name or folder.run} {words}"), OUTCOME_STYLES[outcome]), (f"  {', '.join(head)}", ""))
    ]
    ending = (_end_lines, _checked_lines, _cause_lines, _warning_lines)
    course = (_move_lines, _restart_lines, _drill_lines, _metric_lines)
    lines += itertools.chain.from_iterable(part(view) for part in (*ending, *course))
    return lines + _place_lines(view, folder)


def _end_lines(view: RunView) -> list[Line]:
    """Why the chief ended training when neither its steps nor its input were used up."""
    chief = view.tasks.get(chief_of(view.tasks))
    reason = chief.attempts[-1].reason if chief and chief.attempts else ""
    return [_row("ended", reason)] if reason and outcome_of(view) is Outcome.SUCCEEDED else []


def _checked_lines(view: RunView) -> list[Line]:
    """Of a success that nothing but exit codes tells of."""
    trainers = [task for task in view.ordered() if task.task.role.trains]
    if outcome_of(view) is not Outcome.SUCCEEDED or any(task.local_steps is not None for task in trainers):
        return []
    return [_row("checked", "nothing but exit codes: no task has said that it trains")]


def _cause_lines(view: RunView) -> list[Line]:
    cause = cause_of(view)
    if cause is None:
        return []
    message, host = str(cause.get("message", "")), cause.get("host")
    where = f" on {host}" if host and len(view.hosts) > 1 and not message.startswith(f"host {host}: ") else ""
    lines = [_row("cause", f"{message}{where}", "red")]
    task = next((task for task in view.ordered() if task.task.name == cause.get("task")), None)
    tail = str(cause.get("tail") or (task.tail if task else ""))
    for text in harmless(tail).rstrip().splitlines()[-SHOWN_LINES:]:
        lines.append((("          | ", "red"), (text.expandtabs(), "dim")))
    if cause.get("advice"):
        lines.append(_row("to do", str(cause["advice"]), "yellow"))
    for name, lost in view.hosts.items():
        if lost.state == "lost" and name != host:
            lines.append(_row("also", f"host {name}: {lost.message}", "red"))
    return lines + _followed_lines(view, cause)


def _followed_lines(view: RunView, cause: Mapping[str, Any]) -> list[Line]:
    """What failed besides: how many, and the first ones in a few words."""
    folded = list(cause.get("knock_on") or ())
    named = {str(failure.get("task")) for failure in folded}
    folded += [{"task": task.task.name} for task in knocked_on(view) if task.task.name not in named]
    if not folded:
        return []
    names = list(dict.fromkeys(str(failure.get("task") or "the run") for failure in folded))
    words = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    times = f"{len(folded)} failures: " if len(folded) > 1 else ""
    return [_row("followed", f"{times}{words} failed as a consequence or later", "dim")]


def _warning_lines(view: RunView) -> list[Line]:
    """What the run went on in spite of."""
    told = [kept.event for kept in view.notices if isinstance(kept.event, Noticed) and kept.at >= view.part_at]
    texts = list(dict.fromkeys(event.message for event in told if event.severity != "info"))
    lines = [_row("warning", text, "yellow") for text in texts[-SHOWN_WARNINGS:]]
    return lines + [_row("", f"and {len(texts) - len(lines)} before")] * (len(texts) > len(lines))


def _move_lines(view: RunView) -> list[Line]:
    """The hosts that were lost, where their tasks went, and what that has cost."""
    lines: list[Line] = []
    for event in (kept.event for kept in view.moves):
        if isinstance(event, TasksMoved):
            lines.append(_row("lost", f"host {event.host}: {places(event.tasks)}", "yellow"))
    for event in (kept.event for kept in view.recoveries):
        if isinstance(event, MoveOver):
            rolled = f"{event.steps_rolled_back:,} steps rolled back"
            lines.append(_row("", f"training went on after {event.recovered_s:.1f} s, {rolled}{costs(event)}"))
        elif isinstance(event, Scaled):
            words = f"{event.before} to {event.after} workers within {event.lasted_s:.1f} s{costs(event)}"
            lines.append(_row("scaled", words))
    return lines


def costs(event: MoveOver | Scaled) -> str:
    """What others paid for it: the longest time in which one of them trained nothing, and what is trained again."""
    idle_s = max(event.idle_s.values(), default=0.0)
    who = next((task for task, seconds in event.idle_s.items() if seconds == idle_s), "")
    words = f"; {who} trained nothing for {idle_s:.1f} s" if who else ""
    return f"{words}, {event.examples_again:,} examples again" if event.examples_again else words


def _restart_lines(view: RunView) -> list[Line]:
    """Who was started again, how often, and why the last time."""
    lines: list[Line] = []
    for task in view.ordered():
        if task.restarts:
            times = "once" if task.restarts == 1 else f"{task.restarts} times"
            reason = (
                task.restarted[-1].reason.partition("; starting again")[0].removeprefix(task.task.name).lstrip(": ")
            )
            lines.append(_row("restarts", f"{task.task.name} {times}" + (f": {reason}" if reason else "")))
    shown = lines[:SHOWN_RESTARTS]
    return shown + [_row("", f"and {len(lines) - len(shown)} more tasks")] * (len(lines) > len(shown))


def _drill_lines(view: RunView) -> list[Line]:
    """One line each, under their heads."""
    lines = table(tuple(view.drills.values()))
    return [_row("drills" if number == 0 else "", text) for number, text in enumerate(lines)]


def _metric_lines(view: RunView) -> list[Line]:
    done = view.evaluation
    if done is None:
        return []
    texts = [f"{name} {number(value)}" for name, value in done.metrics.items() if name != "global_step"]
    column = max(map(len, texts), default=0) + 2
    per_line = max(1, METRICS_WIDTH // column)
    rows = [texts[start : start + per_line] for start in range(0, len(texts), per_line)]
    lines = ["".join(text.ljust(column) for text in row).rstrip() for row in rows]
    at = f"at step {done.global_step:,}"
    lines = [f"{lines[0]}  ({at})"] if len(lines) == 1 else [f"{at}:", *lines]
    return [_row("" if index else "metrics", line) for index, line in enumerate(lines)]


def _place_lines(view: RunView, folder: RunFolder) -> list[Line]:
    model_dir = view.model_dir
    lines = [_row("logs", str(folder.logs))]
    if model_dir:
        lines.insert(0, _row("model", model_dir))
        lines += [_row("exports", str(path)) for path in exports(Path(model_dir))[:3]]
        lines.append(_row("events", f"tensorboard --logdir {model_dir}"))
    lines.append(_row("report", str(folder.report)))
    outcome = outcome_of(view)
    if outcome is Outcome.INTERRUPTED or (outcome is not Outcome.SUCCEEDED and view.global_step):
        lines.append(_row("resume", f"tflaunch resume {name_for_commands(folder.path)}"))
    return lines


def exports(model_dir: Path) -> list[Path]:
    """The newest SavedModel of every exporter (``export/<name>/<timestamp>``), as Estimator lays them out."""
    try:
        found = [exporter for exporter in (model_dir / "export").iterdir() if exporter.is_dir()]
        newest = [max((p for p in exporter.iterdir() if p.name.isdigit()), default=None) for exporter in found]
    except (OSError, ValueError):  # a name with a null byte is no folder
        return []
    return sorted(path for path in newest if path is not None)


def _row(title: str, text: str, style: str = "") -> Line:
    return ((f"  {title:<8}  ", style or "dim"), (one_line(text), style if style == "dim" else ""))
