"""One cluster of ``clocked.py``: ps, chief, two workers and evaluator, by ``tflaunch local`` or by hand."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.benchmarks.processes import Meter, descendants, spawn
from tests.benchmarks.startup import WITH_ESTIMATOR, clean_env, tf_configs

SCRIPT = Path(__file__).parent / "clocked.py"
TRAINERS = ("chief-0", "worker-0", "worker-1")


class Line(NamedTuple):
    """One line of a diary. ``at``: seconds since the epoch."""

    at: float
    pid: int
    what: str


class Cluster(Protocol):
    """Five processes that train. ``diaries``: the folder of what they note."""

    diaries: Path
    meter: Meter

    def kill(self, slug: str) -> None:
        """SIGKILL to a task, and another one in its place."""

    def up_since(self, slug: str) -> float:
        """When the newest process of the task began to serve, at the earliest; seconds since the epoch."""

    def ended_at(self) -> float | None:
        """When all was over; None while it is not."""

    def close(self) -> None:
        """Takes everything down."""


def diary(cluster: Cluster, slug: str) -> list[Line]:
    try:
        lines = (cluster.diaries / f"{slug}.txt").read_text().splitlines()
    except FileNotFoundError:
        return []
    parts = (line.split(" ") for line in lines)
    return [Line(float(at), int(pid), what) for at, pid, what in parts]


class ByHand:
    """Five processes, as a folder of bash scripts would start them; each is started again by hand, at once."""

    def __init__(self, python: Path, folder: Path, args: Sequence[str]) -> None:
        self.diaries = folder / "diaries"
        self.diaries.mkdir()
        self.meter = Meter(began=time.monotonic())
        self._folder, self._python = folder, python
        self._command = [str(python), str(WITH_ESTIMATOR), str(SCRIPT), "--model_dir", str(folder / "model")]
        self._command += ["--diaries", str(self.diaries), *args]
        self._configs = tf_configs()
        self._pids: dict[str, int] = {}
        self._started: dict[str, float] = {}
        for slug in self._configs:
            self._start(slug)

    def _start(self, slug: str) -> None:
        env = clean_env(self._python) | {"TF_CONFIG": self._configs[slug]}
        self._started[slug] = time.time()
        self._pids[slug] = spawn(self._command, env, self._folder / f"{slug}.log", self._folder).pid

    def kill(self, slug: str) -> None:
        os.kill(self._pids[slug], signal.SIGKILL)
        self._start(slug)

    def up_since(self, slug: str) -> float:
        return self._started[slug]

    def ended_at(self) -> float | None:
        self.meter.reap()
        waited_for = {pid for slug, pid in self._pids.items() if slug != "ps-0"}
        return time.time() if waited_for <= self.meter.ended.keys() else None

    def close(self) -> None:
        self.meter.end()


class ByTflaunch:
    """One command."""

    def __init__(self, python: Path, folder: Path, args: Sequence[str], *, options: Sequence[str] = ()) -> None:
        self.diaries = folder / "diaries"
        self.diaries.mkdir()
        self.meter = Meter(began=time.monotonic())
        self._run = folder / "run"
        command = [str(python.parent / "tflaunch"), "local", "--workers", "2", "--ps", "1", "--plain", *options]
        script = ["--", "python", str(SCRIPT), "--model_dir", str(folder / "model"), "--diaries", str(self.diaries)]
        self._client = spawn(
            [*command, "--run-dir", str(self._run), *script, *args], clean_env(python), folder / "tflaunch.log", folder
        )

    def _changes(self, slug: str) -> list[dict[str, object]]:
        events = map(json.loads, (self._run / "events.jsonl").read_text().splitlines())
        task = slug.replace("-", ":")
        return [event for event in events if event["kind"] == "task_changed" and event["task"] == task]

    def kill(self, slug: str) -> None:
        os.kill(
            next(int(str(change["pid"])) for change in reversed(self._changes(slug)) if change["pid"]), signal.SIGKILL
        )

    def up_since(self, slug: str) -> float:
        changes = self._changes(slug)
        ready = [change for change in changes if change["state"] == "ready"]
        newest = max(int(str(change["attempt"])) for change in changes)
        if not ready or ready[-1]["attempt"] != newest or newest == 1:
            return float("inf")
        return datetime.fromisoformat(str(ready[-1]["at"]).replace("Z", "+00:00")).timestamp()

    def ended_at(self) -> float | None:
        self.meter.reap()
        return time.time() if self._client.pid in self.meter.ended else None

    def close(self) -> None:
        if self._client.pid not in self.meter.ended and descendants():
            self._client.send_signal(signal.SIGINT)
            self._client.send_signal(signal.SIGINT)
        self.meter.end()
