"""Who can be killed or paused of a run on this machine, as the run itself tells it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

from tests.e2e.fake_runs import events
from tests.e2e.running import alive


def run_ids(folder: Path) -> list[str]:
    """Of its parts; the newest comes last."""
    return [str(event["run_id"]) for event in events(folder) if event["kind"] == "run_started"]


def pid_of(folder: Path, victim: str, client: int) -> int | None:
    """The newest process of that name; None if the run has not told of one yet, or it is gone."""
    told = events(folder)
    if victim == "client":
        return client
    if victim == "supervisor":
        found = [event["pid"] for event in told if event["kind"] == "run_started"]
    elif victim == "preload":
        found = [event["pid"] for event in told if event["kind"] == "preload_changed"]
    elif victim in ("agent", "keeper", "guard"):
        found = [json.loads(json.dumps(event["facts"])).get("pid") for event in told if event["kind"] == "host_changed"]
    else:
        found = [event["pid"] for event in told if event["kind"] == "task_changed" and event["task"] == victim]
    pid = next((int(str(pid)) for pid in reversed(found) if pid), None)
    for _ in range(("agent", "keeper", "guard").index(victim) if victim in ("keeper", "guard") else 0):
        pid = _parent(pid) if pid else None
    return pid if pid and pid > 1 and any(pid in alive(run) for run in run_ids(folder)[-1:]) else None


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def send(pid: int, number: signal.Signals) -> bool:
    """Whether there was somebody to get it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False
