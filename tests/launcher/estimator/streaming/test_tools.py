"""The data tools, as commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from launcher.estimator.streaming.formats.inference import find_format, find_spec, infer_spec
from launcher.estimator.streaming.tools.cli import main
from tests.launcher.estimator.streaming.data import (
    batches,
    example,
    id_columns,
    ids_of,
    options,
    write_groups,
    write_ids,
    write_records,
)

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

CSV = 'id,price,name\n1,0.5,anna\n2,1e3,"b, ""c"""\n3,7,élan\n'
CSV_ROWS = [
    {"id": 1, "price": 0.5, "name": "anna"},
    {"id": 2, "price": 1000.0, "name": 'b, "c"'},
    {"id": 3, "price": 7.0, "name": "élan"},
]


def head(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main(["head", "--json", "-n", "100", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_csv_becomes_row_groups_with_a_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    out = tmp_path / "out"
    assert main(["convert", str(tmp_path / "a.csv"), "--out", str(out), "--rows", "2", "--gzip"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.tfrecord.gz", "feature_spec.json"]
    kinds = {name: c["type"] for name, c in json.loads((out / "feature_spec.json").read_text())["columns"].items()}
    assert kinds == {"id": "int64", "price": "float32", "name": "bytes"}
    assert find_format(str(out / "a.tfrecord.gz")) == "row_groups"
    assert head(capsys, str(out)) == CSV_ROWS == head(capsys, str(tmp_path / "a.csv"))
    (out / "feature_spec.json").unlink()
    assert infer_spec(str(out / "a.tfrecord.gz"), "row_groups").columns == tuple(
        sorted(find_spec(str(tmp_path / "a.csv"), "csv").columns, key=lambda column: column.name)
    )


def test_a_line_that_is_cut_off_changes_no_type_and_is_said_when_it_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("city,price,label\nRome,1.5,0\nOslo,2.5\nLima,3.5,1\n")
    kinds = [column.kind for column in infer_spec(str(tmp_path / "a.csv"), "csv").columns]
    assert kinds == ["bytes", "float32", "int64"]
    assert main(["count", str(tmp_path)]) != 0
    assert "record 1 at byte 28: the line has 2 fields, the header 3" in capsys.readouterr().err
    (tmp_path / "a.csv").write_text("city,price,label\nRome,1.5\n")
    assert main(["count", str(tmp_path)]) != 0
    assert "none of its lines has as many fields as its header, 3" in capsys.readouterr().err


def test_examples_become_row_groups_with_their_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": i, "pair": [i, -i], "tags": [f"t{i}"] * (i % 3 + 1), "x": i / 4} for i in range(25)]
    path = write_records(tmp_path / "a.tfrecord", [example(**row) for row in rows])
    out = str(tmp_path / "out")
    assert main(["convert", path, "--out", out, "--rows", "10"]) == 0
    assert head(capsys, out) == rows
    assert head(capsys, out, "--features", "x,id") == [{"x": row["x"], "id": row["id"]} for row in rows]


def test_count_counts_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ids(tmp_path / "a.tfrecord", range(7))
    write_groups(tmp_path / "b.tfrecord", id_columns(range(25)))
    (tmp_path / "c.csv").write_text("id\n1\n2\n")
    assert main(["count", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["7", "25", "2", "34"]


def damage(path: str) -> int:
    """A byte in the last record; gives where that begins."""
    data = bytearray(Path(path).read_bytes())
    data[-10] ^= 1
    Path(path).write_bytes(bytes(data))
    return len(data) // 7 * 6


def test_verify_says_what_a_table_lacks_that_others_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("click,a,b\n1,2,3\n0,1,5\n")
    (tmp_path / "b.csv").write_text("b,click,a\n4,1,2\n")
    assert main(["verify", str(tmp_path)]) == 0
    (tmp_path / "c.csv").write_text("click,a\n1,2\n")
    assert main(["verify", str(tmp_path)]) == 1
    assert f"{tmp_path}/c.csv: it has no column 'b', which {tmp_path}/a.csv has" in capsys.readouterr().err


def test_verify_goes_on_behind_an_empty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("")
    (tmp_path / "b.csv").write_text("click,a\n1,2\n")
    assert main(["verify", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert f"{tmp_path}/a.csv: at byte 0: the file is empty" in told
    assert "1 examples in 2 files are sound, 1 bad places" in told


def test_verify_says_file_and_offset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_ids(tmp_path / "a.tfrecord", range(7))
    good = write_ids(tmp_path / "b.tfrecord", range(7))
    assert main(["verify", str(tmp_path)]) == 0
    offset = damage(path)
    cut = write_ids(tmp_path / "c.tfrecord", range(3))
    Path(cut).write_bytes(Path(cut).read_bytes()[:-1])
    for arguments in ([], ["--no-parse"]):
        capsys.readouterr()
        assert main(["verify", str(tmp_path), *arguments]) == 1
        said = capsys.readouterr().err
        assert f"{path}: record 6 at byte {offset}: its checksum is wrong" in said
        assert f"{cut}: record 2 at byte" in said
        assert good not in said
        assert "2 bad places" in said


def test_convert_fails_or_skips_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_ids(tmp_path / "a.tfrecord", range(7))
    damage(path)
    out = tmp_path / "out"
    assert main(["convert", path, "--out", str(out)]) == 1
    assert f"streaming: error: {path}: record 6 at byte" in capsys.readouterr().err
    assert list(out.iterdir()) == [], "nothing half-written is left"
    assert main(["convert", path, "--out", str(out), "--on-bad-record", "skip"]) == 0
    said = capsys.readouterr().err
    assert f"skipped: {path}: record 6 at byte" in said
    assert "6 examples in 1 files" in said
    assert "1 bad places were skipped" in said
    assert sorted(ids_of(batches([str(out / "a.tfrecord")], options(format="row_groups")))) == list(range(6))


def test_two_sources_never_become_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").mkdir()
    sources = [write_ids(tmp_path / "a.tfrecord", [1]), write_ids(tmp_path / "x" / "a.tfrecord", [2])]
    assert main(["convert", *sources, "--out", str(tmp_path / "out")]) == 1
    assert main(["convert", sources[0], "--out", str(tmp_path)]) == 1
    assert "would both be written to" in capsys.readouterr().err


def test_tensorflow_says_nothing_before_the_answer(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    command = [sys.executable, "-m", "launcher.estimator.streaming", "count", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["audit", "nowhere"], "nowhere is no audit of a training"),
        (["convert", __file__, "--out", "out", "--spec", "no.json"], "--spec no.json: there is no such file"),
        (["head", "nowhere"], "no data: nowhere: there is no such file or folder"),
    ],
)
def test_what_is_not_there_is_said_without_tensorflow(arguments: list[str], told: str, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "launcher.estimator.streaming", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1 and told in done.stderr and "| tensorflow" not in done.stderr


def test_help_imports_no_tensorflow() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "launcher.estimator.streaming", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not modules & {"tensorflow", "numpy", "rich"}
    assert "convert" in done.stdout


def test_large_integers_survive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = [-(2**63), 2**63 - 1, 0]
    write_groups(tmp_path / "a.tfrecord", {"id": np.array(values), "label": np.array([0, 1, 0])})
    assert [row["id"] for row in head(capsys, str(tmp_path / "a.tfrecord"))] == values
