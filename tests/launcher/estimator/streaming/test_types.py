"""What CSV is taken for, and that nothing becomes something else without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec, from_json, to_json
from launcher.estimator.streaming.formats.framing import BadRecord
from launcher.estimator.streaming.formats.inference import find_spec, infer_spec
from launcher.estimator.streaming.formats.text import lines as csv_lines
from launcher.estimator.streaming.tools.cli import main
from tests.launcher.estimator.streaming.data import batches, example, options, write_records

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def infer(tmp_path: Path, *values: str, name: str = "a.csv") -> tuple[Column, list[str]]:
    (tmp_path / name).write_text("x,y\n" + "".join(f"{value},0\n" for value in values))
    said: list[str] = []
    return infer_spec(str(tmp_path / name), "csv", notice=said.append).columns[0], said


def values_of(path: Path, spec: FeatureSpec, **changes: Any) -> list[Any]:
    found = batches([str(path)], options(format="csv", spec=spec, shuffle_rows=0, **changes))
    return [value for batch in found for value in batch["x"].tolist()]


@pytest.mark.parametrize(
    ("values", "kind", "said", "read"),
    [
        (["1", "-2", "9223372036854775807"], "int64", [], [1, -2, 2**63 - 1]),
        (["1", "", "3"], "int64", ["x: 1 of 3 values are missing; they are read as its default, 0"], [1, 0, 3]),
        (["NA", "0.5", "null"], "float32", ["x: 2 of 3 values are missing"], [0, 0.5, 0]),
        (["9223372036854775808", "9223372036854775809"], "uint64", ["x: uint64: batches"], [-(2**63), 1 - 2**63]),
        (["18446744073709551615", "0"], "uint64", ["x: uint64"], [-1, 0]),
        (["18446744073709551616", "1"], "bytes", ["x: read as text, since '18446744073709551616'"], None),
        (["18446744073709551615", "-1"], "bytes", ["x: read as text, since"], None),
        (["007", "12"], "bytes", ["x: read as text, since numbers do not begin with 0, as '007' does"], None),
        (["1", "2", "n/a?"], "bytes", ["x: read as text, since 'n/a?' is no number"], None),
        (["1.5", "1e3", "-.5"], "float32", [], [1.5, 1000, -0.5]),
        (["0.1", "16777217.5"], "float32", ["x: read as float32, which keeps about 7 digits"], None),
        (["a", "", "文字"], "bytes", [], [b"a", b"", "文字".encode()]),
        (["", ""], "bytes", [], [b"", b""]),
    ],
)
def test_a_column_is_what_all_its_values_are(
    tmp_path: Path, values: list[str], kind: str, said: list[str], read: list[Any] | None
) -> None:
    column, notes = infer(tmp_path, *values)
    assert column.kind == kind
    assert len(notes) == len(said) and all(note.startswith(text) for note, text in zip(notes, said, strict=True))
    wanted = [value.encode() for value in values] if read is None and kind == "bytes" else read
    if wanted is not None:
        assert values_of(tmp_path / "a.csv", FeatureSpec(columns=(column,))) == wanted


def test_types_come_from_all_files_and_from_the_end_of_a_large_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer(tmp_path, *map(str, range(100)))
    infer(tmp_path, "0.5", name="b.csv")
    paths = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    assert infer_spec(paths[0], "csv").columns[0].kind == "int64"
    assert infer_spec(paths, "csv").columns[0].kind == "float32"

    monkeypatch.setattr(csv_lines, "SAMPLE_LINES", 50)
    monkeypatch.setattr(csv_lines, "SAMPLE_BLOCK", 50)
    column, _ = infer(tmp_path, *map(str, range(5000)), *["late"] * 400)
    assert column.kind == "bytes"


def test_one_bad_value_among_thousands_does_not_make_a_column_of_numbers_one_of_text(tmp_path: Path) -> None:
    column, said = infer(tmp_path, *map(str, range(2000)), "x")
    assert column.kind == "int64" and said == ["x: 1 of 2,001 values, as 'x', are no numbers, and bad data"]
    with pytest.raises(tf.errors.OpError, match=r"line 2002, record 2000 at byte \d+: column 'x': 'x' is no int64"):
        values_of(tmp_path / "a.csv", FeatureSpec(columns=(column,)))


def test_examples_with_gaps_stay_scalars_with_a_default(tmp_path: Path) -> None:
    records = [example(x=7, y=1) if i % 2 else example(y=1) for i in range(10)]
    path = write_records(tmp_path / "a.tfrecord", records)
    said: list[str] = []
    spec = infer_spec(path, "example", notice=said.append)
    assert spec.columns[0] == Column(name="x", default=0) and "x: 5 of 10 values are missing" in said[0]
    found = batches([path], options(spec=spec, shuffle_rows=0))
    assert [int(x) for batch in found for x in batch["x"]] == [0, 7] * 5


def test_an_example_keeps_large_ids_apart(tmp_path: Path) -> None:
    spec = FeatureSpec(columns=(Column(name="x", kind="uint64", default=2**64 - 2), Column(name="y")))
    path = write_records(tmp_path / "a.tfrecord", [example(x=-1, y=0), example(y=0)])
    assert [int(x) % 2**64 for batch in batches([path], options(spec=spec)) for x in batch["x"]] in (
        [2**64 - 1, 2**64 - 2],
        [2**64 - 2, 2**64 - 1],
    )


def test_the_spec_beside_the_data_is_obeyed(tmp_path: Path) -> None:
    infer(tmp_path, "1", "", "3")
    spec = FeatureSpec(columns=(Column(name="x", kind="float64", default=-1.5),))
    (tmp_path / "feature_spec.json").write_text(to_json(spec))
    assert find_spec(str(tmp_path / "a.csv"), "csv") == spec
    assert values_of(tmp_path / "a.csv", spec) == [1, -1.5, 3]


@pytest.mark.parametrize(("kind", "default"), [("int64", 0.5), ("int64", 2**63), ("uint64", -1), ("bytes", 0)])
def test_a_default_of_another_type_is_refused(kind: str, default: object) -> None:
    entry = {"type": kind, "length": 1, "default": default}
    with pytest.raises(Exception, match=r"feature 'x': default .* is no single"):
        from_json(json.dumps({"columns": {"x": entry}}), "spec.json")


def test_each_bad_value_is_named_once_with_column_and_line_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [f"{i},{i}" for i in range(3000)]
    lines[100], lines[2000], lines[2500] = "x,1", "2000", '"a\nb",3'
    path.write_text("x,y\n" + "\n".join(lines) + "\n")
    spec = FeatureSpec(columns=(Column(name="x"), Column(name="y")))
    with pytest.raises(tf.errors.OpError, match=r"line 102, record 100 at byte \d+: column 'x': 'x' is no int64"):
        values_of(path, spec, batch_examples=512)
    told: list[BadRecord] = []
    read = values_of(path, spec, batch_examples=512, on_bad_record="skip", on_skipped=told.append)
    assert read == [i for i in range(3000) if i not in (100, 2000, 2500)]
    assert [bad.record for bad in sorted(told, key=lambda bad: bad.record or 0)] == [100, 2000, 2500]
    assert {bad.line for bad in told} == {102, 2002, 2502}


def test_a_quoted_field_may_have_lines_and_a_stray_quote_harms_its_own_line_only(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('x,y\n"a\nb, ""c""",1\n5" disk,2\n"open,3\nd,4\n')
    spec = FeatureSpec(columns=(Column(name="x", kind="bytes"), Column(name="y")))
    told: list[BadRecord] = []
    read = values_of(path, spec, on_bad_record="skip", on_skipped=told.append)
    assert read == [b'a\nb, "c"', b'5" disk', b"d"]
    assert [(bad.record, "does not end" in bad.reason) for bad in told] == [(2, True)]


def test_convert_says_what_it_makes_of_the_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    infer(tmp_path, "18446744073709551615", "")
    assert main(["convert", str(tmp_path / "a.csv"), "--out", str(tmp_path / "out"), "--to", "parquet"]) == 0
    said = capsys.readouterr().err
    assert "x: 1 of 2 values are missing" in said and "x: uint64" in said
    assert main(["head", "--json", str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0]) == {"x": 2**64 - 1, "y": 0}
