"""Steps a second of a cluster whose ports are guarded, and of the same one with open ports, in alternating pairs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.benchmarks.clusters import TRAINERS, ByTflaunch, diary
from tests.benchmarks.ends import TIMEOUT_S

LEAST_PAIRS = 10
WAYS = {"guarded": (), "open": ("--tune", "-port-guard")}


def measure(python: Path, rounds: int, steps: int) -> dict[str, list[dict[str, float]]]:
    """Samples of both ways, at least ten pairs. Which way comes first alternates, too."""
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for number in range(max(rounds, LEAST_PAIRS)):
        for name in sorted(WAYS, reverse=number % 2 == 1):
            folder = Path(tempfile.mkdtemp(prefix="tflaunch-bench-"))
            cluster = ByTflaunch(python, folder, ["--steps", str(steps)], options=WAYS[name])
            try:
                cluster.meter.wait_for(lambda cluster=cluster: cluster.ended_at() is not None, TIMEOUT_S)  # type: ignore[misc]
                rate = _steps_per_s(cluster, steps)
            finally:
                cluster.close()
            shutil.rmtree(folder)
            samples[name].append({"steps_per_s": rate})
            print(f"  {name:8} {rate:.1f} steps/s", flush=True)
    return samples


def _steps_per_s(cluster: ByTflaunch, steps: int) -> float:
    """From the first step of the cluster to the last."""
    at = [line.at for slug in TRAINERS for line in diary(cluster, slug) if line.what in ("step", "last")]
    return steps / (max(at) - min(at))
