"""The training input: a queue of shards that all trainers share, read by the streaming engine."""

from __future__ import annotations

import math

from jobs.errors import JobError
from jobs.esmm.input.data import TrainingData
from jobs.esmm.input.input import columns_of
from jobs.esmm.input.rows import find_format
from jobs.esmm.input.schema import label_names
from jobs.esmm.options import TrainOptions
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.reading.dataset import read
from launcher.estimator.streaming.stream import Files, Folder, Stream

_LINGER_S = 1.0


def training_stream(options: TrainOptions, data: TrainingData) -> Stream:
    """The stream of one training. Raises JobError."""
    schema, labels = data.schema, label_names(options.weight_column, data.schema)
    if options.id_column is not None and options.id_column not in (*schema.names, *labels):
        raise JobError(f"--id-column {options.id_column}: no such column; there are {', '.join(schema.names)}")
    if options.stop_when_idle_s is not None and not options.follow:
        raise JobError("--stop-when-idle-s goes with --follow; without it training ends with its epochs")
    reading = ReadingOptions(
        spec=columns_of(schema, labels=labels, files=data.train_files),
        format=find_format(data.train_files),
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
        labels=labels,
        audit=options.audit,
        id_column=options.id_column,
    )
    return stream


def _source(options: TrainOptions, data: TrainingData) -> Files | Folder:
    if options.follow:
        return Folder(path=str(data.train_folder), stop_when_idle_s=options.stop_when_idle_s)
    epochs = None if options.max_steps is not None else math.ceil(options.epochs)
    names = tuple(str(file) for file in data.train_files)
    return Files(sources=names, epochs=epochs, seed=options.seed, slice_records=options.slice_records)
