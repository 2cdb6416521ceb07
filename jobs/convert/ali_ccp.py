"""The layout of Ali-CCP, the data set of the ESMM paper (https://tianchi.aliyun.com/dataset/408).

sample_skeleton_*.csv    sample id, click, conversion, index of common features, count, features
common_features_*.csv    index, count, features: what all impressions of one user and visit share

Features are ``field \\x02 id \\x03 value``, separated by \\x01. A field may come several times in a row: histories do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jobs.convert.bad_rows import BadRows, Faults
from jobs.convert.common_features import CommonFeatures
from jobs.convert.text import (
    NEWLINE,
    Block,
    Ints,
    Mask,
    Tokens,
    decimals,
    integers,
    read_blocks,
    short_key,
    short_keys,
    texts,
    tokenize,
)
from jobs.errors import JobError
from jobs.esmm.input.schema import CLICK, CONVERSION

DEFAULT_FIELDS = (
    "101,121,122,124,125,126,127,128,129,205,206,207,210,216,301,508,509,702,853,109_14:3,110_14:3,127_14:3,150_14:3"
)
SPLITS = {"train": "train", "eval": "test"}

_COMMA = 1
_CYCLE = np.array([3, 4, 2], np.uint8)
_DELIMITERS = b",\x01\x02\x03"
_SKELETON_COMMAS, _COMMON_COMMAS = 5, 2
_SHAPE = {
    _SKELETON_COMMAS: "not: sample id, click, conversion, index, count, features as field\\x02id\\x03value\\x01…",
    _COMMON_COMMAS: "not: index, count, features as field\\x02id\\x03value\\x01…",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field; ``keep`` entries of a row become columns, those of the largest values."""

    name: str
    keep: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name,) if self.keep == 1 else tuple(f"{self.name}.{i}" for i in range(1, self.keep + 1))


class Files(NamedTuple):
    """Both files of one split."""

    skeleton: Path
    common: Path


def parse_fields(text: str) -> tuple[Field, ...]:
    """``101,109_14:3``: one entry of field 101, and the three of 109_14 with the largest values. Raises ValueError."""
    fields = []
    for part in text.split(","):
        name, _, keep = part.partition(":")
        if not 0 < len(name.encode()) <= 8 or (keep and not (keep.isdigit() and int(keep) > 0)):
            raise ValueError(f"{part!r} is not FIELD or FIELD:COUNT")
        fields.append(Field(name=name, keep=int(keep or 1)))
    if len({field.name for field in fields}) < len(fields):
        raise ValueError(f"{text!r} names a field twice")
    return tuple(fields)


def find_files(folder: Path, split: str) -> Files:
    """The files of ``train`` or ``eval``, by the names they are published under, gzipped or not. Raises JobError."""
    return Files(
        skeleton=_find(folder, f"sample_skeleton_{SPLITS[split]}.csv"),
        common=_find(folder, f"common_features_{SPLITS[split]}.csv"),
    )


def read_common(
    path: str, fields: tuple[Field, ...], into: CommonFeatures, bad: BadRows, advance: Callable[[int], None]
) -> None:
    """Fills the lookup from a common_features file. Raises JobError."""
    for block in read_blocks(path, advance):
        tokens, faults = _begin(block)
        ids = _ids_of_fields(tokens, _COMMON_COMMAS, fields, faults)
        keys = texts(tokens.data, tokens.start[tokens.first], tokens.end[tokens.first])
        lines = np.flatnonzero(faults.good)
        clashes = into.add(keys[lines], ids[lines])
        faults.mark(lines[clashes], "its index is that of other features before", _reprs(keys[lines[clashes]]))
        faults.report(bad, block.path, block.first_line)


def read_skeleton(
    path: str, fields: tuple[Field, ...], common: CommonFeatures, bad: BadRows, advance: Callable[[int], None]
) -> Iterator[dict[str, Ints]]:
    """Columns of ids (0: none) and labels, block after block. Raises JobError."""
    names = [name for field in fields for name in field.columns]
    for block in read_blocks(path, advance):
        tokens, faults = _begin(block)
        ids = _ids_of_fields(tokens, _SKELETON_COMMAS, fields, faults)
        labels = {name: _labels(tokens, 1 + i, name, faults) for i, name in enumerate((CLICK, CONVERSION))}
        shared = _shared(tokens, common, faults, columns=len(names))
        faults.report(bad, block.path, block.first_line)
        own, others = ids[faults.good], shared[faults.good]
        merged = np.where(own != 0, own, others)
        yield {name: merged[:, i] for i, name in enumerate(names)} | {
            name: values[faults.good] for name, values in labels.items()
        }


def _begin(block: Block) -> tuple[Tokens, Faults]:
    tokens = tokenize(block.data, _DELIMITERS)
    return tokens, Faults(tokens.lines)


def _ids_of_fields(tokens: Tokens, commas: int, fields: tuple[Field, ...], faults: Faults) -> Ints:
    """int64[lines, columns]: the ids of the wanted fields, 0 where a line has none. Marks lines of another form."""
    place = np.arange(len(tokens.end)) - tokens.first[tokens.line] - commas
    is_none = _check_form(tokens, place, commas, faults)
    _check_counts(tokens, commas, is_none, faults)
    entries = np.flatnonzero((place >= 0) & (place % 3 == 0) & ~is_none & faults.good[tokens.line])
    field, known = _known(tokens, entries, fields)
    entries, field = entries[known], field[known]
    ids, are_numbers = integers(tokens.data, tokens.start[entries + 1], tokens.end[entries + 1])
    wrong = entries[~(are_numbers & (ids >= 0))]
    faults.mark(tokens.line[wrong], "an id is not a whole number", tokens.reprs(wrong + 1))
    return _spread(tokens, entries, field, ids, fields, faults)


def _check_form(tokens: Tokens, place: Ints, commas: int, faults: Faults) -> Mask:
    """Marks lines whose delimiters are not where they should be; gives the tokens that stand for no features."""
    at_end = tokens.kind == NEWLINE
    is_none: Mask = at_end & (place == 0) & (tokens.start == tokens.end)
    expected = np.where(place < 0, _COMMA, _CYCLE[place % 3])
    right = (tokens.kind == expected) | (at_end & (place >= 0) & (place % 3 == 2)) | is_none
    faults.mark(np.unique(tokens.line[~right]), _SHAPE[commas])
    return is_none


def _check_counts(tokens: Tokens, commas: int, is_none: Mask, faults: Faults) -> None:
    lines = np.flatnonzero(faults.good)
    said = tokens.first[lines] + commas - 1
    count, is_number = integers(tokens.data, tokens.start[said], tokens.end[said])
    found = np.where(is_none[tokens.last[lines]], 0, (tokens.last - tokens.first + 1 - commas)[lines] // 3)
    wrong = np.flatnonzero(~is_number | (count != found))
    faults.mark(
        lines[wrong],
        "another number of features than it says",
        [f"says {tokens.text(int(said[i]))}, has {found[i]}" for i in wrong],
    )


def _known(tokens: Tokens, entries: Ints, fields: tuple[Field, ...]) -> tuple[Ints, Mask]:
    """The number of each entry's field, and whether it is one of ``fields``."""
    keys = np.array([short_key(field.name) for field in fields], np.uint64)
    order = np.argsort(keys)
    found = short_keys(tokens.data, tokens.start[entries], tokens.end[entries])
    position = order[np.minimum(np.searchsorted(keys[order], found), len(keys) - 1)]
    known: Mask = keys[position] == found
    return position, known


def _spread(tokens: Tokens, entries: Ints, field: Ints, ids: Ints, fields: tuple[Field, ...], faults: Faults) -> Ints:
    """Entries to columns. Of a field that a line has several times, the largest values come first."""
    group = tokens.line[entries] * len(fields) + field
    rank = _ranks(tokens, entries, group, tokens.lines * len(fields), faults)
    keep = np.array([f.keep for f in fields])
    first_column = np.cumsum(keep) - keep
    columns = np.zeros((tokens.lines, int(keep.sum())), np.int64)
    kept = rank < keep[field]
    columns[tokens.line[entries][kept], (first_column[field] + rank)[kept]] = ids[kept]
    return columns


def _ranks(tokens: Tokens, entries: Ints, group: Ints, groups: int, faults: Faults) -> Ints:
    """The place of each entry within its group, by falling value, then as they stand."""
    rank = np.zeros(len(entries), np.int64)
    several = np.flatnonzero(np.bincount(group, minlength=groups)[group] > 1)
    if not len(several):
        return rank
    value_tokens = entries[several] + 2
    values = decimals(tokens.data, tokens.start[value_tokens], tokens.end[value_tokens])
    wrong = value_tokens[np.isnan(values)]
    faults.mark(tokens.line[wrong], "a value is no number", tokens.reprs(wrong))
    order = np.lexsort((np.arange(len(several)), -values, group[several]))
    sorted_group = group[several][order]
    begins = np.concatenate([[True], sorted_group[1:] != sorted_group[:-1]])
    starts = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    rank[several[order]] = np.arange(len(order)) - starts
    return rank


def _labels(tokens: Tokens, place: int, name: str, faults: Faults) -> Ints:
    """int64[lines]; what it is on lines that are no good does not matter."""
    at = np.minimum(tokens.first + place, tokens.last)
    value, is_number = integers(tokens.data, tokens.start[at], tokens.end[at])
    wrong = np.flatnonzero(~is_number | (value < 0) | (value > 1))
    faults.mark(wrong, f"{name} is not 0 or 1", tokens.reprs(at[wrong]))
    return value


def _shared(tokens: Tokens, common: CommonFeatures, faults: Faults, *, columns: int) -> Ints:
    """int64[lines, columns]: what each line's index stands for. Neighbours often have the same one."""
    shared = np.zeros((tokens.lines, columns), np.int64)
    lines = np.flatnonzero(faults.good)
    if not len(lines):
        return shared
    at = tokens.first[lines] + 3
    keys, of_line = np.unique(texts(tokens.data, tokens.start[at], tokens.end[at]), return_inverse=True)
    ids, found = common.find(keys)
    shared[lines] = ids[of_line]
    missing = np.flatnonzero(~found[of_line])
    faults.mark(lines[missing], "no common features of its index", _reprs(keys[of_line[missing]]))
    return shared


def _reprs(keys: npt.NDArray[np.bytes_]) -> list[str]:
    return [repr(key.decode("utf-8", "replace")) for key in keys.tolist()]


def _find(folder: Path, name: str) -> Path:
    found = sorted(path for ending in ("", ".gz") for path in folder.rglob(name + ending) if path.is_file())
    if len(found) != 1:
        there = f"there are {len(found)}: {', '.join(map(str, found))}" if found else "there is none"
        raise JobError(f"{folder} should hold one {name} (or {name}.gz), perhaps in a folder of its own; {there}")
    return found[0]
