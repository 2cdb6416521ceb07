"""What bfloat16-transfer does to the shared job over a link of 1 Gbit/s: bytes, examples a second, AUC.

The link is the loopback of a network namespace, of which all tasks take their share, both ways together. Needs root.

    python -m tests.benchmarks.short_transfers RESULTS 5
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks import training_data, training_rates

RATE = "1gbit"
WAYS: dict[str, tuple[str, ...]] = {"float32": (), "bfloat16": ("--tune", "bfloat16-transfer")}
BYTES_BAR, SPEED_BAR, AUC_BAR = 0.55, 1.0, 0.003
_TRACED_STEPS = 100
Samples = dict[str, list[dict[str, Any]]]


def missing() -> str:
    """Why it cannot be measured here; empty if it can."""
    lacking = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if lacking:
        return f"{' and '.join(lacking)} (iproute2)"
    return "" if os.geteuid() == 0 else "root"


@contextmanager
def slow_link() -> Iterator[tuple[str, ...]]:
    """What starts a command in a namespace with such a link."""
    name = f"tfl-link-{os.getpid()}"
    inside = ("ip", "netns", "exec", name)
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        shaped = ["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", RATE, "burst", "256k", "latency", "50ms"]
        subprocess.run([*inside, *shaped], check=True)
        yield inside
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def measure(python: Path, rounds: int, folder: Path) -> Samples:
    """Alternating pairs; the first is traced, and not clocked."""
    data = folder / "data"
    if not data.is_dir():
        training_data.make(data)
    samples: Samples = {way: [] for way in WAYS}
    with slow_link() as prefix:
        for number in range(rounds + 1):
            for way in sorted(WAYS, reverse=number % 2 == 1):
                traced = 0 if number else _TRACED_STEPS
                job = training_rates.Job(options=WAYS[way], prefix=prefix, profile_steps=traced)
                samples[way].append({"traced": not number, **training_rates.measure("ours", job, data, python)})
                print(f"  {way:9} {samples[way][-1]}", flush=True)
    return samples


def rows(samples: Samples) -> list[tuple[str, str, float, float, str]]:
    """As ``tests.benchmarks`` prints them: what, unit, bar, measured, how it came about."""
    clocked = {way: [each for each in found if not each["traced"]] for way, found in samples.items()}
    size = {way: float(found[0]["step"]["mb"]) for way, found in samples.items()}
    rate = {way: [float(each["examples_per_s"]) for each in found] for way, found in clocked.items()}
    ratios = [mine / theirs for mine, theirs in zip(rate["bfloat16"], rate["float32"], strict=True)]
    shown = ", ".join(f"{way} {statistics.median(found) / 1e3:.1f} k/s" for way, found in rate.items())
    what = "bfloat16-transfer, towers 360,200,80"
    made = [
        (f"{what}: bytes a step", "ratio", BYTES_BAR, size["bfloat16"] / size["float32"], f"{size['float32']:.1f} MB"),
        (f"{what}: examples/s over {RATE}", "x at least", SPEED_BAR, statistics.median(ratios), shown),
    ]
    for auc in ("ctr_auc", "ctcvr_auc"):
        mean = {way: statistics.fmean(each[auc] for each in found) for way, found in clocked.items()}
        how = ", ".join(f"{way} {value:.4f}" for way, value in mean.items())
        made.append((f"{what}: {auc} lost", "AUC", AUC_BAR, mean["float32"] - mean["bfloat16"], how))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder for the figures and the data")
    parser.add_argument("rounds", type=int)
    args = parser.parse_args()
    if lacking := missing():
        sys.exit(f"this needs {lacking}")
    args.results.mkdir(parents=True, exist_ok=True)
    samples = measure(Path(sys.executable), args.rounds, args.results)
    with tempfile.NamedTemporaryFile("w", dir=args.results, suffix=".json", delete=False) as file:
        json.dump(samples, file)
    for what, unit, bar, measured, how in rows(samples):
        print(f"{what}: {measured:.4f} (bar {bar}; {unit}; {how})")


if __name__ == "__main__":
    main()
