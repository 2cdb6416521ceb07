"""What was said on the command line, as the options that commands take."""

from __future__ import annotations

import argparse
from pathlib import Path

from jobs.esmm.config import PRESETS
from jobs.esmm.options import PredictOptions, SampleSettings, StopOptions, TrainOptions

_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")


def sample_settings(options: argparse.Namespace) -> SampleSettings:
    """The options of ``generate``."""
    return SampleSettings(
        train_examples=options.train_examples,
        eval_examples=options.eval_examples,
        train_files=options.train_files,
        eval_files=options.eval_files,
        seed=options.seed,
        ctr=options.ctr,
        cvr=options.cvr,
        row_groups=options.row_groups,
    )


def train_options(options: argparse.Namespace) -> TrainOptions:
    """The options of ``train``."""
    preset = PRESETS[options.preset]
    by_steps = options.save_checkpoints_steps is not None
    return TrainOptions(
        data=options.data,
        eval_data=options.eval_data,
        schema_file=options.schema,
        model_dir=options.model_dir,
        max_steps=options.max_steps,
        epochs=options.epochs,
        batch_examples=options.batch_size,
        eval_batch_examples=options.eval_batch_size,
        learning_rate=getattr(options, "learning_rate", preset.learning_rate),
        embedding_dim=getattr(options, "embedding_dim", preset.embedding_dim),
        towers=getattr(options, "towers", preset.towers),
        optimizer=getattr(options, "optimizer", preset.optimizer),
        seed=options.seed,
        save_checkpoints_secs=None if by_steps else options.save_checkpoints_secs,
        save_checkpoints_steps=options.save_checkpoints_steps,
        keep_checkpoints=options.keep_checkpoints,
        keep_every_hours=options.keep_every_hours,
        warm_start=options.warm_start,
        warm_start_names=options.warm_start_names,
        stop=_stop_options(options),
        best_metric=options.best_metric,
        group_by=options.group_by,
        start_delay_secs=options.start_delay_secs,
        throttle_secs=options.throttle_secs,
        log_steps=options.log_steps,
        follow=options.follow,
        stop_when_idle_s=options.stop_when_idle_s,
        skip_bad_records=options.on_bad_record == "skip",
        shuffle_examples=options.shuffle_examples,
        slice_records=options.slice_records,
        reader=options.reader,
        audit=options.audit,
        id_column=options.id_column,
        weight_column=options.weight_column,
        objective=options.objective,
    )


def _stop_options(options: argparse.Namespace) -> StopOptions | None:
    if options.stop_after_steps is None:
        return None
    return StopOptions(
        metric=options.stop_metric,
        after_steps=options.stop_after_steps,
        min_steps=options.stop_min_steps,
        min_change=options.stop_min_change,
        every_steps=options.stop_every_steps,
    )


def predict_options(options: argparse.Namespace) -> PredictOptions:
    """The options of ``predict``."""
    source = None if options.input == "-" else Path(options.input)
    by_name = "jsonl" if source is None or source.suffix in _JSON_SUFFIXES else "tfrecord"
    return PredictOptions(
        model_dir=options.model_dir,
        source=source,
        source_format=options.format or by_name,
        batch_examples=options.batch_size,
        limit=options.limit,
    )
