"""A week of a run with a hundred tasks, its time sped up: how large its folder grows, how long looking at it takes, and
what memory its recorder needs. Everything is written by the supervisor's own code.

    python -m tests.benchmarks.week --hours 168 --runs 50

Bars for a week: folder without logs at most 32 MiB; ``status`` 0.3 s; ``ls`` of 50 such runs 1 s; memory within 10 MiB
of what it was after the first hour.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from launcher.lifecycle import End
from launcher.record import events as ev
from launcher.record.runs import RunFolder
from launcher.record.states import Outcome
from launcher.supervise import diary as diaries
from launcher.supervise.diary import Diary

TASKS = ("ps:0", "ps:1", "ps:2", "ps:3", "chief:0", *(f"worker:{n}" for n in range(94)), "evaluator:0")
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
CHECKPOINT_S, RESTART_S = 600, 3600


class Clock:
    """The time of the simulated week, in place of the one that the diary reads."""

    def __init__(self) -> None:
        self.second = 0.0

    def now(self, zone: timezone) -> datetime:
        return START + timedelta(seconds=self.second)

    def monotonic(self) -> float:
        return self.second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=168.0)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--report-s", type=float, default=0.5, help="seconds between two reports of a trainer")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tfl-week-"))
    try:
        print(json.dumps(measure(folder, options.hours, options.runs, options.report_s), indent=2))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, hours: float, runs: int, report_s: float) -> dict[str, Any]:
    """Lives through it once, and looks at so many copies."""
    run = RunFolder.create(folder / "runs", "week", START)
    memory = live(run, hours, report_s)
    files = [path for path in run.path.rglob("*") if path.is_file()]
    sizes = {path.relative_to(run.path).as_posix(): path.stat().st_size for path in files}
    status_s = median(_seconds(["status", "--json"], folder) for _ in range(5))
    for number in range(2, runs + 1):
        copy = folder / "runs" / f"{run.run}-{number}"
        shutil.copytree(run.path, copy, copy_function=os.link)
    ls_s = median(_seconds(["ls"], folder) for _ in range(3))
    mib = {name: round(size / 2**20, 2) for name, size in sorted(sizes.items())}
    return {
        "hours": hours,
        "folder_mib": round(sum(sizes.values()) / 2**20, 2),
        "files_mib": mib,
        "status_s": round(status_s, 3),
        f"ls_of_{runs}_s": round(ls_s, 3),
        **memory,
    }


def live(run: RunFolder, hours: float, report_s: float) -> dict[str, Any]:
    """Feeds the diary with what a supervisor hears in that time: reports of each trainer, usage at most each second.

    Reports that come seldomer than they do fill the rings as far, and cost less: a week of real ones takes an hour."""
    clock = Clock()
    diaries.datetime, diaries.time = clock, clock  # type: ignore[attr-defined, assignment]
    diaries.SNAPSHOT_S = max(diaries.SNAPSHOT_S, 20 * report_s)
    diary, process = Diary(run), psutil.Process()
    for event in _beginning(run):
        diary.record(event)
    began, after_hour, used = time.process_time(), 0.0, -1.0
    for report in range(int(hours * 3600 / report_s)):
        clock.second = report * report_s
        for event in _happening(clock.second, usage=clock.second - used >= 1):
            diary.record(event)
        used = clock.second if clock.second - used >= 1 else used
        if clock.second == 3600:
            after_hour = process.memory_info().rss / 2**20
    cpu_s = time.process_time() - began
    rss = process.memory_info().rss / 2**20
    diary.ended(End(outcome=Outcome.SUCCEEDED, cause=None), int(hours * 36_000))
    return {
        "report_s": report_s,
        "memory_mib": round(rss, 1),
        "memory_growth_since_the_first_hour_mib": round(rss - after_hour, 1) if after_hour else None,
        "recorder_cpu_s": round(cpu_s, 1),
    }


def _beginning(run: RunFolder) -> Iterator[ev.RunEvent]:
    tasks = tuple({"task": task, "host": "here"} for task in TASKS)
    yield ev.RunStarted(
        run=run.run, name="week", pid=1, host="here", command=("python", "train.py"), model_dir="/models/week",
        run_dir=str(run.path), tasks=tasks, run_id="week",
    )  # fmt: skip
    yield ev.PhaseChanged(phase="training")
    for number, task in enumerate(TASKS):
        for state in ("starting", "training"):
            yield ev.TaskChanged(task=task, attempt=1, state=state, host="here", pid=1000 + number)


def _happening(now: float, *, usage: bool) -> Iterator[ev.RunEvent]:
    second = int(now)
    for number, task in enumerate(TASKS):
        if task.startswith(("chief", "worker")):
            attempt = _attempt(second, number)
            steps = int(now * 10)
            yield ev.Progressed(
                task=task, attempt=attempt, global_step=steps * 90, local_steps=steps, examples=steps * 512,
                loss=1 / (1 + now), input_wait=0.1,
            )  # fmt: skip
    if not usage:
        return
    yield ev.UsageSampled(host="here", cpu=dict.fromkeys(TASKS, 0.5), rss_mib=dict.fromkeys(TASKS, 900.5))
    yield ev.InputCounted(examples=second * 48_000, pending=100, held=95, epoch=1, progress=second / 604_800)
    if second % CHECKPOINT_S == 0:
        step = second * 900
        yield ev.CheckpointWritten(task="chief:0", global_step=step, path=f"/models/week/model.ckpt-{step}")
        metrics = {"auc": 0.7, "loss": 0.2, "average_loss": 0.2, "global_step": float(step)}
        yield ev.EvaluationDone(task="evaluator:0", global_step=step, metrics=metrics)
    if second and second % RESTART_S == 0:
        number = _restarted(second)
        before, after = _attempt(second - 1, number), _attempt(second, number)
        task = TASKS[number]
        yield ev.TaskChanged(task=task, attempt=before, state="backoff", host="here", signal=9, reason="SIGKILL")
        for state in ("starting", "training"):
            yield ev.TaskChanged(task=task, attempt=after, state=state, host="here", pid=second)


def _restarted(second: int) -> int:
    """Which task dies in that hour: one worker after the other."""
    return 5 + (second // RESTART_S - 1) % 94


def _attempt(second: int, number: int) -> int:
    hours = second // RESTART_S
    return 1 + max(0, (hours + 94 - 1 - (number - 5)) // 94) if number >= 5 else 1


def _seconds(arguments: list[str], cwd: Path) -> float:
    began = time.monotonic()
    tflaunch = Path(sys.executable).parent / "tflaunch"
    subprocess.run([tflaunch, *arguments], cwd=cwd, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
