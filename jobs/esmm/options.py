"""What the commands are asked to do; :mod:`jobs.esmm.cli` fills these in from the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from launcher.estimator.streaming.formats.options import Reader

Objective = Literal["esmm", "clicks"]
"""``clicks``: conversions, and the embedding, learned from clicked impressions alone. What ESMM is compared with."""

TRUTH_FILE = "truth.json"
"""The file whose presence says that a sample data folder is complete."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSettings:
    """How much sample data to make. Equal settings make equal bytes.

    ``ctr``, ``cvr``: mean rates of clicks, and of conversions of those who click; None: those of the demo.
    ``row_groups``: many rows a record, else one tf.Example a row.
    """

    train_examples: int = 600_000
    eval_examples: int = 80_000
    train_files: int = 12
    eval_files: int = 4
    seed: int = 0
    ctr: float | None = None
    cvr: float | None = None
    row_groups: bool = False

    @property
    def total_examples(self) -> int:
        return self.train_examples + self.eval_examples


@dataclass(frozen=True, kw_only=True, slots=True)
class StopOptions:
    """Early stopping: after ``after_steps`` without a change of ``metric`` for the better by ``min_change``."""

    metric: str
    after_steps: int
    min_steps: int
    min_change: float
    every_steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """One training. ``max_steps`` None: as many steps as ``epochs`` passes over the data have.

    ``follow``: train on files as they appear in the train folder, for ever or until none has come for
    ``stop_when_idle_s``. ``audit``: a folder for the ids of every trained example (file and row, or ``id_column``).
    ``weight_column``: how much each impression counts.
    """

    data: Path
    eval_data: Path | None
    schema_file: Path | None
    model_dir: str | None
    max_steps: int | None
    epochs: float
    batch_examples: int
    eval_batch_examples: int
    learning_rate: float
    embedding_dim: int
    towers: tuple[int, ...]
    optimizer: str
    seed: int | None
    save_checkpoints_secs: int | None
    save_checkpoints_steps: int | None
    keep_checkpoints: int
    keep_every_hours: float | None
    warm_start: str | None
    warm_start_names: tuple[tuple[str, str], ...]
    stop: StopOptions | None
    best_metric: str
    group_by: str | None
    start_delay_secs: int
    throttle_secs: int
    log_steps: int
    follow: bool = False
    stop_when_idle_s: float | None = None
    skip_bad_records: bool = False
    shuffle_examples: int = 32_768
    slice_records: int | None = None
    reader: Reader = "thread"
    audit: Path | None = None
    id_column: str | None = None
    weight_column: str | None = None
    objective: Objective = "esmm"


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictOptions:
    """``source`` None reads standard input. ``source_format`` is ``tfrecord`` or ``jsonl``."""

    model_dir: str | None
    source: Path | None
    source_format: str
    batch_examples: int
    limit: int | None
