"""The layout of Ali-CCP: against a plain reader of it, and everything that can be wrong with a row."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from jobs.convert import text
from jobs.convert.ali_ccp import DEFAULT_FIELDS, Field, parse_fields
from tests.jobs.convert.layouts import common_line, skeleton_line, write_ali_ccp, write_lines
from tests.jobs.convert.reading import Rows, convert, eval_rows, ids, in_some_order, train_rows

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]
FIELDS = "101,121,205,206,109_14:3,999"
ITEM = [("205", 5, 1.0), ("301", 8, 1.0)]
USER = [("101", 77, 1.0)]


def read_plainly(folder: Path, split: str) -> Rows:
    """As one would write it down for understanding."""

    def entries(part: str) -> list[tuple[str, int, float]]:
        found = [entry.replace("\x03", "\x02").split("\x02") for entry in part.split("\x01") if entry]
        return [(field, int(number), float(value)) for field, number, value in found]

    def strongest(found: list[tuple[str, int, float]], field: str) -> list[int]:
        return [number for _, number, _ in sorted((e for e in found if e[0] == field), key=lambda e: -e[2])]

    common = {}
    for line in (folder / f"sample_{split}" / f"common_features_{split}.csv").read_text().splitlines():
        index, _, rest = line.split(",")
        common[index] = entries(rest)
    rows = []
    for line in (folder / f"sample_{split}" / f"sample_skeleton_{split}.csv").read_text().splitlines():
        _, click, conversion, index, _, rest = line.split(",")
        row = {"click": int(click), "conversion": int(conversion)}
        for field in parse_fields(FIELDS):
            found = strongest(entries(rest) + common[index], field.name) + [0] * field.keep
            row |= dict(zip(field.columns, found, strict=False))
        rows.append(row)
    return rows


def test_it_reads_what_a_plain_reader_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text.read_blocks, "__kwdefaults__", {"block_bytes": 3000})
    source = write_ali_ccp(tmp_path / "ali", rows=400)
    code, said = convert("ali-ccp", source, "--out", tmp_path / "out", "--fields", FIELDS)
    assert code == 0, said
    assert said.startswith("400 examples to train on and 100 to evaluate on in ")
    assert in_some_order(train_rows(tmp_path / "out")) == in_some_order(read_plainly(source, "train"))
    assert train_rows(tmp_path / "out") != read_plainly(source, "train")
    assert eval_rows(tmp_path / "out") == read_plainly(source, "test")
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []
    found = ids(tmp_path / "out")
    assert (found["206"], found["999"]) == (14, 1)
    assert 7 < found["121"] < 20 and found["205"] < 500


def test_gzipped_files_are_found_and_other_fields_left_out(tmp_path: Path) -> None:
    source = write_ali_ccp(tmp_path / "ali", rows=40)
    wanted = read_plainly(source, "test")
    for file in source.rglob("*.csv"):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert convert("ali-ccp", source, "--out", tmp_path / "out", "--fields", "206")[0] == 0
    assert eval_rows(tmp_path / "out") == [
        {name: row[name] for name in ("206", "click", "conversion")} for row in wanted
    ]


GOOD = skeleton_line(1, 0, 0, "aa", ITEM)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "not: sample id, click, conversion"),
        ("1,0,0", "not: sample id, click, conversion"),
        (GOOD + "\x01", "not: sample id, click, conversion"),
        (GOOD.replace("\x02", "\x03", 1), "not: sample id, click, conversion"),
        (GOOD.replace("\x03", "\x02", 1), "not: sample id, click, conversion"),
        (GOOD + ",1", "not: sample id, click, conversion"),
        (GOOD.replace(",2,", ",3,"), "another number of features than it says: says 3, has 2"),
        (GOOD.replace(",2,", ",,"), "another number of features than it says: says , has 2"),
        (GOOD.replace("\x025\x03", "\x025x\x03"), "an id is not a whole number: '5x'"),
        (GOOD.replace("\x025\x03", "\x02-5\x03"), "an id is not a whole number: '-5'"),
        (skeleton_line(1, 2, 0, "aa", ITEM), "click is not 0 or 1: '2'"),
        (skeleton_line(1, 1, -1, "aa", ITEM), "conversion is not 0 or 1: '-1'"),
        (skeleton_line(1, 0, 0, "bb", ITEM), "no common features of its index: 'bb'"),
        (skeleton_line(1, 0, 0, "aa", [*ITEM, ITEM[0]]).replace("1.0", "x"), "a value is no number: 'x'"),
    ],
)
def test_a_bad_row_is_named_or_skipped_and_counted(line: str, reason: str, tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_lines(tmp_path / f"common_features_{split}.csv", [common_line("aa", USER)])
        write_lines(tmp_path / f"sample_skeleton_{split}.csv", [GOOD, GOOD])
    bad = write_lines(tmp_path / "sample_skeleton_train.csv", [GOOD, line, GOOD])
    command = ("ali-ccp", tmp_path, "--out", tmp_path / "out")
    code, said = convert(*command)
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(f"convert: error: {bad}:2: {reason}")
    assert not (tmp_path / "out").exists()
    code, said = convert(*command, "--on-bad-record", "skip")
    assert code == 0
    assert f"skipped: {bad}:2: {reason}" in said and "; 1 rows were skipped (1 " in said
    assert [row["101"] for row in train_rows(tmp_path / "out")] == [77, 77]


def test_common_features_may_be_repeated_but_not_contradicted(tmp_path: Path) -> None:
    for split in ("train", "test"):
        common = [common_line("aa", USER), common_line("bb", []), common_line("aa", USER)]
        write_lines(tmp_path / f"common_features_{split}.csv", common)
        write_lines(tmp_path / f"sample_skeleton_{split}.csv", [GOOD, skeleton_line(2, 1, 1, "bb", [])])
    command = ("ali-ccp", tmp_path, "--out", tmp_path / "out")
    assert convert(*command, "--fields", "101,205")[0] == 0
    assert [(row["101"], row["205"]) for row in eval_rows(tmp_path / "out")] == [(77, 5), (0, 0)]
    write_lines(tmp_path / "common_features_test.csv", [*common, common_line("aa", [("101", 78, 1.0)])])
    code, said = convert(*command, "--force")
    assert code == 2
    assert "common_features_test.csv:4: its index is that of other features before: 'aa'" in said
    assert eval_rows(tmp_path / "out"), "what was there before stays"


def test_many_bad_rows_are_counted_by_kind(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_lines(tmp_path / f"common_features_{split}.csv", [common_line("aa", USER)])
        write_lines(tmp_path / f"sample_skeleton_{split}.csv", [GOOD])
    write_lines(tmp_path / "sample_skeleton_train.csv", ["x"] * 30 + [GOOD.replace("aa", "b")] * 2 + [GOOD])
    code, said = convert("ali-ccp", tmp_path, "--out", tmp_path / "out", "--on-bad-record", "skip")
    assert code == 0
    assert said.count("\n") == 22
    assert "32 rows were skipped (30 not: sample id, " in said and "2 no common features of its index)" in said


def test_missing_files_are_named(tmp_path: Path) -> None:
    code, said = convert("ali-ccp", tmp_path, "--out", tmp_path / "out")
    assert code == 2
    assert f"{tmp_path} should hold one sample_skeleton_train.csv (or sample_skeleton_train.csv.gz)" in said


def test_fields() -> None:
    assert parse_fields("101,109_14:2") == (Field(name="101"), Field(name="109_14", keep=2))
    assert parse_fields("109_14:2")[0].columns == ("109_14.1", "109_14.2")
    assert len(parse_fields(DEFAULT_FIELDS)) == 23
    for wrong in ("", "101,", "101:0", "101:x", "123456789", "101,101"):
        with pytest.raises(ValueError, match=r"is not FIELD|twice"):
            parse_fields(wrong)
