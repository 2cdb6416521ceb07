"""Steps a second of clusters whose ports are guarded, and of the same ones with open ports, in alternating pairs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.benchmarks import training_data, training_rates
from tests.benchmarks.clusters import TRAINERS, ByTflaunch, diary
from tests.benchmarks.ends import TIMEOUT_S

LEAST_PAIRS = 10
WAYS = {"guarded": (), "open": ("--tune", "-port-guard")}
Rates = dict[str, list[float]]  # by way


def measure(python: Path, rounds: int, steps: int, ways: Mapping[str, tuple[str, ...]] = WAYS) -> dict[str, Rates]:
    """Of the canned and of the shared job, at least ten pairs each. Which way comes first alternates, too."""
    with tempfile.TemporaryDirectory(prefix="tflaunch-bench-") as folder:
        data = Path(folder) / "data"
        training_data.make(data)
        jobs = {"canned job": partial(_canned, python, steps), "shared job": partial(_shared, python, data)}
        samples: dict[str, Rates] = {name: {way: [] for way in ways} for name in jobs}
        for name, job in jobs.items():
            for number in range(max(rounds, LEAST_PAIRS)):
                for way in sorted(ways, reverse=number % 2 == 1):
                    samples[name][way].append(job(ways[way]))
                    print(f"  {name}, {way:8} {samples[name][way][-1]:.1f} steps/s", flush=True)
    return samples


def _canned(python: Path, steps: int, options: Sequence[str]) -> float:
    """From the first step of the cluster to the last."""
    folder = Path(tempfile.mkdtemp(prefix="tflaunch-bench-"))
    cluster = ByTflaunch(python, folder, ["--steps", str(steps)], options=options)
    try:
        cluster.meter.wait_for(lambda: cluster.ended_at() is not None, TIMEOUT_S)
        at = [line.at for slug in TRAINERS for line in diary(cluster, slug) if line.what in ("step", "last")]
    finally:
        cluster.close()
    shutil.rmtree(folder)
    return steps / (max(at) - min(at))


def _shared(python: Path, data: Path, options: tuple[str, ...]) -> float:
    """Over the last four fifths of the steps."""
    found = training_rates.measure("ours", training_rates.Job(options=options), data, python)
    return float(found["examples_per_s"]) / training_rates.BATCH
