"""How soon every trainer steps, counted from the call, by the events: in the first run of a process and in those after
it, and in the tests of a pytest session. The canned Estimator: a parameter server, chief, two workers, an evaluator.

``python -m tests.benchmarks.second_start`` is what is measured: one process that calls ``run`` again and
again, and prints the seconds of each.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.startup import SCRIPT, clean_env

AFTER = 5  # runs after the first
STEPS = "60"
TRAINERS = ("chief:0", "worker:0", "worker:1")
ROOT = Path(__file__).parents[2]
TESTS = """
import json, time
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_it(tflaunch, number):
    called = time.time()
    run = tflaunch({script!r}, "--steps", {steps!r}, ps=1, workers=2)
    assert run.succeeded
    with open("called.txt", "a") as file:
        print(json.dumps([called, str(run.run_dir)]), file=file)
"""


def all_stepped_s(called: float, folder: Path) -> float:
    """When the last of the trainers was known to train, in seconds after the call."""
    events: list[dict[str, Any]] = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    found: dict[str, float] = {}
    for event in events:
        if event["kind"] == "task_changed" and event["state"] == "training":
            at = datetime.fromisoformat(event["at"].replace("Z", "+00:00")).timestamp()
            found.setdefault(event["task"], at - called)
    return max(found[task] for task in TRAINERS)


def by_run() -> list[float]:
    """In this process."""
    from launcher import run

    seconds = []
    with tempfile.TemporaryDirectory(prefix="tflaunch-bench-") as folder:
        for number in range(1 + AFTER):
            called = time.time()
            where = Path(folder, str(number))
            command = [str(SCRIPT), "--steps", STEPS, "--model_dir", str(where / "model")]
            run(command, ps=1, workers=2, run_dir=where, check=True)
            seconds.append(all_stepped_s(called, where))
    return seconds


def by_pytest(python: Path) -> list[float]:
    """The tests of one session."""
    with tempfile.TemporaryDirectory(prefix="tflaunch-bench-") as folder:
        Path(folder, "test_it.py").write_text(TESTS.format(count=1 + AFTER, script=str(SCRIPT), steps=STEPS))
        argv = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", f"{folder}/tmp", folder]
        subprocess.run(argv, cwd=folder, env=clean_env(python), check=True, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in Path(folder, "called.txt").read_text().splitlines()]
        return [all_stepped_s(called, Path(run_dir)) for called, run_dir in lines]


def measure(python: Path) -> dict[str, list[float]]:
    """Seconds of each run, the first one first, by way."""
    argv = [str(python), "-m", "tests.benchmarks.second_start"]
    done = subprocess.run(argv, cwd=ROOT, env=clean_env(python), check=True, stdout=subprocess.PIPE)
    samples = {"run": json.loads(done.stdout.splitlines()[-1]), "test of a session": by_pytest(python)}
    for way, seconds in samples.items():
        print(f"  {way:18} " + "  ".join(f"{each:.2f}" for each in seconds), flush=True)
    return samples


if __name__ == "__main__":
    print(json.dumps(by_run()))
    sys.exit(0)
