"""What the data tools do. Results go to stdout; progress, bad records and summaries to stderr."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from launcher.estimator.streaming.errors import BadDataError, StreamingError
from launcher.estimator.streaming.formats.columns import Ragged, Values
from launcher.estimator.streaming.formats.feature_spec import FeatureSpec, from_json
from launcher.estimator.streaming.formats.framing import BadRecord, read_blocks
from launcher.estimator.streaming.formats.inference import find_format, find_spec, infer_spec
from launcher.estimator.streaming.formats.storage.files import open_plain
from launcher.estimator.streaming.formats.storage.sources import list_files
from launcher.estimator.streaming.tools.convert import check_targets, convert_file, read_columns, target_of, write_spec

COUNT_ROWS = 8192
SHOWN = 20


@dataclass
class _Bad:
    """The bad records so far; the first ones are printed as they are found. Thread-safe."""

    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, bad: BadRecord) -> None:
        with self.lock:
            self.count += 1
            if self.count <= SHOWN:
                sys.stderr.write(f"skipped: {bad}\n")
            elif self.count == SHOWN + 1:
                sys.stderr.write("skipped: and more, which are counted\n")

    def for_option(self, option: str) -> Callable[[BadRecord], None] | None:
        """Itself with ``skip``, None with ``fail``."""
        return self if option == "skip" else None


def convert(options: argparse.Namespace) -> int:
    """Each source to a file of row groups, or of Parquet, in ``--out``."""
    sources = list_files(options.sources)
    targets = [target_of(source, options.out, to=options.to) for source in sources]
    if options.gzip and options.to == "parquet":
        raise StreamingError("--gzip is for row groups: Parquet files are compressed within")
    if options.gzip:
        targets = [target if target.endswith(".gz") else f"{target}.gz" for target in targets]
    check_targets(sources, targets)
    spec = _given_spec(options.spec) or find_spec(sources, find_format(sources[0]), notice=_say)
    try:
        tf.io.gfile.makedirs(options.out)
    except tf.errors.OpError as error:
        raise StreamingError(f"--out {options.out}: {error.message}: write to a folder of this machine") from None
    bad, rows, began = _Bad(), 0, time.monotonic()
    skip = bad.for_option(options.on_bad_record)
    with _progress("convert", len(sources)) as (advance_rows, advance_file):
        for source, target in zip(sources, targets, strict=True):
            rows += convert_file(source, target, spec=spec, rows=options.rows, skip=skip, advance=advance_rows)
            advance_file()
    place = write_spec(targets[0], spec.as_files())
    size, before = (sum(map(_size, files)) for files in (targets, sources))
    took = time.monotonic() - began
    sys.stderr.write(
        f"{rows} examples in {len(targets)} files, {size / 2**20:.1f} MiB (before: {before / 2**20:.1f} MiB), "
        f"{rows / took:,.0f} examples/s; features in {place}{_skipped(bad)}\n"
    )
    return 0


def _size(path: str) -> int:
    with open_plain(path) as file:
        return file.seek(0, os.SEEK_END)


def count(options: argparse.Namespace) -> int:
    """Examples of each file and in all; row groups by their rows, checksums verified."""
    bad, total = _Bad(), 0
    for source in list_files(options.sources):
        rows = _count_file(source, bad.for_option(options.on_bad_record))
        total += rows
        print(f"{rows:>14,}  {source}")  # noqa: T201
    print(f"{total:>14,}  in all{_skipped(bad)}")  # noqa: T201
    return 0


def head(options: argparse.Namespace) -> int:
    """The first rows, as people read them or as JSON."""
    left = options.rows
    for source in list_files(options.sources):
        spec = find_spec(source, find_format(source), notice=_nothing)
        spec = spec.select(options.features) if options.features else spec
        with contextlib.closing(read_columns(source, spec, batch=min(left, COUNT_ROWS))) as parts:
            for row in itertools.islice(_rows_of(parts, spec), left):
                _print_row(source, row, options.json, options.rows - left)
                left -= 1
        if left < 1:
            break
    return 0


def verify(options: argparse.Namespace) -> int:
    """Every checksum, and unless ``--no-parse`` every record against the features of its file."""
    found = _Bad()
    sources = list_files(options.sources)
    records = 0
    names: dict[str, str] = {}  # of columns, with the first file that has them
    with _progress("verify", len(sources)) as (advance_rows, advance_file):
        for source in sources:
            records += _verify_file(source, found, parse=not options.no_parse, advance=advance_rows)
            if not options.no_parse:
                _compare_columns(source, names, found)
            advance_file()
    what = "records" if options.no_parse else "examples"
    sys.stderr.write(f"{records} {what} in {len(sources)} files are sound, {found.count} bad places\n")
    return 1 if found.count else 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _nothing(_: str) -> None:
    """``head`` shows what there is; ``count`` and ``verify`` do not change it."""


def _count_file(source: str, skip: Callable[[BadRecord], None] | None) -> int:
    try:
        format_ = find_format(source)
        if format_ == "parquet":
            return count_rows(source)
        if format_ == "example":
            return sum(len(block.records) for block in read_blocks(source, on_bad=skip))
        spec = find_spec(source, format_, notice=_nothing)
        spec = FeatureSpec(columns=spec.columns[:1])
        return sum(len(part[spec.columns[0].name]) for part in read_columns(source, spec, batch=COUNT_ROWS, skip=skip))
    except BadDataError as error:
        _tell(error, skip)
        return 0


def _verify_file(source: str, found: _Bad, *, parse: bool, advance: Callable[[int], None]) -> int:
    total = 0
    try:
        if not parse and find_format(source) in ("example", "row_groups"):
            for block in read_blocks(source, on_bad=found):
                total += len(block.records)
                advance(len(block.records))
            return total
        spec = find_spec(source, find_format(source), notice=_nothing)
        for part in read_columns(source, spec, batch=COUNT_ROWS, skip=found):
            rows = len(part[spec.columns[0].name])
            total += rows
            advance(rows)
    except BadDataError as error:
        _tell(error, found)
    return total


def _compare_columns(source: str, names: dict[str, str], found: _Bad) -> None:
    """A table that lacks columns of the ones before it cannot be read with them."""
    try:
        format_ = find_format(source)
        if format_ not in ("csv", "parquet"):
            return
        own = {column.name for column in infer_spec(source, format_, notice=_nothing).columns}
    except BadDataError:  # which has been told of
        return
    if lacking := [name for name in names if name not in own]:
        reason = f"it has no column {', '.join(map(repr, lacking))}, which {names[lacking[0]]} has"
        found(BadRecord(path=source, offset=None, record=None, reason=reason))
    for name in own:
        names.setdefault(name, source)


def _tell(error: BadDataError, skip: Callable[[BadRecord], None] | None) -> None:
    """A file that cannot even be begun."""
    if skip is None:
        raise error
    skip(BadRecord(path=error.path, offset=error.offset, record=error.record, reason=error.reason))


def count_rows(source: str) -> int:
    """By the footer."""
    from launcher.estimator.streaming.formats.arrow.parquet_files import open_parquet

    with open_parquet(source) as file:
        return int(file.metadata.num_rows)


def _given_spec(path: str | None) -> FeatureSpec | None:
    if path is None:
        return None
    try:
        with tf.io.gfile.GFile(path) as file:
            return from_json(file.read(), path)
    except tf.errors.OpError as error:
        raise StreamingError(f"{path}: {error.message}") from None


def _rows_of(parts: Iterator[dict[str, Values]], spec: FeatureSpec) -> Iterator[dict[str, Any]]:
    for part in parts:
        for row in range(len(part[spec.columns[0].name])):
            yield {name: _plain(values, row) for name, values in part.items()}


def _plain(values: Values, row: int) -> Any:
    value = values.cut(row, row + 1).values if isinstance(values, Ragged) else values[row]
    plain = value.tolist() if hasattr(value, "tolist") else value
    return [_text(item) for item in plain] if isinstance(plain, list) else _text(plain)


def _text(value: Any) -> Any:
    """Text where bytes are UTF-8, else their Python notation; floats with the digits that float32 has."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return repr(value)
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _print_row(source: str, row: dict[str, Any], as_json: bool, number: int) -> None:
    if as_json:
        print(json.dumps(row, ensure_ascii=False))  # noqa: T201
        return
    width = max(map(len, row))
    print(f"{os.linesep if number else ''}row {number}  {source}")  # noqa: T201
    for name, value in row.items():
        print(f"  {name:{width}}  {value}")  # noqa: T201


def _skipped(bad: _Bad) -> str:
    return f"; {bad.count} bad places were skipped" if bad.count else ""


@contextlib.contextmanager
def _progress(what: str, files: int) -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
    """A progress bar over files with the examples so far, on a terminal; else nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    rows = 0
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files, {task.fields[rows]:,} examples"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task(what, total=files, rows=0)

        def advance_rows(done: int) -> None:
            nonlocal rows
            rows += done
            progress.update(task, rows=rows)

        yield advance_rows, lambda: progress.advance(task)
