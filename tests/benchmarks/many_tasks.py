"""CPU seconds of the supervisor of a run with many tasks that do nothing. Run: python -m tests.benchmarks.many_tasks"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

FEW, MANY = 500, 1000
_PATIENCE_S = 900.0


def supervisor_cpu_s(workers: int) -> float:
    """Of one run of that many workers, each a ``sleep 10``; raises RuntimeError if the run does not end well."""
    with tempfile.TemporaryDirectory(prefix="tflaunch-many-") as folder:
        run_dir = Path(folder, "run")
        argv = [Path(sys.executable).parent / "tflaunch", "local", "--detach", "--ps", "1", "--workers", str(workers)]
        command = [*argv, "--no-evaluator", "--run-dir", run_dir, "--", "sleep", "10"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
        supervisor = psutil.Process(_supervisor(run_dir / "events.jsonl"))
        cpu_s, until = 0.0, time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            try:
                times = supervisor.cpu_times()
            except psutil.NoSuchProcess:
                break
            cpu_s = times.user + times.system
            time.sleep(0.02)
        report = json.loads((run_dir / "report.json").read_text())
        if report["exit_code"] != 0:
            raise RuntimeError(f"{workers} workers: {report['outcome']}: {report['cause']}")
    return cpu_s


def _supervisor(events: Path) -> int:
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "run_started":
            return int(event["pid"])
    raise RuntimeError(f"{events} does not say who supervises")


def measure(rounds: int) -> dict[int, list[float]]:
    """CPU seconds by number of workers, alternating."""
    samples: dict[int, list[float]] = {FEW: [], MANY: []}
    for _ in range(rounds):
        for workers, seconds in samples.items():
            seconds.append(supervisor_cpu_s(workers))
    return samples


if __name__ == "__main__":
    print(measure(1))
