"""From the trainers' last step to the end of everything, without the last save, evaluation and export."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.clusters import TRAINERS, ByHand, ByTflaunch, Cluster, Line, diary

TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Seconds from the last step to the end; those of it that saving, evaluating and exporting took; the rest."""

    end_s: float
    work_s: float
    rest_s: float


def measure(python: Path, rounds: int, steps: int) -> dict[str, list[dict[str, float]]]:
    """``rounds`` samples of each way, alternating."""
    samples: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for name, way in (("tflaunch", ByTflaunch), ("by_hand", ByHand)):
            folder = Path(tempfile.mkdtemp(prefix="tflaunch-bench-"))
            cluster: Cluster = way(python, folder, ["--steps", str(steps)])
            try:
                cluster.meter.wait_for(lambda cluster=cluster: cluster.ended_at() is not None, TIMEOUT_S)  # type: ignore[misc]
                sample = asdict(_sample(cluster, cluster.ended_at() or 0.0))
            finally:
                cluster.close()
            shutil.rmtree(folder)
            samples.setdefault(name, []).append(sample)
            print(f"  {name:9} " + "  ".join(f"{key} {value:.2f}" for key, value in sample.items()), flush=True)
    return samples


def _sample(cluster: Cluster, ended_at: float) -> Sample:
    last = max(line.at for slug in TRAINERS for line in diary(cluster, slug) if line.what in ("step", "last"))
    work = [
        (max(begin, last), end)
        for slug in (*TRAINERS, "evaluator-0")
        for begin, end in _spans(diary(cluster, slug))
        if end > last
    ]
    work_s = _covered_s(work)
    return Sample(end_s=ended_at - last, work_s=work_s, rest_s=ended_at - last - work_s)


def _spans(lines: Iterable[Line]) -> list[tuple[float, float]]:
    """From each ``…-begin`` to its ``…-end``."""
    open_at: dict[str, float] = {}
    spans = []
    for line in lines:
        what, _, edge = line.what.partition("-")
        if edge == "begin":
            open_at[what] = line.at
        elif edge == "end" and what in open_at:
            spans.append((open_at.pop(what), line.at))
    return spans


def _covered_s(spans: Iterable[tuple[float, float]]) -> float:
    """How long at least one of the spans lasts."""
    covered_s, until = 0.0, 0.0
    for begin, end in sorted(spans):
        covered_s += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered_s
