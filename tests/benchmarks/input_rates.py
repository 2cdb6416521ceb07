"""The streaming input against the usual ways, alternating, each in a process of its own on two cores.

``python -m tests.benchmarks.input_rates ROUNDS c,d,p`` measures some of them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

WAYS = ("a", "b", "c", "d", "e", "p", "q", "g", "h", "i", "f", "fg", "pr", "convert", "csv")
NAMES = {
    "a": "queue runners",
    "b": "tf.data, parse each",
    "c": "tf.data, best by hand",
    "d": "ours, tf.Example",
    "e": "ours, row groups",
    "p": "ours, Parquet (snappy)",
    "q": "ours, Parquet of convert",
    "g": "make_batched_features_dataset",
    "h": "make_csv_dataset",
    "i": "Hugging Face, Parquet",
    "f": "raw records",
    "fg": "raw row groups",
    "pr": "raw Parquet of convert",
    "convert": "arrays to row groups",
    "csv": "CSV to row groups",
}
RATIOS = (("d", "c", 0.95), ("d", "b", 12.0), ("e", "c", 6.0), ("e", "a", 120.0))
AIMS = (("e", "c", 8.0), ("e", "a", 200.0), ("p", "c", 7.0), ("q", "c", 10.0), ("q", "e", 1.8))
PEERS = ("c", "g", "h", "i")
OVER_PEERS = 3.0
LIMITS = (("d", "f"), ("e", "fg"), ("q", "pr"))
CONVERT_PER_S = 150_000.0

PEERS_PYTHON = Path(__file__).parents[2] / ".venv-bench" / "bin" / "python"

Samples = dict[str, list[dict[str, float]]]


def measure(python: Path, rounds: int, seconds: float = 3.0, ways: Sequence[str] = WAYS) -> Samples:
    """``rounds`` samples of each way, alternating. (i) needs an environment of its own (``make bench`` makes it)."""
    chosen = [way for way in ways if way != "i" or PEERS_PYTHON.exists()]
    samples: Samples = {way: [] for way in chosen}
    with tempfile.TemporaryDirectory(prefix="tflaunch-input-") as folder:
        _way(python, "data", Path(folder), seconds)
        for _ in range(rounds):
            for way in chosen:
                mine = PEERS_PYTHON if way == "i" else python
                sample: dict[str, float] = json.loads(_way(mine, way, Path(folder), seconds))
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
    fastest = max((way for way in PEERS if way in rate), key=lambda way: rate[way])
    over = f"input: (q) over the fastest peer, ({fastest})"
    found.append((over, "x at least", OVER_PEERS, rate["q"] / rate[fastest], _how(rate, "q", fastest)))
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


if __name__ == "__main__":
    chosen = sys.argv[2].split(",") if len(sys.argv) > 2 else WAYS
    taken = measure(Path(sys.executable), int(sys.argv[1]) if len(sys.argv) > 1 else 3, ways=chosen)
    for way, found in taken.items():
        middle = {key: statistics.median(sample[key] for sample in found) for key in found[0]}
        print(f"({way}) {NAMES[way]:30} " + "  ".join(f"{key} {value:,.2f}" for key, value in middle.items()))
