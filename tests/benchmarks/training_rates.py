"""How fast 1 ps, a chief and 2 workers train ESMM: the shared job, and the same model written the usual way.

Each run is one command, kept with its figures in a folder, so that a measurement can be done in short pieces:

    python -m tests.benchmarks.training_rates RESULTS ours --towers 360,200,80
    python -m tests.benchmarks.training_rates RESULTS table
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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from launcher.record.events import Progressed
from launcher.record.reading import everything
from launcher.record.runs import RunFolder
from launcher.timeline.samples import Sample, read_folder, task_of_device
from tests.benchmarks import training_data

DIM, BATCH = 18, 1024
PAPER, DEMO = "360,200,80", "64,32"
BARS = {PAPER: 2.5, DEMO: 4.0}
LIMIT_AIM, AUC_TOLERANCE = 0.75, 0.003
WAYS = ("ours", "usual", "limit")
AUCS = ("ctr_auc", "cvr_auc", "ctcvr_auc")
_FROM_SHARE = 0.2
_TIMEOUT_S = 570
_TRACED_STEPS = 100
_LIMIT_SECONDS = 15


@dataclass(frozen=True, kw_only=True)
class Job:
    """One model on one cluster; equal for both ways. ``options``: of tflaunch; ``prefix``: what it is started by."""

    towers: str = PAPER
    optimizer: str = "lazy-adam"
    rate: float = 0.002
    steps: int = 600
    profile_steps: int = 0
    seed: int = 0
    options: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()


def measure(way: str, job: Job, data: Path, python: Path) -> dict[str, Any]:
    """One run. Raises RuntimeError with the end of its output where it fails."""
    return _limit(job, python) if way == "limit" else _cluster(way, job, data, python)


Samples = dict[str, list[dict[str, Any]]]


def rounds(python: Path, count: int, folder: Path) -> Samples:
    """``count`` runs of each way and each model, alternating; the first of each is traced, and not clocked."""
    data = folder / "data"
    if not data.is_dir():
        training_data.make(data)
    samples: Samples = {}
    for number in range(count + 1):
        for towers in BARS:
            for way in WAYS:
                if number or way != "limit":
                    job = Job(towers=towers, profile_steps=0 if number else _TRACED_STEPS)
                    found = {"traced": not number, **measure(way, job, data, python)}
                    samples.setdefault(f"{way} {towers}", []).append(found)
                    print(f"  {way:6} {towers:11} {found}", flush=True)
    return samples


def rows(samples: Samples) -> list[tuple[str, str, float, float, str]]:
    """As ``tests.benchmarks`` prints them: what, unit, bar, measured, how it came about."""
    made = []
    for towers, bar in BARS.items():
        rates = {way: _median(samples, f"{way} {towers}", "examples_per_s") for way in WAYS}
        shown = ", ".join(f"{way} {value / 1e3:.1f} k/s" for way, value in rates.items())
        what = f"training, towers {towers}"
        made.append((f"{what}: over the usual way", "x at least", bar, rates["ours"] / rates["usual"], shown))
        made.append((f"{what}: of the limit", "x at least", LIMIT_AIM, rates["ours"] / rates["limit"], "aim"))
        for auc in ("ctr_auc", "ctcvr_auc"):
            lost = _median(samples, f"usual {towers}", auc) - _median(samples, f"ours {towers}", auc)
            made.append((f"{what}: {auc} lost", "AUC", AUC_TOLERANCE, lost, "after the same examples"))
        for way in ("ours", "usual"):
            step = _step(samples, f"{way} {towers}")
            print(f"  a step, {way} {towers}: " + ", ".join(f"{key} {value:.1f}" for key, value in step.items()))
    return made


def table(samples: Samples) -> str:
    """Markdown: rates, quality after the same examples, and what a step does, of each way."""
    lines = [
        "| towers | | examples/s | CTR AUC | CTCVR AUC | tensors a step | MB a step | operations a step |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_line(samples, towers, way) for towers in BARS for way in WAYS])


_NAMES = {"ours": "shared job", "usual": "the usual way", "limit": "one process from memory"}


def _line(samples: Samples, towers: str, way: str) -> str:
    key = f"{way} {towers}"
    rate_of = {each: _median(samples, f"{each} {towers}", "examples_per_s") for each in ("ours", way)}
    cells = [towers.replace(",", "-"), _NAMES[way], f"{rate_of[way] / 1e3:.1f} k"]
    if way != "ours":
        cells[-1] += f" ({rate_of['ours'] / rate_of[way]:.2f} x)"
    if way == "limit":
        return f"| {' | '.join([*cells, *['-'] * 5])} |"
    cells += [f"{_median(samples, key, auc):.4f}" for auc in ("ctr_auc", "ctcvr_auc")]
    step = _step(samples, key)
    ops = f"{step['trainer_ops']:.0f} + {step['ps_ops']:.0f} on the ps"
    cells += [f"{step['round_trips']:.0f}", f"{step['mb']:.1f}", ops]
    return f"| {' | '.join(cells)} |"


def _step(samples: Samples, key: str) -> Mapping[str, float]:
    found: Mapping[str, float] = next(each["step"] for each in samples[key] if "step" in each)
    return found


def kept(file: Path) -> Samples:
    """What single runs have left in a folder of results."""
    samples: Samples = {}
    for line in file.read_text().splitlines():
        found = json.loads(line)
        samples.setdefault(f"{found['way']} {found['towers']}", []).append(
            {**found, "traced": bool(found["profile_steps"])}
        )
    return samples


def _median(samples: Samples, key: str, figure: str) -> float:
    """Of the runs that were not traced; where all were, of those, which one step in a hundred slows down."""
    clocked = [each for each in samples[key] if not each["traced"]] or samples[key]
    return statistics.median(float(each[figure]) for each in clocked)


def _limit(job: Job, python: Path) -> dict[str, Any]:
    args = [job.towers, str(DIM), job.optimizer, str(job.rate), str(BATCH), str(_LIMIT_SECONDS)]
    found: dict[str, Any] = json.loads(_run([str(python), "-m", "tests.benchmarks.from_memory", *args]))
    return found


def _cluster(way: str, job: Job, data: Path, python: Path) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="tfl-rates-"))
    try:
        command = [
            *job.prefix,
            str(python.parent / "tflaunch"),
            "local",
            "--workers",
            "2",
            "--ps",
            "1",
            "--plain",
            *job.options,
        ]
        if job.profile_steps:
            command += ["--profile-steps", str(job.profile_steps)]
        _run([*command, "--run-dir", str(folder / "run"), "--", "python", *_script(way, job, data, folder)])
        return figures(folder / "run")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _script(way: str, job: Job, data: Path, folder: Path) -> list[str]:
    common = ["--model-dir", str(folder / "model"), "--towers", job.towers, "--optimizer", job.optimizer]
    if way == "usual":
        script = ["-m", "tests.benchmarks.usual_esmm", "--data", str(data / training_data.ROWS), *common]
        return [*script, "--dim", str(DIM), "--batch", str(BATCH), "--rate", str(job.rate), "--steps", str(job.steps)]
    script = ["-m", "jobs.esmm", "train", "--data", str(data / training_data.GROUPS), *common]
    script += ["--embedding-dim", str(DIM), "--batch-size", str(BATCH), "--learning-rate", str(job.rate)]
    script += ["--max-steps", str(job.steps), "--seed", str(job.seed)]
    return [*script, "--start-delay-secs", "99999", "--throttle-secs", "99999"]


def _run(command: Sequence[str]) -> str:
    """Standard output of the command."""
    root = str(Path(__file__).parents[2])
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("TF", "TFLAUNCH"))}
    environ |= {"PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "2"}
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environ, timeout=_TIMEOUT_S, check=False
        )
        if done.returncode:
            errors.seek(0)
            raise RuntimeError(f"{command} ended with {done.returncode}:\n{errors.read()[-2000:]}{done.stdout[-2000:]}")
    return done.stdout


def figures(run: Path) -> dict[str, Any]:
    """Examples a second over the last four fifths of the steps, AUCs after the last one, and what a step sends."""
    report = json.loads((run / "report.json").read_text())
    steps = [
        (item.at, item.event.global_step)
        for item in everything(RunFolder(run))
        if isinstance(item.event, Progressed) and item.event.task == "chief:0"
    ]
    found: dict[str, Any] = {"examples_per_s": rate(steps) * BATCH}
    found |= {name: report["metrics"][name] for name in AUCS}
    samples, _ = read_folder(run / "timeline") if (run / "timeline").is_dir() else ([], [])
    if counted := [sample for sample in samples if sample.transfers]:
        found["step"] = {key: statistics.fmean(per_step(s)[key] for s in counted) for key in per_step(counted[0])}
    return found


def rate(steps: Sequence[tuple[datetime, int]]) -> float:
    """Steps a second between a fifth of the way and the last."""
    first = next(item for item in steps if item[1] >= _FROM_SHARE * steps[-1][1])
    return (steps[-1][1] - first[1]) / (steps[-1][0] - first[0]).total_seconds()


def per_step(sample: Sample) -> Mapping[str, float]:
    """What one traced step does: operations, tensors that cross between tasks (a request and an answer each), their
    bytes."""
    crossing = [size for source, target, size in sample.transfers if task_of_device(source) != task_of_device(target)]
    ops = {"trainer_ops": 0, "ps_ops": 0}
    for device, found in sample.devices.items():
        ops["ps_ops" if sample.owner(device).startswith("ps:") else "trainer_ops"] += len(found)
    return {**ops, "round_trips": len(crossing), "mb": sum(crossing) / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="folder for the figures and the data")
    parser.add_argument("way", choices=(*WAYS, "table"))
    usual = Job()
    parser.add_argument("--towers", default=usual.towers)
    parser.add_argument("--optimizer", default=usual.optimizer)
    parser.add_argument("--rate", type=float, default=usual.rate)
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--profile-steps", type=int, default=0)
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the shared job: values to begin with, order")
    args = parser.parse_args()
    if args.way == "table":
        print(table(kept(args.results / "samples.jsonl")))
        return
    job = Job(**{key: value for key, value in vars(args).items() if key in asdict(usual)})
    data = args.results / "data"
    if not data.is_dir():
        training_data.make(data)
    found = {"way": args.way, **asdict(job), **measure(args.way, job, data, Path(sys.executable))}
    with (args.results / "samples.jsonl").open("a") as file:
        file.write(json.dumps(found) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
