"""The training input: a queue of shards that all trainers share, read by the streaming engine."""

from __future__ import annotations

import math

from jobs.errors import JobError
from jobs.esmm.data import TrainingData
from jobs.esmm.options import TrainOptions
from jobs.esmm.rows import holds_row_groups
from jobs.esmm.schema import LABELS
from launcher.estimator.streaming.feature_spec import Column, FeatureSpec
from launcher.estimator.streaming.options import Format, ReadingOptions
from launcher.estimator.streaming.reading import read
from launcher.estimator.streaming.stream import Files, Folder, Stream

_LINGER_S = 1.0


def training_stream(options: TrainOptions, data: TrainingData) -> Stream:
    """The stream of one training. Raises JobError."""
    schema = data.schema
    if options.id_column is not None and options.id_column not in (*schema.names, *LABELS):
        raise JobError(f"--id-column {options.id_column}: no such column; there are {', '.join(schema.names)}")
    if options.stop_when_idle_s is not None and not options.follow:
        raise JobError("--stop-when-idle-s goes with --follow; without it training ends with its epochs")
    reading = ReadingOptions(
        spec=FeatureSpec(columns=tuple(Column(name=name) for name in (*schema.names, *LABELS))),
        format=_format(data),
        batch_examples=options.batch_examples,
        shuffle_rows=options.shuffle_examples,
        seed=options.seed,
        linger_s=_LINGER_S if options.follow else None,
        on_bad_record="skip" if options.skip_bad_records else "fail",
        reader=options.reader,
        on_skipped=lambda record: stream.skipped(record.path),
    )
    stream = Stream(
        _source(options, data),
        lambda leases: read(leases, reading),
        labels=LABELS,
        audit=options.audit,
        id_column=options.id_column,
    )
    return stream


def _format(data: TrainingData) -> Format:
    """What the first file holds."""
    return "row_groups" if data.train_files and holds_row_groups(data.train_files[0]) else "example"


def _source(options: TrainOptions, data: TrainingData) -> Files | Folder:
    if options.follow:
        return Folder(path=str(data.train_folder), stop_when_idle_s=options.stop_when_idle_s)
    epochs = None if options.max_steps is not None else math.ceil(options.epochs)
    names = tuple(str(file) for file in data.train_files)
    return Files(sources=names, epochs=epochs, seed=options.seed, slice_records=options.slice_records)
