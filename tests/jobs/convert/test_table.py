"""CSV with a header."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from jobs.convert.table import record_of
from tests.jobs.convert.layouts import write_lines
from tests.jobs.convert.reading import convert, eval_rows, ids, in_some_order, train_rows

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]
HEADER = "user,city,clicked,bought,age"
LINES = [HEADER, "12,Rome,0,0,31", "7,,1,0,40", '9,"Paris, Texas",1,1,31']


def test_labels_by_name_and_texts_by_their_hash(tmp_path: Path) -> None:
    import tensorflow as tf

    source = write_lines(tmp_path / "a.csv", LINES)
    names = ("--click", "clicked", "--conversion", "bought")
    code, said = convert("csv", source, "--eval", source, "--out", tmp_path / "out", *names, "--most-ids", 50)
    assert code == 0, said
    hashed = [1 + int(tf.strings.to_hash_bucket_fast(city, 49)) for city in ("Rome", "Paris, Texas")]
    rows = eval_rows(tmp_path / "out")
    assert [row["city"] for row in rows] == [hashed[0], 0, hashed[1]]
    assert [(row["user"], row["click"], row["conversion"], row["age"]) for row in rows] == [
        (12, 0, 0, 31),
        (7, 1, 0, 40),
        (9, 1, 1, 31),
    ]
    assert in_some_order(train_rows(tmp_path / "out")) == in_some_order(rows)
    assert ids(tmp_path / "out") == {"user": 13, "city": 50, "age": 41}


def test_without_conversions_there_are_none(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.csv", LINES)
    command = ("csv", source, "--eval", source, "--out", tmp_path / "out", "--click", "clicked")
    assert convert(*command, "--columns", "user,age")[0] == 0
    rows = eval_rows(tmp_path / "out")
    assert {row["conversion"] for row in rows} == {0} and set(rows[0]) == {"user", "age", "click", "conversion"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [("1,x,0,0", "the line has 4 fields, the header 5"), ("1,x,2,0,5", "clicked is not 0 or 1: 2"), ("x,x,1,1,5", "")],
)
def test_a_bad_row_is_named_or_skipped(line: str, reason: str, tmp_path: Path) -> None:
    good = [f"{number},x,1,0,{number}" for number in range(1200)]  # more than are looked at for the types
    source = write_lines(tmp_path / "a.csv", [HEADER, *good, line, *good])
    command = ("csv", source, "--eval-share", 0.5, "--out", tmp_path / "out", "--click", "clicked")
    code, said = convert(*command)
    assert code == 2 and said.splitlines()[-1].startswith(f"convert: error: {source}:1202: {reason}"), said
    code, said = convert(*command, "--on-bad-record", "skip")
    assert code == 0 and f"skipped: {source}:1202: {reason}" in said, said
    assert len(train_rows(tmp_path / "out")) + len(eval_rows(tmp_path / "out")) == 2400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--click", "klick"], "no column klick; there are user, city, clicked, bought, age"),
        (["--click", "city"], "the label city is not 0 or 1 in every row"),
        (["--click", "clicked", "--columns", "city,town"], "no column town"),
        (["--click", "clicked", "--columns", "city,city"], "city is named twice"),
        (["--click", "clicked", "--columns", "city,clicked"], "clicked is named twice"),
        (["--click", "clicked", "--conversion", "clicked"], "clicked is named twice"),
    ],
)
def test_columns_that_are_not_there(arguments: list[str], message: str, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.csv", LINES)
    code, said = convert("csv", source, "--eval", source, "--out", tmp_path / "out", *arguments)
    assert (code, said.count("\n")) == (2, 1)
    assert message in said


def test_an_empty_name_of_a_column_is_refused() -> None:
    with pytest.raises(SystemExit, match="2"):
        convert("csv", "a.csv", "--out", "out", "--columns", "city,")


def test_fractions_are_no_ids(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.csv", ["price,click", "1.5,0", "2,1"])
    code, said = convert("csv", source, "--eval", source, "--out", tmp_path / "out")
    assert code == 2 and "price: ids are whole numbers or text, not fractions" in said


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"city,click\nRome,0\ncaf\xe9,1\n", "a.csv:3: it is not UTF-8"),
        (b"city,click\ncaf\xe9,1\n", "a.csv:2: it is not UTF-8"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b"\xff" * 90, "lines cannot be read: Error -3"),
    ],
)
def test_what_is_no_text_is_named(data: bytes, reason: str, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_bytes(data)
    code, said = convert("csv", source, "--eval", source, "--out", tmp_path / "out")
    assert (code, said.count("\n")) == (2, 1) and reason in said, said


def test_gzip_that_is_damaged_further_on_is_named(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    lines = "".join(f"{n * 7919 % 99991},0\n" for n in range(30_000))
    packed = packer.compress(f"city,click\n{lines}".encode()) + packer.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 100
    source = tmp_path / "a.csv.gz"
    source.write_bytes(packed)
    code, said = convert("csv", source, "--eval", source, "--out", tmp_path / "out")
    assert (code, said.count("\n")) == (2, 1) and "a.csv.gz" in said and "Error -3" in said, said


def test_the_record_of_a_row_when_some_were_left_out() -> None:
    assert [record_of(row, [2, 0, 5]) for row in range(4)] == [1, 3, 4, 6]
