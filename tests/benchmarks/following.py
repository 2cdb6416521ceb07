"""A watched folder: how far training is behind, and what memory grows by, while small files appear at a steady rate.

    python -m tests.benchmarks.following --seconds 90 --files-per-s 10

Bars: the lag stays under 5 s; the trainers' memory grows by at most 50 MiB from the first tenth of the files to the
last.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from launcher.record.events import InputCounted, UsageSampled
from launcher.record.reading import everything
from launcher.record.runs import RunFolder

ROOT = Path(__file__).parents[2]
JOB = "tests.launcher.estimator.streaming.plain"
ROWS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--files-per-s", type=float, default=10.0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tfl-follow-"))
    try:
        print(json.dumps(measure(folder, options.seconds, options.files_per_s), indent=2))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, seconds: float, files_per_s: float) -> dict[str, Any]:
    """Run a cluster of a chief and two workers on a folder, and let files appear in it."""
    incoming = folder / "in"
    incoming.mkdir()
    record = make_file(folder / "one.tfrecord")
    job = {"folder": str(incoming), "model_dir": str(folder / "model"), "batch": 8, "save_steps": 500}
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-m", "launcher", "local", "--workers", "2", "--ps", "1", "--no-evaluator", "--plain"]
    with (folder / "log").open("wb") as log:
        run = subprocess.Popen(
            [*command, "--run-dir", "run", "--", "python", "-m", JOB, json.dumps(job)],
            cwd=folder,
            env=environ,
            stdout=log,
            stderr=log,
        )
        try:
            wait_until_ready(folder / "run")
            written = write_files(incoming, record, seconds, files_per_s)
            wait_for_examples(folder / "run", written * ROWS)
        finally:
            subprocess.run([sys.executable, "-m", "launcher", "stop", str(folder / "run")], env=environ, check=False)
            code = run.wait(120)
    return {"files": written, "exit_code": code, **figures(folder / "run")}


def make_file(path: Path) -> bytes:
    script = f"import sys; from pathlib import Path; from {JOB} import write_file; "
    script += f"write_file(Path(sys.argv[1]), list(range({ROWS})))"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", script, str(path)], env=environ, check=True, stderr=subprocess.DEVNULL)
    return path.read_bytes()


def write_files(folder: Path, record: bytes, seconds: float, files_per_s: float) -> int:
    """Let files appear at that rate; those of a minute ago are removed, as a user would."""
    began, number = monotonic(), 0
    while monotonic() - began < seconds:
        new = folder / f".{number}"
        new.write_bytes(record)
        new.rename(folder / f"{number:08}.tfrecord")
        number += 1
        old = folder / f"{number - int(60 * files_per_s):08}.tfrecord"
        old.unlink(missing_ok=True)
        sleep(max(0.0, began + number / files_per_s - monotonic()))
    return number


def wait_until_ready(run: Path) -> None:
    while not (run / "events.jsonl").exists() or not any(counts(run)):
        sleep(0.2)


def wait_for_examples(run: Path, examples: int) -> None:
    ends_at = monotonic() + 60
    while monotonic() < ends_at and max((event.examples for event in counts(run)), default=0) < examples:
        sleep(0.2)


def counts(run: Path) -> list[InputCounted]:
    return [item.event for item in everything(RunFolder(run)) if isinstance(item.event, InputCounted)]


def figures(run: Path) -> dict[str, Any]:
    """From the run's own events."""
    known = counts(run)
    lags = [event.lag_s for event in known if event.lag_s is not None]
    usage = [item.event for item in everything(RunFolder(run)) if isinstance(item.event, UsageSampled)]
    growth = {}
    for task in ("chief:0", "worker:0", "worker:1", "ps:0"):
        rss = [event.rss_mib[task] for event in usage if task in event.rss_mib]
        tenth = max(1, len(rss) // 10)
        growth[task] = round(max(rss[-tenth:]) - max(rss[tenth : 2 * tenth] or rss), 1) if rss else None
    return {
        "examples": known[-1].examples,
        "duplicates": known[-1].duplicates,
        "lag_s": {"median": round(sorted(lags)[len(lags) // 2], 2), "max": round(max(lags), 2)},
        "memory_growth_mib": growth,
    }


if __name__ == "__main__":
    main()
