"""Criteo's layout."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from jobs.convert.criteo import CATEGORIES, INTEGERS, log_buckets
from tests.jobs.convert.layouts import criteo_line, criteo_lines, write_lines
from tests.jobs.convert.reading import Rows, convert, eval_rows, ids, in_some_order, train_rows

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def read_plainly(lines: list[str], most_ids: int) -> Rows:
    rows = []
    for line in lines:
        label, *rest = line.split("\t")
        row = {"click": int(label), "conversion": 0}
        for name, field in zip(INTEGERS, rest[:13], strict=True):
            row[name] = bucket(int(field)) if field else 0
        for name, field in zip(CATEGORIES, rest[13:], strict=True):
            row[name] = 1 + int(field, 16) % (most_ids - 1) if field else 0
        rows.append(row)
    return rows


def bucket(value: int) -> int:
    return 4 + int(math.log(value) ** 2) if value > 2 else max(value, -1) + 2


def test_it_reads_what_a_plain_reader_reads(tmp_path: Path) -> None:
    lines = criteo_lines(300)
    source = write_lines(tmp_path / "day_0", lines)
    held_out = write_lines(tmp_path / "day_1", lines[:40])
    code, said = convert("criteo", source, "--eval", held_out, "--out", tmp_path / "out", "--most-ids", 5000)
    assert code == 0, said
    wanted = read_plainly(lines, 5000)
    assert in_some_order(train_rows(tmp_path / "out")) == in_some_order(wanted)
    assert eval_rows(tmp_path / "out") == wanted[:40]
    found = ids(tmp_path / "out")
    assert found["c1"] == 5000 and found["i1"] == max(row["i1"] for row in wanted) + 1


def test_a_share_of_the_rows_is_held_out_and_none_is_in_both(tmp_path: Path) -> None:
    lines = criteo_lines(2000)
    source = write_lines(tmp_path / "train.txt", lines)
    assert convert("criteo", source, "--out", tmp_path / "out", "--eval-share", 0.25)[0] == 0
    train, evaluated = train_rows(tmp_path / "out"), eval_rows(tmp_path / "out")
    assert 400 < len(evaluated) < 600
    assert in_some_order(train + evaluated) == in_some_order(read_plainly(lines, 100_000))


def test_buckets_are_in_order() -> None:
    values = np.array([-(10**9), -2, -1, 0, 1, 2, 3, 4, 5, 100, 10**6, 10**17])
    found = log_buckets(values)
    assert found.tolist() == [bucket(int(value)) for value in values]
    assert (np.diff(found) >= 0).all() and found[0] == 1
    assert len(set(found[3:7].tolist())) == 4


FIELDS = ([1] * 13, ["00ff"] * 26)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1\t2", "not 40 fields: 2"),
        (criteo_line(3, *FIELDS), "the label is not 0 or 1: '3'"),
        ("\t" + criteo_line(1, *FIELDS).partition("\t")[2], "the label is not 0 or 1: ''"),
        (criteo_line(1, *FIELDS).replace("\t1\t", "\t1.5\t", 1), "i1 is not a whole number: '1.5'"),
        (criteo_line(1, *FIELDS).replace("00ff", "00fg", 1), "c1 is not a hexadecimal number: '00fg'"),
    ],
)
def test_a_bad_row_is_named_or_skipped(line: str, reason: str, tmp_path: Path) -> None:
    good = criteo_line(1, *FIELDS)
    source = write_lines(tmp_path / "train.txt", [good, good, line])
    command = ("criteo", source, "--eval", write_lines(tmp_path / "test.txt", [good]), "--out", tmp_path / "out")
    assert convert(*command) == (
        2,
        f"convert: error: {source}:3: {reason}; mend it, or leave such rows out with --on-bad-record skip\n",
    )
    code, said = convert(*command, "--on-bad-record", "skip")
    assert code == 0 and f"skipped: {source}:3: {reason}" in said
    assert len(train_rows(tmp_path / "out")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.txt"], "there is no file nothing.txt"),
        (["FILE", "--eval", "FILE", "--eval-share", "0.5"], "--eval and --eval-share: give one of them"),
        (["FILE", "--eval-share", "0.0001"], "there is no row to evaluate on"),
        (["FILE", "--out", "THERE"], "exists; name another --out, or give --force to replace it"),
        (["FILE", "--out", "HERE", "--force"], "--force would remove"),
    ],
)
def test_what_cannot_be_done_gets_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    names = {"FILE": write_lines(tmp_path / "f", criteo_lines(5)), "THERE": tmp_path / "there", "HERE": tmp_path}
    code, said = convert(
        "criteo", "--out", tmp_path / "out", *(names.get(argument, argument) for argument in arguments)
    )
    assert (code, said.count("\n")) == (2, 1)
    assert message in said
    assert not (tmp_path / "out").exists()
