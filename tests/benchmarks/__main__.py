"""``python -m tests.benchmarks``: measures, and prints bar, measured figure, ratio and whether the bar is met.

Nothing here fails: a machine is as fast as it is. The JSON with every sample goes to ``bench-results/``.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks import (
    ends,
    fan_out,
    floods,
    guarding,
    input_rates,
    many_tasks,
    placement,
    plan_10000,
    quality,
    recovery,
    second_start,
    short_transfers,
    startup,
    training_rates,
)
from tests.benchmarks.processes import become_subreaper
from tests.hosts.namespaces import missing

Row = tuple[str, str, float, float, str]  # what, unit, bar, measured, how it came about


def median(samples: Sequence[dict[str, float]], key: str) -> float:
    return statistics.median(sample[key] for sample in samples)


def startup_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """The rows of one TensorFlow version."""
    samples = startup.measure(python, rounds, steps)
    ours, hand, mended = samples["tflaunch"], samples["by_hand"], samples["mended"]
    rows = []
    for what, key, bar, base, base_name in (
        ("wall time", "wall_s", 0.35, hand, "by hand"),
        ("wall time, poll mended", "wall_s", 0.7, mended, "mended"),
        ("CPU", "cpu_s", 0.55, hand, "by hand"),
        ("until every trainer has stepped", "first_steps_s", 0.35, hand, "by hand"),
        ("memory (PSS)", "pss_mib", 0.75, hand, "by hand"),
    ):
        mine, theirs = median(ours, key), median(base, key)
        unit = "MiB" if key == "pss_mib" else "s"
        rows.append(
            (f"{name}: {what}", "ratio", bar, mine / theirs, f"{mine:.1f} {unit}, {base_name} {theirs:.1f} {unit}")
        )
    return rows, samples


SECOND_START_BAR_S = 1.5


def second_start_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """From the call until every trainer steps, in a process that has run a cluster before."""
    samples = second_start.measure(python)
    rows = [
        (
            f"{name}: second {way}, call until every trainer steps",
            "s",
            SECOND_START_BAR_S,
            statistics.median(after),
            f"median of {len(after)}; the first {first:.1f} s",
        )
        for way, (first, *after) in samples.items()
    ]
    return rows, samples


def help_row() -> Row:
    seconds = []
    for _ in range(9):
        began = time.perf_counter()
        subprocess.run([Path(sys.executable).parent / "tflaunch", "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    return ("tflaunch --help", "s", 0.25, statistics.median(seconds), "median of 9")


def plan_row() -> Row:
    return ("plan of 10,000 tasks, every TF_CONFIG", "s", 2.0, plan_10000.seconds(), "one run")


RECOVERY_BARS_S = {"worker-1": 5.0, "chief-0": 8.0, "ps-0": 8.0}
END_BAR_S = 3.0


def recovery_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """From a kill until everybody trains again."""
    samples = recovery.measure(python, rounds)
    rows = []
    for victim, bar_s in RECOVERY_BARS_S.items():
        mine, theirs = (statistics.median(samples[way][victim]) for way in ("tflaunch", "by_hand"))
        what = f"{name}: {victim.partition('-')[0]} killed, until it and who waited trains"
        rows.append((what, "s", bar_s, mine, f"by hand {theirs:.1f} s"))
    return rows, samples


def end_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """From the last step to the end."""
    samples = ends.measure(python, rounds, steps)
    mine, theirs = samples["tflaunch"], samples["by_hand"]
    how = f"{median(mine, 'end_s'):.1f} s in all, by hand {median(theirs, 'end_s'):.1f} s"
    what = f"{name}: last step to end, without save, evaluation, export"
    return [(what, "s", END_BAR_S, median(mine, "rest_s"), how)], samples


GUARD_BAR = 0.98


def guard_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """What the guard of a run's ports costs."""
    samples = guarding.measure(python, rounds, steps)
    rows = []
    for job, ways in samples.items():
        ratios = [mine / theirs for mine, theirs in zip(ways["guarded"], ways["open"], strict=True)]
        how = f"median of {len(ratios)} pairs; {statistics.median(ways['guarded']):.0f} steps/s guarded"
        what = f"{name}: steps/s of the {job}, ports guarded to open"
        rows.append((what, "ratio, at least", GUARD_BAR, statistics.median(ratios), how))
    return rows, samples


def input_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """Examples a second of one trainer process."""
    samples = input_rates.measure(python, rounds)
    return [(f"{name}: {what}", *rest) for what, *rest in input_rates.rows(samples)], samples


def training_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """Examples a second of a cluster that trains ESMM."""
    with tempfile.TemporaryDirectory(prefix="tflaunch-training-") as folder:
        samples = training_rates.rounds(python, rounds, Path(folder))
    print(training_rates.table(samples))
    return [(f"{name}: {what}", *rest) for what, *rest in training_rates.rows(samples)], samples


def transfer_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """What bfloat16-transfer is good for over a slow link."""
    if lacking := short_transfers.missing():
        print(f"left out: this needs {lacking}")
        return [], {}
    with tempfile.TemporaryDirectory(prefix="tflaunch-transfer-") as folder:
        samples = short_transfers.measure(python, rounds, Path(folder))
    return [(f"{name}: {what}", *rest) for what, *rest in short_transfers.rows(samples)], samples


def placement_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """Where variables are, and what that is worth."""
    samples = placement.measure(python, rounds)
    return [(f"{name}: {what}", *rest) for what, *rest in placement.rows(samples)], samples


def quality_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """What ESMM learns. What is trained stays in ``bench-results/quality``, so that it can be done in pieces."""
    best, found = quality.measure(Path("bench-results") / "quality")
    print(quality.table(best, found))
    return quality.rows(best, found), {"best": best, **found}


FAN_OUT_BAR = 1.3


def fan_out_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """`python3 -c pass` on fifty hosts, against the faster of pdsh and clush."""
    if lacking := missing():
        print(f"left out: {lacking}")
        return [], {}
    samples = fan_out.measure(rounds)
    medians = {tool: statistics.median(seconds) for tool, seconds in samples.items()}
    mine = medians.pop("tflaunch")
    how = ", ".join(f"{tool} {seconds:.1f} s" for tool, seconds in medians.items()) or "neither pdsh nor clush is here"
    best = min(medians.values(), default=math.nan)
    return [(f"{fan_out.HOSTS} hosts over SSH", "ratio", FAN_OUT_BAR, mine / best, f"{mine:.1f} s, {how}")], samples


MANY_TASKS_BAR_S = 5.0
TWICE_AS_MANY_BAR = 2.3


def many_tasks_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """What a supervisor needs for a run of many tasks that do nothing for ten seconds."""
    samples = many_tasks.measure(rounds)
    few, many = (statistics.median(samples[workers]) for workers in (many_tasks.FEW, many_tasks.MANY))
    what = f"supervisor of {many_tasks.MANY:,} workers"
    return [
        (f"{what}: CPU", "s", MANY_TASKS_BAR_S, many, f"median of {rounds}"),
        (f"{what}, against {many_tasks.FEW}: CPU", "ratio", TWICE_AS_MANY_BAR, many / few, f"{few:.1f} s"),
    ], samples


FLOOD_GROWTH_BAR_MIB = 50.0
FLOOD_BEAT_BAR_S = 2.0


def floods_rows(name: str, python: Path, rounds: int, steps: int) -> tuple[list[Row], object]:
    """What a flood of output costs, and what it delays."""
    samples = floods.measure()
    rows: list[Row] = []
    for flood, found in samples.items():
        process, most = max(found["grew_mib"].items(), key=lambda pair: pair[1])
        lost = ", ".join(found["lost"]) or "nothing"
        before = f"{found['late_before_s']:.1f} s before it"
        rows.append((f"{flood}: growth of a process", "MiB", FLOOD_GROWTH_BAR_MIB, most, f"{process}; lost: {lost}"))
        rows.append((f"{flood}: latest beat", "s", FLOOD_BEAT_BAR_S, found["late_s"], before))
    return rows, samples


def show(rows: Sequence[Row]) -> None:
    width = max(len(row[0]) for row in rows)
    print(f"\n{'':{width}}  {'bar':>6}  {'measured':>8}  met")
    for what, unit, bar, measured, how in rows:
        met = "yes" if (measured >= bar if "at least" in unit else measured <= bar) else "NO"
        print(f"{what:{width}}  {bar:6.2f}  {measured:8.3f}  {met:3}  {unit}; {how}")


PARTS: dict[str, Callable[[str, Path, int, int], tuple[list[Row], object]] | None] = {
    "small": None,
    "startup": startup_rows,
    "second": second_start_rows,
    "recovery": recovery_rows,
    "end": end_rows,
    "guard": guard_rows,
    "hosts": fan_out_rows,
    "many": many_tasks_rows,
    "floods": floods_rows,
    "input": input_rows,
    "training": training_rows,
    "transfer": transfer_rows,
    "placement": placement_rows,
    "quality": quality_rows,
}
NEWEST_ONLY = ("hosts", "many", "floods", "quality")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--legacy-python", type=Path, help="interpreter of an environment with TensorFlow 2.15.1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--only", choices=tuple(PARTS), help="leave the others out")
    args = parser.parse_args()
    become_subreaper()
    rows: list[Row] = []
    samples: dict[str, object] = {}
    pythons = {"newest": Path(sys.executable)} | ({"2.15.1": args.legacy_python} if args.legacy_python else {})
    for part, measured in PARTS.items():
        if args.only not in (None, part):
            continue
        if measured is None:
            rows += [help_row(), plan_row()]
            continue
        for name, python in pythons.items():
            if part in NEWEST_ONLY and name != "newest":
                continue  # TensorFlow's version has no part in it
            print(f"{part}, TensorFlow {name}, {args.rounds} rounds")
            more, samples[f"{part} {name}"] = measured(name, python.absolute(), args.rounds, args.steps)
            rows += more
    show(rows)
    folder = Path("bench-results")
    folder.mkdir(exist_ok=True)
    file = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    file.write_text(json.dumps({"machine": platform.platform(), "rows": rows, "samples": samples}, indent=2))
    print(f"\nevery sample: {file}")


if __name__ == "__main__":
    main()
