"""The command line of the ESMM job: owns flags, output and exit codes; imports TensorFlow only to do the work."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence

from jobs.errors import JobError
from jobs.esmm.flags import make_parser
from jobs.esmm.options import TRUTH_FILE
from jobs.esmm.parsed import predict_options, sample_settings, train_options
from jobs.esmm.task import resolve_model_dir, this_task
from jobs.logs import configure_logging


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, or 2 for wrong arguments or data."""
    options = make_parser().parse_args(arguments)
    configure_logging(options.log_level)
    commands = {
        "generate": _generate,
        "train": _train,
        "evaluate": _evaluate,
        "export": _export,
        "predict": _predict,
    }
    try:
        commands[options.command](options)
    except JobError as error:
        sys.stderr.write(f"esmm: error: {error}\n")
        return error.exit_code
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _generate(options: argparse.Namespace) -> None:
    from jobs.folders import check_replaceable, locked

    folder = options.out.absolute()
    truth = folder / TRUTH_FILE
    if options.if_missing and truth.is_file():
        return
    settings = sample_settings(options)
    with locked(folder):
        if options.if_missing and truth.is_file():
            return
        if folder.exists():
            if not options.force:
                raise JobError(f"{folder} exists; give --if-missing to keep it or --force to replace it")
            check_replaceable(folder)
        from jobs.esmm.progress import progress_bar
        from jobs.esmm.sample.sample import generate

        with progress_bar("sample data", settings.total_examples) as advance:
            generate(folder, settings, advance=advance)
    best = json.loads(truth.read_text("utf-8"))["best"]
    sys.stderr.write(f"{settings.total_examples} examples in {folder}; best reachable AUC: {json.dumps(best)}\n")


def _train(options: argparse.Namespace) -> None:
    task = this_task()
    asked = train_options(options)
    resolve_model_dir(asked.model_dir, task)
    if task.role != "ps":
        from jobs.esmm.input.data import open_training_data

        open_training_data(
            asked.data, eval_folder=asked.eval_data, schema_file=asked.schema_file, may_be_empty=asked.follow
        )
    from jobs.esmm import commands

    metrics = commands.train(asked, task)
    if metrics is not None:
        _print_json(metrics)


def _evaluate(options: argparse.Namespace) -> None:
    model_dir = resolve_model_dir(options.model_dir, this_task())
    from jobs.esmm import commands

    _print_json(
        commands.evaluate(
            model_dir,
            options.data,
            batch_examples=options.batch_size,
            group_by=options.group_by,
            weight_column=options.weight_column,
        )
    )


def _export(options: argparse.Namespace) -> None:
    model_dir = resolve_model_dir(options.model_dir, this_task())
    from jobs.esmm import commands

    folder = options.out or f"{model_dir.rstrip('/')}/export/esmm"
    sys.stdout.write(commands.export(model_dir, folder, frozen=options.frozen) + "\n")


def _predict(options: argparse.Namespace) -> None:
    asked, task = predict_options(options), this_task()
    if asked.source is not None and not asked.source.exists():
        raise JobError(f"no input: there is no {asked.source}; name a TFRecord file, a folder of them, or JSON lines")
    resolve_model_dir(asked.model_dir, task)
    from jobs.esmm import commands

    for row in commands.predict(asked, task):
        _print_json(row)


def _print_json(values: dict[str, float]) -> None:
    """NaN is no JSON: a metric that is undefined is printed as null."""
    defined = {name: None if math.isnan(value) else value for name, value in values.items()}
    sys.stdout.write(json.dumps(defined) + "\n")
