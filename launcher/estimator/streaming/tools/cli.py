"""The data tools' command line: owns flags, output and exit codes; imports TensorFlow only to do the work."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from launcher.estimator.quietly import quietly
from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.formats.storage.sources import list_files
from launcher.estimator.streaming.tools.audit import read_audit, report_lines

EXIT_BAD_DATA = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. 0; 1 where data is bad (``verify``, ``--on-bad-record fail``); 2 for wrong arguments."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        if options.command == "audit":
            return _audit(options.folder)
        list_files(options.sources)  # TensorFlow takes seconds, and what is not there is soon said
        _check_spec(getattr(options, "spec", None))
        return _commands()[options.command](options)
    except StreamingError as error:
        sys.stderr.write(f"streaming: error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _commands() -> dict[str, Callable[[argparse.Namespace], int]]:
    with quietly():
        from launcher.estimator.streaming.tools import commands

    return {
        "convert": commands.convert,
        "count": commands.count,
        "head": commands.head,
        "verify": commands.verify,
    }


def _audit(folder: str) -> int:
    """How often each example was trained."""
    for line in report_lines(read_audit(Path(folder))):
        print(line)  # noqa: T201
    return 0


def _check_spec(path: str | None) -> None:
    if path is not None and "://" not in path and not Path(path).is_file():
        raise StreamingError(f"--spec {path}: there is no such file; without --spec the features are inferred")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m launcher.estimator.streaming",
        description="Tools for training data: Parquet, TFRecord of tf.Example or of row groups, and CSV; also gzipped.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    convert = commands.add_parser("convert", help="data of any format to row groups or Parquet")
    _sources(convert)
    convert.add_argument("--out", required=True, metavar="FOLDER", help="one file for each source, and the spec")
    convert.add_argument("--to", choices=("row_groups", "parquet"), default="row_groups", help="default: row_groups")
    convert.add_argument("--rows", type=_positive, help="rows of a row group (default: 1024, Parquet: 65536)")
    convert.add_argument("--spec", metavar="FILE", help="a feature_spec.json (default: inferred from the first file)")
    convert.add_argument("--gzip", action="store_true", help="compress the files")
    _on_bad(convert)
    count = commands.add_parser("count", help="count examples")
    _sources(count)
    _on_bad(count)
    head = commands.add_parser("head", help="print the first rows")
    _sources(head)
    head.add_argument("-n", "--rows", type=_positive, default=5, help="how many (default: 5)")
    head.add_argument("--features", type=lambda text: text.split(","), help="only these, by name, with commas")
    head.add_argument("--json", action="store_true", help="one JSON object a line")
    verify = commands.add_parser("verify", help="find truncated and corrupt records, say file and offset")
    _sources(verify)
    verify.add_argument("--no-parse", action="store_true", help="checksums only: do not parse the records")
    audit = commands.add_parser("audit", help="how often each example was trained, from a job's audit folder")
    audit.add_argument("folder", metavar="DIR")
    return parser


def _sources(command: argparse.ArgumentParser) -> None:
    command.add_argument("sources", nargs="+", metavar="SOURCE", help="file, glob, folder, or @FILE of such lines")


def _on_bad(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--on-bad-record",
        choices=("fail", "skip"),
        default="fail",
        help="fail at the first (default), or leave them out, count them and print the first",
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value
