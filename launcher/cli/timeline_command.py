"""``tflaunch timeline``: one trace of a run, and where the time went."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.record import runs
from launcher.record.events import Recorded
from launcher.record.reading import everything
from launcher.timeline import comparison
from launcher.timeline.merge import merge
from launcher.timeline.samples import Sample, TimelineError, read_folder
from launcher.timeline.verdict import judge
from launcher.views import inspect_text, timeline_text
from launcher.views.terminal import complain, put_drawn, say

_DEFAULT_NAME = "trace.json"


def timeline(runs_dir: Path, run: str | None, output: str | None) -> int:
    """Merges the timelines of a run, or of a folder of ProfilerHook files, and prints the verdict."""
    recorded, folder, target = _source(runs_dir, run)
    samples = _samples(folder, is_run=bool(recorded))
    path = Path(output) if output else target
    _write(path, recorded, samples)
    put_drawn(inspect_text.text(timeline_text.judged, judge(samples), out=sys.stdout), sys.stdout)
    say("")
    say(f"{path}: open it at https://ui.perfetto.dev or in chrome://tracing")
    return 0


def compare(runs_dir: Path, first: str, second: str) -> int:
    """Prints what differs between the traced steps of two runs, or folders of ProfilerHook files."""
    found = []
    for run in (first, second):
        recorded, folder, _ = _source(runs_dir, run)
        found.append(_samples(folder, is_run=bool(recorded)))
    put_drawn(inspect_text.text(timeline_text.compared, comparison.compare(*found), out=sys.stdout), sys.stdout)
    return 0


def _samples(folder: Path, *, is_run: bool) -> tuple[Sample, ...]:
    samples, problems = read_folder(folder)
    for problem in problems:
        complain(f"left out {problem}")
    if not samples:
        advice = "train with --profile-steps 100" if is_run else "it holds none of ProfilerHook's timeline-N.json"
        raise TimelineError(f"{folder}: no trace of any step: {advice}")
    return samples


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
