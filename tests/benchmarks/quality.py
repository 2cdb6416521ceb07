"""What ESMM learns of rare clicks and conversions: against the best reachable, and against training on clicks alone.

4 million impressions with 5 % clicks and 4 % conversions of clicks. What makes a user click also makes him convert, so
clicked impressions are a biased sample. Predictions are judged by the known probabilities of each impression, which
stand in for labels that would be too few to tell.

    python -m tests.benchmarks.quality RESULTS            # everything that RESULTS does not have yet, then the table
    python -m tests.benchmarks.quality RESULTS --only esmm-1      # one training: a few minutes on two cores
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jobs.auc import exact_auc
from jobs.esmm.cli import main as esmm
from jobs.esmm.sample.sample import EVAL_TRUTH_FILE

TRAIN, EVAL, FILES = 4_000_000, 200_000, 40
CTR, CVR = 0.05, 0.04
SEEDS = (1, 2, 3)
BARS = {"ctr_auc": 0.01, "ctcvr_auc": 0.015, "cvr_auc": 0.02}
NAMES = {"ctr_auc": "CTR", "ctcvr_auc": "CTCVR", "cvr_auc": "CVR over all impressions"}
MODEL = ("--preset", "demo")
OBJECTIVES: Mapping[str, tuple[str, ...]] = {
    "esmm": ("--epochs", "4", "--batch-size", "1024", "--learning-rate", "0.001"),
    "clicks": ("--epochs", "4", "--batch-size", "256", "--learning-rate", "0.002"),
}
"""Flags of each way to train. Training on clicks reads the clicked impressions alone, a twentieth of the rows: it gets
smaller batches and larger steps, with which it does better than with those of ESMM."""

Figures = Mapping[str, float]


def best(truth: np.ndarray) -> Figures:
    """The AUC of the true probabilities themselves."""
    return judged(truth, truth)


def judged(predicted: np.ndarray, truth: np.ndarray) -> Figures:
    """float64[impressions, 2] of pCTR and pCVR each; AUCs over all impressions."""
    return {
        "ctr_auc": exact_auc(truth[:, 0], predicted[:, 0]),
        "cvr_auc": exact_auc(truth[:, 1], predicted[:, 1]),
        "ctcvr_auc": exact_auc(truth.prod(axis=1), predicted.prod(axis=1)),
    }


def make_data(folder: Path) -> None:
    """All impressions in ``folder/all``, the clicked ones of its train/ in ``folder/clicks``."""
    size = ["--train-examples", TRAIN, "--train-files", FILES, "--eval-examples", EVAL, "--eval-files", 4]
    esmm(
        [
            "generate",
            "--out",
            str(folder / "all"),
            "--row-groups",
            "--ctr",
            str(CTR),
            "--cvr",
            str(CVR),
            *map(str, size),
        ]
    )
    from launcher.estimator.streaming.formats.inference import find_spec
    from launcher.estimator.streaming.tools.convert import read_columns, write_groups

    parts = folder / "clicks"
    (parts / "train").mkdir(parents=True)
    for number, file in enumerate(sorted((folder / "all" / "train").iterdir())):
        spec = find_spec(str(file), "row_groups")
        whole = read_columns(str(file), spec, batch=1 << 17)
        clicked = [{key: column[rows["click"] == 1] for key, column in rows.items()} for rows in whole]
        write_groups(str(parts / "train" / f"{number:03d}.tfrecord"), clicked, spec)
    shutil.copy(folder / "all" / "schema.json", parts)
    (parts / "eval").symlink_to(folder.absolute() / "all" / "eval")


def train(folder: Path, objective: str, seed: int) -> Figures:
    """One model in a process of its own; its predictions, judged."""
    model_dir = folder / f"model-{objective}-{seed}"
    shutil.rmtree(model_dir, ignore_errors=True)
    data = folder / ("clicks" if objective == "clicks" else "all")
    command = ["train", "--data", data, "--model-dir", model_dir, "--seed", seed, "--objective", objective]
    _run([*command, *MODEL, *OBJECTIVES[objective], "--start-delay-secs", 99999, "--throttle-secs", 99999])
    rows = _run(["predict", folder / "all" / "eval", "--model-dir", model_dir, "--log-level", "error"])
    shutil.rmtree(model_dir)
    predicted = [(row["pctr"], row["pcvr"]) for row in map(json.loads, rows.splitlines())]
    return judged(np.array(predicted), np.load(folder / "all" / EVAL_TRUTH_FILE))


def _run(arguments: Sequence[object]) -> str:
    command = [sys.executable, "-m", "jobs.esmm", *map(str, arguments)]
    environ = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environ).stdout


def table(best_found: Figures, found: Mapping[str, Sequence[Figures]]) -> str:
    """Markdown: mean and spread (lowest to highest) of the seeds."""
    lines = [
        "| AUC | best reachable | ESMM | below the best (bar) | trained on clicks alone |",
        "|---|---|---|---|---|",
    ]
    for key, name in NAMES.items():
        mine = [figures[key] for figures in found["esmm"]]
        below = best_found[key] - statistics.fmean(mine)
        others = [figures[key] for figures in found["clicks"]] if key == "cvr_auc" else []
        cells = [f"{best_found[key]:.4f}", _spread(mine), f"{below:.4f} ({BARS[key]})", _spread(others)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4f} ({min(values):.4f} to {max(values):.4f})" if values else "-"


def rows(best_found: Figures, found: Mapping[str, Sequence[Figures]]) -> list[tuple[str, str, float, float, str]]:
    """As ``tests.benchmarks`` prints them: what, unit, bar, measured, how it came about."""
    mean = {
        way: {key: statistics.fmean(figures[key] for figures in each) for key in BARS} for way, each in found.items()
    }
    made = [
        (
            f"quality: {NAMES[key]}",
            "AUC below the best",
            bar,
            best_found[key] - mean["esmm"][key],
            f"{len(SEEDS)} seeds",
        )
        for key, bar in BARS.items()
    ]
    gain = mean["esmm"]["cvr_auc"] - mean["clicks"]["cvr_auc"]
    return [*made, ("quality: CVR, ESMM over clicks alone", "AUC at least", 0.0, gain, f"{len(SEEDS)} seeds")]


def measure(folder: Path, only: str | None = None) -> tuple[Figures, dict[str, list[Figures]]]:
    """Whatever ``folder`` does not have yet is trained, and kept there."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "all" / EVAL_TRUTH_FILE
    if not data.exists() or not (folder / "clicks" / "eval").exists():
        make_data(folder)
    found: dict[str, list[Figures]] = {objective: [] for objective in OBJECTIVES}
    for seed in SEEDS:
        for objective in OBJECTIVES:
            file = folder / f"{objective}-{seed}.json"
            if not file.exists() and only in (None, file.stem):
                print(f"  {file.stem}", flush=True)
                file.write_text(json.dumps(train(folder, objective, seed)))
            if file.exists():
                found[objective].append(json.loads(file.read_text()))
    return best(np.load(data)), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", help="one training, such as esmm-1, or data")
    args = parser.parse_args()
    reachable, found = measure(args.results, args.only)
    print(json.dumps({"best": reachable, **found}))
    if all(found.values()):
        print(table(reachable, found))


if __name__ == "__main__":
    main()
