"""Variables placed by bytes against TensorFlow's turns: what each of 3 parameter servers holds, and steps a second.

python -m tests.benchmarks.placement ROUNDS
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from launcher.record.events import Progressed
from launcher.record.reading import everything
from launcher.record.runs import RunFolder
from launcher.timeline.samples import read_folder
from tests.benchmarks import training_rates

WAYS = ("turns", "bytes")
STEPS = 600
SPREAD_BAR, SPEED_BAR = 1.1, 1.0
_TRACED_STEPS = 50
Samples = dict[str, list[dict[str, Any]]]


def measure(python: Path, rounds: int) -> Samples:
    """Alternating pairs; the first is traced, and not clocked."""
    samples: Samples = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        for way in sorted(WAYS, reverse=number % 2 == 1):
            samples[way].append(_run(python, way, 0 if number else _TRACED_STEPS))
            print(f"  {way:6} {samples[way][-1]}", flush=True)
    return samples


def _run(python: Path, way: str, profile_steps: int) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="tfl-placement-"))
    try:
        cluster = ["local", "--workers", "2", "--ps", "3", "--no-evaluator", "--plain"]
        cluster += ["--run-dir", str(folder / "run")]
        cluster += ["--profile-steps", str(profile_steps)] if profile_steps else []
        script = ["python", "-m", "tests.benchmarks.wide_model", way, str(STEPS), str(folder / "model")]
        training_rates._run([str(python.parent / "tflaunch"), *cluster, "--", *script])
        steps = [
            (item.at, item.event.global_step)
            for item in everything(RunFolder(folder / "run"))
            if isinstance(item.event, Progressed) and item.event.task == "chief:0"
        ]
        held = [sample.held for sample in read_folder(folder / "run" / "timeline")[0]] if profile_steps else [{}]
        return {"traced": bool(profile_steps), "steps_per_s": training_rates.rate(steps), "held": dict(held[0])}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rows(samples: Samples) -> list[tuple[str, str, float, float, str]]:
    """As ``tests.benchmarks`` prints them: what, unit, bar, measured, how it came about."""
    held = {way: found[0]["held"] for way, found in samples.items()}
    rate = {way: [each["steps_per_s"] for each in found if not each["traced"]] for way, found in samples.items()}
    ratios = [mine / theirs for mine, theirs in zip(rate["bytes"], rate["turns"], strict=True)]
    mib = {way: ", ".join(f"{size / 2**20:.1f}" for size in each.values()) for way, each in held.items()}
    shown = ", ".join(f"{way} {statistics.median(found):.1f} steps/s" for way, found in rate.items())
    spread = max(held["bytes"].values()) / min(held["bytes"].values())
    what = "a table of 1.5 GB and 200 small variables on 3 ps"
    return [
        (f"{what}: most held to least", "ratio", SPREAD_BAR, spread, f"MiB: {mib['bytes']}; by turns {mib['turns']}"),
        (f"{what}: steps/s by bytes over turns", "x at least", SPEED_BAR, statistics.median(ratios), shown),
    ]


if __name__ == "__main__":
    for what, unit, bar, measured, how in rows(measure(Path(sys.executable), int(sys.argv[1]))):
        print(f"{what}: {measured:.3f} (bar {bar}; {unit}; {how})")
