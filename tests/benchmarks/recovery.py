"""From the SIGKILL of a task until it, and everybody who waited for it, trains again.

One cluster after the other, by hand and by tflaunch; in each a worker, the chief and the parameter server are killed,
one after the other, each when all have trained for a while since the last one. By hand the successor is started in the
same instant, which nobody can do.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from tests.benchmarks.clusters import TRAINERS, ByHand, ByTflaunch, Cluster, diary

VICTIMS = ("worker-1", "chief-0", "ps-0")
SETTLED_S = 2.0
TIMEOUT_S = 200.0
STEPS = "100000000"


def measure(python: Path, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds by way and victim, alternating."""
    samples: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for name, way in (("tflaunch", ByTflaunch), ("by_hand", ByHand)):
            folder = Path(tempfile.mkdtemp(prefix="tflaunch-bench-"))
            cluster: Cluster = way(python, folder, ["--steps", STEPS])
            try:
                _all_train_since(cluster, 0.0)
                for victim in VICTIMS:
                    seconds = _seconds_to_recover(cluster, victim)
                    samples.setdefault(name, {}).setdefault(victim, []).append(seconds)
                    print(f"  {name:9} {victim:9} {seconds:.2f} s", flush=True)
            finally:
                cluster.close()
            shutil.rmtree(folder)
    return samples


def _seconds_to_recover(cluster: Cluster, victim: str) -> float:
    _settle(cluster)
    pids = {line.pid for line in diary(cluster, victim)}
    killed_at = time.time()
    cluster.kill(victim)
    if victim == "ps-0":
        _wait(cluster, lambda: cluster.up_since(victim) < time.time())
        return _all_train_since(cluster, cluster.up_since(victim)) - killed_at

    def first_steps() -> list[float]:
        return [line.at for line in diary(cluster, victim) if line.what == "step" and line.pid not in pids]

    _wait(cluster, first_steps)
    return first_steps()[0] - killed_at


def _settle(cluster: Cluster) -> None:
    since = time.time() + SETTLED_S
    _wait(cluster, lambda: time.time() > since)
    _all_train_since(cluster, since)


def _all_train_since(cluster: Cluster, since: float) -> float:
    """When the last of the trainers has done its first step after ``since``."""

    def firsts() -> list[float]:
        steps = [[line.at for line in diary(cluster, slug) if line.what == "step"] for slug in TRAINERS]
        return [next(at for at in found if at > since) for found in steps if found and found[-1] > since]

    _wait(cluster, lambda: len(firsts()) == len(TRAINERS))
    return max(firsts())


def _wait(cluster: Cluster, done: object) -> None:
    assert callable(done)
    began = time.monotonic() - cluster.meter.began
    cluster.meter.wait_for(lambda: bool(done()), began + TIMEOUT_S)
