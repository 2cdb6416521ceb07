"""The commands that need TensorFlow. They return what they found and print nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from jobs._tf import estimator, tf
from jobs.errors import JobError
from jobs.esmm.config import (
    MODEL_FILE,
    ModelConfig,
    model_config_from_text,
    refuse_other_shape,
)
from jobs.esmm.data import TrainingData, open_eval_files, open_training_data, record_files
from jobs.esmm.input import columns_input_fn, eval_input_fn, predict_input_fn, train_input_fn
from jobs.esmm.model import make_model_fn
from jobs.esmm.options import PredictOptions, TrainOptions
from jobs.esmm.rows import check_record, read_json_rows
from jobs.esmm.schema import Schema
from jobs.esmm.serving import serving_input_fn
from jobs.esmm.task import Task, resolve_model_dir

Metrics = dict[str, float]


def train(options: TrainOptions, task: Task) -> Metrics | None:
    """Trains until the last step, evaluating and finally exporting on the way; a ps serves and never returns.

    Returns the last evaluation where this process made it, else None. Raises JobError.
    """
    run_config = _run_config(options, resolve_model_dir(options.model_dir, task))
    serves_only = task.role == "ps"
    data = _NO_DATA if serves_only else _open_data(options)
    config = ModelConfig(
        schema=data.schema,
        embedding_dim=options.embedding_dim,
        towers=options.towers,
        optimizer=options.optimizer,
    )
    if not serves_only:
        _note_model(run_config, config)
    train_spec, eval_spec = _specs(options, data, max_steps=1 if serves_only else _max_steps(options, data))
    model = estimator.Estimator(make_model_fn(config, learning_rate=options.learning_rate), config=run_config)
    result = estimator.train_and_evaluate(model, train_spec, eval_spec)
    return _plain(result[0]) if result and result[0] else None


def evaluate(model_dir: str, data: Path, *, batch_examples: int) -> Metrics:
    """Evaluates the newest checkpoint on every example of ``data``. Raises JobError."""
    files = open_eval_files(data)
    model, config = _trained_model(model_dir)
    check_record(files[0], config.schema, labels=True)
    input_fn = eval_input_fn(_names(files), config.schema, batch_examples=batch_examples)
    return _plain(model.evaluate(input_fn))


def export(model_dir: str, folder: str) -> str:
    """Makes a SavedModel of the newest checkpoint, in a new folder inside ``folder``; returns its path."""
    model, config = _trained_model(model_dir)
    path: bytes = model.export_saved_model(folder, serving_input_fn(config.schema))
    return path.decode()


def predict(options: PredictOptions, task: Task) -> Iterator[dict[str, float]]:
    """pctr, pcvr and pctcvr of each row, in order. Raises JobError."""
    model, config = _trained_model(resolve_model_dir(options.model_dir, task))
    if options.source_format == "jsonl":
        columns = read_json_rows(options.source, config.schema, limit=options.limit)
        input_fn = columns_input_fn(columns, batch_examples=options.batch_examples)
    else:
        source = options.source or Path()
        files = record_files(source) if source.is_dir() else (source,)
        check_record(files[0], config.schema, labels=False)
        input_fn = predict_input_fn(_names(files), config.schema, batch_examples=options.batch_examples)
    for row in islice(model.predict(input_fn), options.limit):
        yield {name: float(str(row[name])) for name in ("pctr", "pcvr", "pctcvr")}


_NO_DATA = TrainingData(train_files=(), eval_files=(), schema=Schema(features=()))


def _open_data(options: TrainOptions) -> TrainingData:
    data = open_training_data(options.data, eval_folder=options.eval_data, schema_file=options.schema_file)
    check_record(data.train_files[0], data.schema, labels=True)
    return data


def _max_steps(options: TrainOptions, data: TrainingData) -> int:
    """Every task computes the same number, so that the evaluator knows the last checkpoint when it sees it."""
    if options.max_steps is not None:
        return options.max_steps
    return max(1, math.ceil(options.epochs * data.train_examples() / options.batch_examples))


def _run_config(options: TrainOptions, model_dir: str) -> estimator.RunConfig:
    """No ``session_config``: tf.estimator's own has the device filters that keep tasks from waiting for each other."""
    saving: dict[str, int | None] = {"save_checkpoints_secs": options.save_checkpoints_secs}
    if options.save_checkpoints_steps is not None:
        saving = {"save_checkpoints_steps": options.save_checkpoints_steps}
    try:
        return estimator.RunConfig(
            model_dir=model_dir, tf_random_seed=options.seed, log_step_count_steps=options.log_steps, **saving
        )
    except (KeyError, TypeError, ValueError) as error:
        raise JobError(f"TF_CONFIG: {error}") from None


def _specs(
    options: TrainOptions, data: TrainingData, *, max_steps: int
) -> tuple[estimator.TrainSpec, estimator.EvalSpec]:
    train_input = train_input_fn(
        _names(data.train_files), data.schema, batch_examples=options.batch_examples, seed=options.seed
    )
    eval_input = eval_input_fn(_names(data.eval_files), data.schema, batch_examples=options.eval_batch_examples)
    return (
        estimator.TrainSpec(train_input, max_steps=max_steps),
        estimator.EvalSpec(
            eval_input,
            steps=None,
            exporters=estimator.FinalExporter("esmm", serving_input_fn(data.schema)),
            start_delay_secs=options.start_delay_secs,
            throttle_secs=options.throttle_secs,
        ),
    )


def _note_model(run_config: estimator.RunConfig, config: ModelConfig) -> None:
    """Refuses a model_dir of another shape; the chief notes the shape of a new one."""
    trained = _read_note(run_config.model_dir)
    if tf.train.latest_checkpoint(run_config.model_dir):
        if trained is None:
            raise JobError(f"{run_config.model_dir} has checkpoints of another job; name another --model-dir")
        refuse_other_shape(trained=trained, asked=config, model_dir=run_config.model_dir)
    elif run_config.is_chief and trained != config:
        _write_note(run_config.model_dir, config)


def _trained_model(model_dir: str) -> tuple[estimator.Estimator, ModelConfig]:
    """For the commands that read a checkpoint: one process, whatever cluster TF_CONFIG tells of."""
    config = _read_note(model_dir)
    if config is None or not tf.train.latest_checkpoint(model_dir):
        raise JobError(f"no trained model in {model_dir}; train one with: python -m jobs.esmm train")
    local = estimator.RunConfig(model_dir=model_dir)
    return estimator.Estimator(make_model_fn(config), config=local), config


def _read_note(model_dir: str) -> ModelConfig | None:
    path = f"{model_dir.rstrip('/')}/{MODEL_FILE}"
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return model_config_from_text(file.read(), where=path)


def _write_note(model_dir: str, config: ModelConfig) -> None:
    import json

    tf.io.gfile.makedirs(model_dir)
    path = f"{model_dir.rstrip('/')}/{MODEL_FILE}"
    with tf.io.gfile.GFile(path + ".new", "w") as file:
        file.write(json.dumps(config.to_json(), indent=1) + "\n")
    tf.io.gfile.rename(path + ".new", path, overwrite=True)


def _plain(metrics: Mapping[str, object]) -> Metrics:
    """Python numbers for NumPy's; ``str`` gives a float32 in its own short decimals."""
    return {name: int(str(v)) if name == "global_step" else float(str(v)) for name, v in sorted(metrics.items())}


def _names(files: Sequence[Path]) -> list[str]:
    return [str(file) for file in files]
