"""The streaming input against the usual ways, alternating, each in a process of its own on two cores."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

WAYS = ("a", "b", "c", "d", "e", "f", "fg", "convert", "csv")
NAMES = {
    "a": "queue runners",
    "b": "tf.data, parse each",
    "c": "tf.data, best by hand",
    "d": "ours, tf.Example",
    "e": "ours, row groups",
    "f": "raw records",
    "fg": "raw row groups",
    "convert": "arrays to row groups",
    "csv": "CSV to row groups",
}
RATIOS = (("d", "c", 0.95), ("d", "b", 12.0), ("e", "c", 6.0), ("e", "a", 120.0))
AIMS = (("e", "c", 8.0), ("e", "a", 200.0))
LIMITS = (("d", "f"), ("e", "fg"))
CONVERT_PER_S = 150_000.0

Samples = dict[str, list[dict[str, float]]]


def measure(python: Path, rounds: int, seconds: float = 3.0) -> Samples:
    """``rounds`` samples of each way, alternating."""
    samples: Samples = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="tflaunch-input-") as folder:
        _way(python, "data", Path(folder), seconds)
        for _ in range(rounds):
            for way in WAYS:
                sample: dict[str, float] = json.loads(_way(python, way, Path(folder), seconds))
                samples[way].append(sample)
                said = "  ".join(f"{key} {value:.2f}" for key, value in sample.items())
                print(f"  ({way}) {NAMES[way]:22} {said}", flush=True)
    return samples


def rows(samples: Mapping[str, Sequence[Mapping[str, float]]]) -> list[tuple[str, str, float, float, str]]:
    """As ``tests.benchmarks`` prints them: what, unit, bar, measured, how it came about."""
    rate = {way: statistics.median(sample["examples_per_s"] for sample in found) for way, found in samples.items()}
    found = [
        (f"input: ({mine}) over ({theirs})", "x at least", bar, rate[mine] / rate[theirs], _how(rate, mine, theirs))
        for mine, theirs, bar in RATIOS
    ]
    found += [
        (f"input: ({mine}) over ({theirs}), aim", "x at least", bar, rate[mine] / rate[theirs], "")
        for mine, theirs, bar in AIMS
    ]
    found += [
        (
            f"input: ({mine}) of the limit ({limit})",
            "x at least",
            0.0,
            rate[mine] / rate[limit],
            _how(rate, mine, limit),
        )
        for mine, limit in LIMITS
    ]
    for way in ("convert", "csv"):
        found.append((f"input: {NAMES[way]}", "k/s at least", CONVERT_PER_S / 1e3, rate[way] / 1e3, "one core"))
    return found


def _how(rate: Mapping[str, float], mine: str, theirs: str) -> str:
    return f"{NAMES[mine]} {rate[mine] / 1e3:.0f} k/s, {NAMES[theirs]} {rate[theirs] / 1e3:.0f} k/s"


def _way(python: Path, way: str, folder: Path, seconds: float) -> str:
    done = subprocess.run(
        [str(python), "-m", "tests.benchmarks.input_way", way, str(folder), str(seconds)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=None if way == "data" else subprocess.DEVNULL,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return done.stdout.strip().rpartition("\n")[2]
