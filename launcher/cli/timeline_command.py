"""``tflaunch timeline``: one trace of a run, and where the time went."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.record import runs
from launcher.record.events import Recorded
from launcher.record.reading import everything
from launcher.timeline.merge import merge
from launcher.timeline.samples import Sample, TimelineError, read_folder
from launcher.timeline.verdict import COMPUTE, INPUT, OTHER, SERVERS, Verdict, judge, uneven
from launcher.views.terminal import complain, put_drawn, say
from launcher.wire.text import one_line

if TYPE_CHECKING:
    from rich.console import Console

_DEFAULT_NAME = "trace.json"
_KINDS = (COMPUTE, INPUT, SERVERS, OTHER)


def timeline(runs_dir: Path, run: str | None, output: str | None) -> int:
    """Merges the timelines of a run, or of a folder of ProfilerHook files, and prints the verdict."""
    recorded, folder, target = _source(runs_dir, run)
    samples, problems = read_folder(folder)
    for problem in problems:
        complain(f"left out {problem}")
    if not samples:
        advice = "train with --profile-steps 100" if recorded else "it holds none of ProfilerHook's timeline-N.json"
        raise TimelineError(f"{folder}: no trace of any step: {advice}")
    path = Path(output) if output else target
    _write(path, recorded, samples)
    put_drawn(_text(judge(samples)), sys.stdout)
    say("")
    say(f"{path}: open it at https://ui.perfetto.dev or in chrome://tracing")
    return 0


def _source(runs_dir: Path, run: str | None) -> tuple[tuple[Recorded, ...], Path, Path]:
    """The run's events, the folder of its samples, and where the trace goes."""
    if run is not None and Path(run).is_dir() and not runs.RunFolder(Path(run)).exists:
        return (), Path(run), Path(_DEFAULT_NAME)
    folder = runs.find(runs_dir, run)
    return tuple(everything(folder)), folder.timeline, folder.path / _DEFAULT_NAME


def _write(path: Path, recorded: Sequence[Recorded], samples: Sequence[Sample]) -> None:
    text = json.dumps(merge(recorded, samples), separators=(",", ":"))
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise TimelineError(f"{path}: {error.strerror}; name another file by -o") from error


def _text(verdict: Verdict) -> str:
    from launcher.views import inspect_text

    return inspect_text.text(_draw, verdict, out=sys.stdout)


def _draw(console: Console, verdict: Verdict) -> None:
    from launcher.views.inspect_text import table

    rows = [
        (
            item.task,
            str(item.samples),
            f"{item.untraced_ms:.2f}" if item.untraced_ms is not None else "",
            f"{item.step_ms:.2f}",
            *(f"{item.ms[kind] / item.step_ms:.0%}" if item.step_ms else "" for kind in _KINDS),
            item.words,
        )
        for item in verdict.tasks
    ]
    columns = ("task", "traced", "ms/step", "ms traced", *_KINDS, "verdict")
    table(console, "where the time of traced steps goes (tracing makes them longer)", columns, rows)
    for item in verdict.tasks:
        ops = [(f"{op.ms:.3f}", f"{op.count:.0f}", op.type) for op in item.ops]
        table(console, f"{item.task}, by operation", ("ms/step", "count", "type"), ops)
    hooks = [
        (item.task, f"{item.hooks_ms:.2f}", ", ".join(f"{name} {ms:.2f}" for name, ms in item.hooks))
        for item in verdict.tasks
        if item.hooks
    ]
    if hooks:
        table(console, "what Python's hooks take of a step that is not traced", ("task", "ms/step", "by hook"), hooks)
    servers = [
        (
            item.task,
            f"{item.share:.0%}",
            f"{item.busy_ms:.3f}",
            f"{item.ops:.0f}",
            _traffic(item.sends, item.bytes_out),
            _traffic(item.takes, item.bytes_in),
            "" if item.held is None else f"{item.held / 2**20:,.1f} MiB",
        )
        for item in verdict.servers
    ]
    if servers:
        titles = ("task", "share", "ms/step", "ops/step", "sends per step", "takes per step", "holds")
        table(console, "load per parameter server, for one step of one trainer", titles, servers)
    if told := uneven(verdict.servers):
        console.print(one_line(told), markup=False, highlight=False)


def _traffic(count: float | None, size: float | None) -> str:
    return f"{count:.0f} tensors, {size / 1024:.1f} KiB" if count is not None and size is not None else ""
