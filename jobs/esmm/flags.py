"""Flags of the ESMM job and their defaults."""

from __future__ import annotations

import argparse
from argparse import SUPPRESS
from pathlib import Path
from typing import NoReturn

from jobs.esmm.config import OPTIMIZERS, PAPER_TOWERS, PRESETS
from jobs.esmm.options import SampleSettings
from jobs.esmm.values import count, number_or_0, positive, renamings, share, whole, widths
from jobs.folders import cache_folder
from jobs.logs import LEVELS
from launcher.estimator.streaming.formats.options import READERS


def default_data_folder() -> Path:
    """Sample data of this user. The number changes whenever the data that ``generate`` makes does."""
    return cache_folder() / "esmm-sample-1"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage of all flags before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"esmm: error: {message}; see {self.prog} --help\n")


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = _Parser(
        prog="python -m jobs.esmm",
        description="ESMM (Ma et al. 2018): a model of clicks and conversions over all impressions, by tf.estimator. "
        "A cluster is described by TF_CONFIG; without it everything runs in this process.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_generate(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_predict(commands)
    return parser


Commands = argparse._SubParsersAction  # typeshed makes it generic; at run time it is not


def _command(commands: Commands[_Parser], name: str, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.add_argument("--log-level", choices=LEVELS, default="info", help="least level that is logged")
    return command


def _add_generate(commands: Commands[_Parser]) -> None:
    command = _command(commands, "generate", "make sample data whose best reachable AUC is known")
    usual = SampleSettings()
    command.add_argument("--out", type=Path, default=default_data_folder(), metavar="DIR", help="folder to make")
    command.add_argument("--if-missing", action="store_true", help="do nothing where sample data is already there")
    command.add_argument("--force", action="store_true", help="replace the folder, if it is one that this command made")
    command.add_argument(
        "--train-examples", type=count, default=usual.train_examples, metavar="N", help="impressions to train on"
    )
    command.add_argument(
        "--eval-examples", type=count, default=usual.eval_examples, metavar="N", help="impressions held out"
    )
    command.add_argument("--train-files", type=count, default=usual.train_files, metavar="N", help="files of train/")
    command.add_argument("--eval-files", type=count, default=usual.eval_files, metavar="N", help="files of eval/")
    command.add_argument("--seed", type=whole, default=usual.seed, metavar="N", help="equal seeds make equal data")
    command.add_argument("--ctr", type=share, metavar="RATE", help="mean rate of clicks, such as 0.05")
    command.add_argument("--cvr", type=share, metavar="RATE", help="mean rate of conversions of those who click")
    command.add_argument("--row-groups", action="store_true", help="many rows a record, which is read much faster")


def _add_train(commands: Commands[_Parser]) -> None:
    command = _command(commands, "train", "train, evaluate on the way, and export a SavedModel at the end")
    _add_data(command, "folder with train/ and eval/, or the train folder itself, with eval/ beside it")
    command.add_argument("--eval-data", type=Path, metavar="DIR", help="folder to evaluate on, if not eval/")
    command.add_argument("--schema", type=Path, metavar="FILE", help="schema.json, if not in the data folder")
    _add_model_dir(command)
    command.add_argument("--max-steps", type=count, metavar="N", help="global step to end at, instead of --epochs")
    command.add_argument("--epochs", type=positive, default=2.0, metavar="N", help="passes over the data")
    _add_input(command)
    command.add_argument("--batch-size", type=count, default=1024, metavar="EXAMPLES", help="examples of a step")
    command.add_argument("--eval-batch-size", type=count, default=4096, metavar="EXAMPLES", help="when evaluating")
    _add_model(command)
    command.add_argument("--seed", type=whole, metavar="N", help="of initial values and shuffling")
    _add_checkpoints(command)
    _add_early_stopping(command)
    command.add_argument("--best-metric", default="ctcvr_auc", metavar="NAME", help="of the model in export/best")
    command.add_argument("--group-by", metavar="FEATURE", help="evaluate AUC within the values of it, such as user_id")
    command.add_argument("--start-delay-secs", type=whole, default=5, metavar="S", help="before the first evaluation")
    command.add_argument("--throttle-secs", type=whole, default=10, metavar="S", help="between evaluations, at least")
    command.add_argument("--log-steps", type=count, default=100, metavar="N", help="steps between progress lines")


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--preset", choices=tuple(PRESETS), default="demo", help="model, unless flags say otherwise")
    command.add_argument(
        "--learning-rate",
        type=positive,
        metavar="RATE",
        help=_by_preset("of the optimizer", "learning_rate"),
        default=SUPPRESS,
    )
    command.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        help=_by_preset("optimizer of all variables", "optimizer"),
        default=SUPPRESS,
    )
    command.add_argument(
        "--embedding-dim",
        type=count,
        metavar="N",
        help=_by_preset("width of an embedding", "embedding_dim"),
        default=SUPPRESS,
    )
    paper = ",".join(map(str, PAPER_TOWERS))
    text = _by_preset(f"hidden layers of each tower, or 'paper' for {paper}", "towers")
    command.add_argument("--towers", type=widths, metavar="N,N,...", help=text, default=SUPPRESS)
    command.add_argument(
        "--objective",
        choices=("esmm", "clicks"),
        default="esmm",
        help="clicks: conversions from clicked impressions alone, to compare with; its CTR means nothing",
    )
    command.add_argument("--weight-column", metavar="NAME", help="how much each impression counts; not in the schema")


def _by_preset(text: str, setting: str) -> str:
    each = (f"{name}: {_shown(getattr(preset, setting))}" for name, preset in PRESETS.items())
    return f"{text} ({', '.join(each)})"


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _add_checkpoints(command: argparse.ArgumentParser) -> None:
    command.add_argument("--save-checkpoints-secs", type=count, default=600, metavar="S", help="between checkpoints")
    command.add_argument("--save-checkpoints-steps", type=count, metavar="N", help="instead of seconds")
    command.add_argument("--keep-checkpoints", type=count, default=5, metavar="N", help="newest checkpoints to keep")
    command.add_argument("--keep-every-hours", type=positive, metavar="H", help="keep one of each H hours besides")
    command.add_argument("--warm-start", metavar="PATH", help="checkpoint to begin a new model_dir from, where it fits")
    command.add_argument(
        "--warm-start-names",
        type=renamings,
        default="",
        metavar="NEW=OLD,...",
        help="variables that have other names there; NEW/=OLD/ is for all below",
    )


def _add_early_stopping(command: argparse.ArgumentParser) -> None:
    command.add_argument("--stop-metric", default="ctcvr_cvr_auc_esmm", metavar="NAME", help="for --stop-after-steps")
    command.add_argument(
        "--stop-after-steps", type=count, metavar="N", help="end when the metric has not got better for N steps"
    )
    command.add_argument("--stop-min-steps", type=whole, default=0, metavar="N", help="evaluations that do not count")
    command.add_argument("--stop-min-change", type=number_or_0, default=0.0, metavar="X", help="a smaller one is none")
    command.add_argument("--stop-every-steps", type=count, default=100, metavar="N", help="how often to look")


def _add_input(command: argparse.ArgumentParser) -> None:
    command.add_argument("--follow", action="store_true", help="train on files as they appear in the train folder")
    command.add_argument("--stop-when-idle-s", type=positive, metavar="S", help="with --follow: end after so long")
    command.add_argument(
        "--on-bad-record", choices=("fail", "skip"), default="fail", help="skip leaves them out, and counts them"
    )
    command.add_argument(
        "--shuffle-examples", type=whole, default=32_768, metavar="N", help="examples that are shuffled together"
    )
    command.add_argument(
        "--slice-records", type=count, metavar="N", help="hand out larger files in slices of so many records"
    )
    command.add_argument(
        "--reader", choices=READERS, default="thread", help="read and parse in threads of the trainer, or in a process"
    )
    command.add_argument("--audit", type=Path, metavar="DIR", help="write down the ids of all examples trained")
    command.add_argument("--id-column", metavar="NAME", help="with --audit: a feature, instead of file and row")


def _add_evaluate(commands: Commands[_Parser]) -> None:
    command = _command(commands, "evaluate", "evaluate the newest checkpoint; prints one JSON object")
    _add_data(command, "folder with eval/, or of TFRecord files")
    _add_model_dir(command)
    command.add_argument("--batch-size", type=count, default=4096, metavar="EXAMPLES", help="examples at a time")
    command.add_argument("--group-by", metavar="FEATURE", help="AUC within the values of it, such as user_id")
    command.add_argument("--weight-column", metavar="NAME", help="how much each impression counts")


def _add_export(commands: Commands[_Parser]) -> None:
    command = _command(commands, "export", "make a SavedModel of the newest checkpoint; prints its path")
    _add_model_dir(command)
    command.add_argument("--out", metavar="DIR", help="folder to make it in (default: MODEL_DIR/export/esmm)")
    command.add_argument(
        "--frozen", metavar="FILE", help="also write one .pb file: input_<feature>:0 to pctr:0, pcvr:0 and pctcvr:0"
    )


def _add_predict(commands: Commands[_Parser]) -> None:
    command = _command(commands, "predict", "print pctr, pcvr and pctcvr of each row as JSON lines")
    _add_model_dir(command)
    command.add_argument("input", help="TFRecord file, folder of them, or JSON lines of features; - reads JSON lines")
    command.add_argument("--format", choices=("tfrecord", "jsonl"), help="of the input (default: by its name)")
    command.add_argument("--batch-size", type=count, default=4096, metavar="EXAMPLES", help="examples at a time")
    command.add_argument("--limit", type=count, metavar="N", help="rows to read at most")


def _add_data(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("--data", type=Path, default=default_data_folder(), metavar="DIR", help=text)


def _add_model_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model-dir", metavar="DIR", help="checkpoints (default: that of TF_CONFIG, or of the run)")
