"""Data for the benchmarks of training: 24 features of 100,000 ids, as row groups and as one tf.Example a row.

    python -m tests.benchmarks.training_data FOLDER

Low ids are the frequent ones, as in any log; each id moves clicks and conversions by a weight of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from jobs.tfrecord import encode_rows
from launcher.estimator.streaming.formats.row_groups import spec_of_arrays
from launcher.estimator.streaming.tools.convert import write_groups

FEATURES = tuple(f"f{number:02d}" for number in range(24))
IDS = 100_000
FILES, ROWS_PER_FILE = 12, 50_000
EVAL_ROWS = 100_000
_SKEW = 8.0
_STEP = 10_000
GROUPS, ROWS = "groups", "rows"

Columns = dict[str, np.ndarray]


class Hidden:
    """What clicks and conversions are drawn from: float[features, ids] weights of both, which partly agree."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 0])
        click, own = (rng.standard_normal((len(FEATURES), IDS)) for _ in range(2))
        self._click, self._convert = 0.3 * click, 0.3 * (0.6 * click + 0.8 * own)

    def draw(self, rng: np.random.Generator, rows: int) -> Columns:
        ids = (IDS * rng.random((len(FEATURES), rows)) ** _SKEW).astype(np.int64)
        every = np.arange(len(FEATURES))[:, None]
        click = rng.random(rows) < _sigmoid(self._click[every, ids].sum(axis=0) - 1.2)
        conversion = click & (rng.random(rows) < _sigmoid(self._convert[every, ids].sum(axis=0) - 1.2))
        columns = dict(zip(FEATURES, ids, strict=True))
        return columns | {"click": click.astype(np.int64), "conversion": conversion.astype(np.int64)}


def make(folder: Path, seed: int = 0) -> None:
    """``folder/groups`` and ``folder/rows``, each with train/, eval/ and schema.json, of the same rows."""
    hidden = Hidden(seed)
    for form in (GROUPS, ROWS):
        for split in ("train", "eval"):
            (folder / form / split).mkdir(parents=True)
        schema = {"features": [{"name": name, "ids": IDS} for name in FEATURES]}
        (folder / form / "schema.json").write_text(json.dumps(schema))
    for number in range(FILES):
        write(
            folder, f"train/{number:02d}.tfrecord", hidden.draw(np.random.default_rng([seed, 1, number]), ROWS_PER_FILE)
        )
    evaluated = hidden.draw(np.random.default_rng([seed, 2]), EVAL_ROWS)
    for form in (GROUPS, ROWS):
        (folder / form / "eval" / "0.tfrecord").write_bytes(encode_rows(evaluated))


def write(folder: Path, name: str, columns: Columns) -> None:
    parts = [{key: column[i : i + _STEP] for key, column in columns.items()} for i in range(0, ROWS_PER_FILE, _STEP)]
    write_groups(str(folder / GROUPS / name), parts, spec_of_arrays(columns))
    with (folder / ROWS / name).open("wb") as file:
        for part in parts:
            file.write(encode_rows(part))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
