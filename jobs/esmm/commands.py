"""The commands that need TensorFlow. They return what they found and print nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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
from jobs.esmm.input.data import TrainingData, open_eval_files, open_training_data, record_files
from jobs.esmm.input.input import columns_input_fn, files_input_fn
from jobs.esmm.input.rows import check_record, read_json_rows
from jobs.esmm.input.schema import Schema, label_names
from jobs.esmm.input.stream import training_stream
from jobs.esmm.model.model import ModelFn, make_model_fn, warm_started
from jobs.esmm.model.serving import serving_input_fn
from jobs.esmm.options import PredictOptions, StopOptions, TrainOptions
from jobs.esmm.task import Task, resolve_model_dir
from launcher.estimator import (
    BestExporter,
    FinalExporter,
    balanced_device_fn,
    ensure_adjustments,
    freeze,
    stop_if_no_decrease_hook,
    stop_if_no_increase_hook,
)
from launcher.estimator.task import drains_evaluator
from launcher.estimator.training.exporters import publish

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
        _check_group(options.group_by, data.schema)
        _note_model(run_config, config)
    train_spec, eval_spec = _specs(options, data, max_steps=1 if serves_only else _max_steps(options, data, task))
    ensure_adjustments({"preflight", "keep-evaluated"})
    model = estimator.Estimator(_training_model_fn(config, options), config=run_config)
    if options.stop is not None:
        train_spec = train_spec._replace(hooks=(*train_spec.hooks, _stopping_hook(model, options.stop)))
    result = estimator.train_and_evaluate(model, train_spec, eval_spec)
    if not task.role and train_spec.max_steps is None:
        _export_at_the_end(model, eval_spec, result[0])
    return _plain(result[0]) if result and result[0] else None


def _export_at_the_end(model: estimator.Estimator, spec: estimator.EvalSpec, evaluated: Mapping[str, object]) -> None:
    """What an evaluator does in a cluster. A process alone takes an evaluation for the last one only if it knows the
    last step (``_TrainingExecutor.run_local`` in tensorflow_estimator/python/estimator/training.py)."""
    for exporter in spec.exporters:
        if isinstance(exporter, FinalExporter):
            folder = str(Path(model.model_dir) / "export" / exporter.name)
            exporter.export(model, folder, model.latest_checkpoint(), evaluated, is_the_final_export=True)


def evaluate(
    model_dir: str, data: Path, *, batch_examples: int, group_by: str | None = None, weight_column: str | None = None
) -> Metrics:
    """Evaluates the newest checkpoint on every example of ``data``. Raises JobError."""
    files = open_eval_files(data)
    model, config = _trained_model(model_dir, group_by=group_by, weight_column=weight_column)
    labels = label_names(weight_column, config.schema)
    check_record(files[0], config.schema, labels=labels)
    input_fn = files_input_fn(files, config.schema, labels=labels, batch_examples=batch_examples)
    return _plain(model.evaluate(input_fn))


def export(model_dir: str, folder: str, *, frozen: str | None = None) -> str:
    """Makes a SavedModel of the newest checkpoint, in a new folder inside ``folder``, to which ``current`` then points;
    returns its path. ``frozen``: a file for the same model as a frozen graph."""
    model, config = _trained_model(model_dir)
    path: str = model.export_saved_model(folder, serving_input_fn(config.schema)).decode()
    publish(folder, Path(path).name)
    if frozen is not None:
        freeze(path, frozen)
    return path


def predict(options: PredictOptions, task: Task) -> Iterator[dict[str, float]]:
    """pctr, pcvr and pctcvr of each row, in order. Raises JobError."""
    model, config = _trained_model(resolve_model_dir(options.model_dir, task))
    if options.source_format == "jsonl":
        columns = read_json_rows(options.source, config.schema, limit=options.limit)
        input_fn = columns_input_fn(columns, config.schema, batch_examples=options.batch_examples)
    else:
        source = options.source or Path()
        files = record_files(source) if source.is_dir() else (source,)
        check_record(files[0], config.schema)
        input_fn = files_input_fn(files, config.schema, batch_examples=options.batch_examples)
    for row in islice(model.predict(input_fn), options.limit):
        yield {name: float(str(row[name])) for name in ("pctr", "pcvr", "pctcvr")}


_NO_DATA = TrainingData(train_folder=Path(), train_files=(), eval_files=(), schema=Schema(features=()))


def _open_data(options: TrainOptions) -> TrainingData:
    data = open_training_data(
        options.data, eval_folder=options.eval_data, schema_file=options.schema_file, may_be_empty=options.follow
    )
    for file in data.train_files[:1]:
        check_record(file, data.schema, labels=label_names(options.weight_column, data.schema))
    return data


def _max_steps(options: TrainOptions, data: TrainingData, task: Task) -> int | None:
    """Whole epochs end with their input. An evaluator that no launcher tells of the end must know a step of which the
    last checkpoint is not short: batches are never larger than they should be, and now and then smaller.
    """
    if options.max_steps is not None:
        return options.max_steps
    ends_with_input = options.follow or options.epochs == int(options.epochs)
    if ends_with_input and (task.role != "evaluator" or drains_evaluator()):
        return None
    return max(1, math.ceil(options.epochs * data.train_examples() / options.batch_examples))


def _run_config(options: TrainOptions, model_dir: str) -> estimator.RunConfig:
    """No ``session_config``: tf.estimator's own has the device filters that keep tasks from waiting for each other."""
    saving: dict[str, float | None] = {"save_checkpoints_secs": options.save_checkpoints_secs}
    if options.save_checkpoints_steps is not None:
        saving = {"save_checkpoints_steps": options.save_checkpoints_steps}
    if options.keep_every_hours is not None:
        saving["keep_checkpoint_every_n_hours"] = options.keep_every_hours
    try:
        config = estimator.RunConfig(
            model_dir=model_dir,
            tf_random_seed=options.seed,
            log_step_count_steps=options.log_steps,
            keep_checkpoint_max=options.keep_checkpoints,
            **saving,
        )
        return config.replace(device_fn=balanced_device_fn(config))
    except (KeyError, TypeError, ValueError) as error:
        raise JobError(f"TF_CONFIG: {error}") from None


def _specs(
    options: TrainOptions, data: TrainingData, *, max_steps: int | None
) -> tuple[estimator.TrainSpec, estimator.EvalSpec]:
    labels = label_names(options.weight_column, data.schema)
    eval_input = files_input_fn(data.eval_files, data.schema, labels=labels, batch_examples=options.eval_batch_examples)
    return (
        training_stream(options, data).train_spec(max_steps=max_steps),
        estimator.EvalSpec(
            eval_input,
            steps=None,
            exporters=_exporters(options, data.schema),
            start_delay_secs=options.start_delay_secs,
            throttle_secs=options.throttle_secs,
        ),
    )


def _exporters(options: TrainOptions, schema: Schema) -> list[estimator.Exporter]:
    receiver_fn = serving_input_fn(schema)
    best = BestExporter("best", receiver_fn, options.best_metric, higher_is_better=_rises(options.best_metric))
    return [FinalExporter("esmm", receiver_fn), best]


def _rises(metric: str) -> bool:
    """Whether a metric of this job is better when it is higher: an AUC is, a loss is not."""
    return "auc" in metric


def _stopping_hook(model: estimator.Estimator, stop: StopOptions) -> estimator.SessionRunHook:
    make_hook = stop_if_no_increase_hook if _rises(stop.metric) else stop_if_no_decrease_hook
    return make_hook(
        model,
        stop.metric,
        stop.after_steps,
        min_steps=stop.min_steps,
        min_change=stop.min_change,
        run_every_steps=stop.every_steps,
    )


def _training_model_fn(config: ModelConfig, options: TrainOptions) -> ModelFn:
    model_fn = make_model_fn(
        config,
        learning_rate=options.learning_rate,
        group_by=options.group_by,
        weight_column=options.weight_column,
        objective=options.objective,
    )
    return warm_started(model_fn, options.warm_start, dict(options.warm_start_names))


def _note_model(run_config: estimator.RunConfig, config: ModelConfig) -> None:
    """Refuses a model_dir of another shape; the chief notes the shape of a new one."""
    trained = _read_note(run_config.model_dir)
    if tf.train.latest_checkpoint(run_config.model_dir):
        if trained is None:
            raise JobError(f"{run_config.model_dir} has checkpoints of another job; name another --model-dir")
        refuse_other_shape(trained=trained, asked=config, model_dir=run_config.model_dir)
    elif run_config.is_chief and trained != config:
        _write_note(run_config.model_dir, config)


def _trained_model(
    model_dir: str, *, group_by: str | None = None, weight_column: str | None = None
) -> tuple[estimator.Estimator, ModelConfig]:
    """For the commands that read a checkpoint: one process, whatever cluster TF_CONFIG tells of."""
    config = _read_note(model_dir)
    if config is None or not tf.train.latest_checkpoint(model_dir):
        raise JobError(f"no trained model in {model_dir}; train one with: python -m jobs.esmm train")
    local = estimator.RunConfig(model_dir=model_dir)
    _check_group(group_by, config.schema)
    model_fn = make_model_fn(config, group_by=group_by, weight_column=weight_column)
    return estimator.Estimator(model_fn, config=local), config


def _check_group(group_by: str | None, schema: Schema) -> None:
    if group_by is not None and group_by not in schema.names:
        raise JobError(f"--group-by {group_by}: there is no such feature; there are {', '.join(schema.names)}")


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
