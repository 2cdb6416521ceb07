"""The command line of the converter: owns flags, output and exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jobs.convert.options import Settings, Split
from jobs.errors import JobError
from launcher.estimator.streaming.errors import StreamingError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, or 2 for wrong arguments or data."""
    options = make_parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    commands = {"ali-ccp": _ali_ccp, "criteo": _criteo, "csv": _csv}
    try:
        commands[options.layout](options)
    except (JobError, StreamingError) as error:
        sys.stderr.write(f"convert: error: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The parser of every layout."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.convert",
        description="Makes the data folder that python -m jobs.esmm train --data reads: row groups, schema, held-out "
        "rows. Files may be gzipped.",
    )
    layouts = parser.add_subparsers(dest="layout", required=True, metavar="LAYOUT")
    ali_ccp = _layout(layouts, "ali-ccp", "sample_skeleton and common_features files, train and test")
    ali_ccp.add_argument("folder", type=Path, help="where they are, perhaps in folders of their own")
    ali_ccp.add_argument(
        "--fields",
        metavar="FIELD[:N],...",
        help="fields to take; N: so many entries of a field that has several, those of the largest values "
        "(default: all 23, three entries of each history)",
    )
    criteo = _layout(layouts, "criteo", "label, 13 integers, 26 hexadecimal categories, by tabs")
    _files(criteo)
    csv = _layout(layouts, "csv", "CSV with a header line")
    _files(csv)
    csv.add_argument("--click", default="click", metavar="COLUMN", help="the label (default: click)")
    csv.add_argument("--conversion", metavar="COLUMN", help="the second label (default: conversion, if there is one)")
    csv.add_argument("--columns", type=_names, metavar="NAME,...", help="features (default: all other columns)")
    return parser


def _ali_ccp(options: argparse.Namespace) -> None:
    from jobs.convert.ali_ccp import DEFAULT_FIELDS, parse_fields
    from jobs.convert.commands import convert_ali_ccp

    try:
        fields = parse_fields(options.fields or DEFAULT_FIELDS)
    except ValueError as error:
        raise JobError(f"--fields: {error}") from None
    convert_ali_ccp(options.folder, fields, _settings(options))


def _criteo(options: argparse.Namespace) -> None:
    from jobs.convert.commands import convert_criteo

    convert_criteo(_split(options), _settings(options))


def _csv(options: argparse.Namespace) -> None:
    from jobs.convert.commands import convert_csv

    convert_csv(
        _split(options),
        _settings(options),
        click=options.click,
        conversion=options.conversion,
        columns=options.columns,
    )


Layouts = argparse._SubParsersAction  # typeshed makes it generic; at run time it is not


def _layout(layouts: Layouts[argparse.ArgumentParser], name: str, text: str) -> argparse.ArgumentParser:
    layout: argparse.ArgumentParser = layouts.add_parser(name, help=text, description=text)
    layout.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    layout.add_argument("--force", action="store_true", help="replace the folder, if it is one that this command made")
    layout.add_argument(
        "--on-bad-record",
        choices=("fail", "skip"),
        default="fail",
        help="fail at the first (default), or leave them out, count and print them",
    )
    layout.add_argument(
        "--most-ids", type=_at_least(2), default=100_000, metavar="N", help="of a feature (default: 100000)"
    )
    layout.add_argument(
        "--rows-per-file", type=_at_least(1024), default=262_144, metavar="N", help="of train/ (default: 262144)"
    )
    layout.add_argument("--seed", type=_at_least(0), default=0, metavar="N", help="of shuffling and holding out")
    return layout


def _files(layout: argparse.ArgumentParser) -> None:
    layout.add_argument("train", nargs="+", type=Path, metavar="FILE", help="to train on")
    layout.add_argument("--eval", nargs="+", type=Path, default=[], metavar="FILE", help="to evaluate on")
    layout.add_argument("--eval-share", type=_share, metavar="X", help="of the rows, without --eval (default: 0.1)")


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        out=options.out.absolute(),
        replace=options.force,
        skip_bad_rows=options.on_bad_record == "skip",
        most_ids=options.most_ids,
        rows_per_file=options.rows_per_file,
        seed=options.seed,
        say=sys.stderr.write,
    )


def _split(options: argparse.Namespace) -> Split:
    if options.eval and options.eval_share is not None:
        raise JobError("--eval and --eval-share: give one of them")
    share = 0.0 if options.eval else 0.1 if options.eval_share is None else options.eval_share
    return Split(train=tuple(options.train), eval=tuple(options.eval), eval_share=share)


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, {least} or more")
        return int(text)

    return parse


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"a name is empty in {text!r}; write column,column")
    return names
