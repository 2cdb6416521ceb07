"""What the commands do: read one layout, write train/ and eval/, and say what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from jobs.convert.ali_ccp import Field, find_files, read_common, read_skeleton
from jobs.convert.bad_rows import BadRows
from jobs.convert.common_features import common_features
from jobs.convert.criteo import CATEGORIES, INTEGERS, read_criteo
from jobs.convert.options import Settings, Split
from jobs.convert.table import Table
from jobs.convert.text import Ints
from jobs.convert.writing import EvalFiles, IdRanges, TrainFiles, write_schema
from jobs.errors import JobError
from jobs.esmm.input.schema import CLICK, CONVERSION
from jobs.esmm.progress import progress_bar
from jobs.folders import check_replaceable, locked, replace_whole_folder

Advance = Callable[[int], None]
Parts = Iterator[dict[str, Ints]]


def convert_ali_ccp(folder: Path, fields: tuple[Field, ...], settings: Settings) -> None:
    """Both files of train and of test. Raises JobError."""
    names = [name for field in fields for name in field.columns]
    splits = {split: find_files(folder, split) for split in ("train", "eval")}
    with _conversion(names, settings, [path for files in splits.values() for path in files]) as (into, bad, advance):
        for split, files in splits.items():
            with common_features(into.folder / ".common", len(names)) as common:
                read_common(str(files.common), fields, common, bad, advance)
                into.add_all(read_skeleton(str(files.skeleton), fields, common, bad, advance), split)


def convert_criteo(split: Split, settings: Settings) -> None:
    """Raises JobError."""

    def read(path: str, bad: BadRows, advance: Advance) -> Parts:
        return read_criteo(path, bad, advance, most_ids=settings.most_ids)

    _convert_files(split, (*INTEGERS, *CATEGORIES), settings, read, hashed=CATEGORIES)


def convert_csv(
    split: Split, settings: Settings, *, click: str, conversion: str | None, columns: Sequence[str] | None
) -> None:
    """Raises JobError or StreamingError."""
    _check_there(split.train + split.eval)
    table = Table(str(split.train[0]), click=click, conversion=conversion, columns=columns)

    def read(path: str, bad: BadRows, advance: Advance) -> Parts:
        return table.read(path, bad, advance, skip=settings.skip_bad_rows, most_ids=settings.most_ids)

    _convert_files(split, table.names, settings, read, hashed=table.hashed)


def _convert_files(
    split: Split,
    names: Sequence[str],
    settings: Settings,
    read: Callable[[str, BadRows, Advance], Parts],
    *,
    hashed: Collection[str],
) -> None:
    _check_there(split.train + split.eval)
    with _conversion(names, settings, split.train + split.eval, hashed=hashed) as (into, bad, advance):
        for path in split.train:
            into.add_all(read(str(path), bad, advance), "train", eval_share=split.eval_share)
        for path in split.eval:
            into.add_all(read(str(path), bad, advance), "eval")


class _Output:
    """Both splits of a folder that is being made."""

    def __init__(self, folder: Path, names: Sequence[str], settings: Settings) -> None:
        self.folder = folder
        self.ranges = IdRanges(names)
        self.train = TrainFiles(folder / "train", names, rows_per_file=settings.rows_per_file, seed=settings.seed)
        self.eval = EvalFiles(folder / "eval", rows_per_file=settings.rows_per_file)
        self.clicks = self.conversions = 0
        self._random = np.random.default_rng([settings.seed, 1])

    def add_all(self, parts: Parts, split: str, *, eval_share: float = 0.0) -> None:
        for columns in parts:
            self.ranges.add(columns)
            self.clicks += int(columns[CLICK].sum())
            self.conversions += int((columns[CLICK] * columns[CONVERSION]).sum())
            held_out = self._random.random(len(columns[CLICK])) < (1.0 if split == "eval" else eval_share)
            self.train.add({name: column[~held_out] for name, column in columns.items()})
            if held_out.any():
                self.eval.add({name: column[held_out] for name, column in columns.items()})

    def close(self) -> None:
        """Raises JobError where a split is empty: nobody can train or evaluate on that."""
        self.train.close()
        for split, rows in (("train", self.train.rows), ("evaluate", self.eval.rows)):
            if not rows:
                raise JobError(f"there is no row to {split} on; give more data, or another --eval or --eval-share")


@contextmanager
def _conversion(
    names: Sequence[str], settings: Settings, sources: Sequence[Path], *, hashed: Collection[str] = ()
) -> Iterator[tuple[_Output, BadRows, Advance]]:
    """The folder appears whole at the end, or not at all."""
    bad = BadRows(skip=settings.skip_bad_rows, say=settings.say)
    with locked(settings.out):
        if settings.out.exists():
            if not settings.replace:
                raise JobError(f"{settings.out} exists; name another --out, or give --force to replace it")
            check_replaceable(settings.out, sources)
        began = time.monotonic()
        with replace_whole_folder(settings.out) as unfinished, progress_bar("convert", _size(sources)) as advance:
            output = _Output(unfinished, names, settings)
            yield output, bad, advance
            output.close()
            write_schema(unfinished, output.ranges.schema(most_ids=settings.most_ids, hashed=hashed))
        settings.say(_summary(output, settings.out, time.monotonic() - began) + bad.summary() + "\n")


def _summary(output: _Output, folder: Path, took_s: float) -> str:
    rows = output.train.rows + output.eval.rows
    return (
        f"{output.train.rows:,} examples to train on and {output.eval.rows:,} to evaluate on in {folder}, "
        f"{output.clicks:,} clicks, {output.conversions:,} conversions; {rows / took_s:,.0f} examples/s"
    )


def _size(paths: Sequence[Path]) -> int | None:
    """Bytes; None where what is inside of files is more than they show."""
    packed = any(path.suffix == ".gz" for path in paths)
    return None if packed else sum(path.stat().st_size for path in paths)


def _check_there(paths: Sequence[Path]) -> None:
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise JobError(f"there is no file {', '.join(missing)}")
