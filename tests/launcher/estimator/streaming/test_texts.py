"""Files of text as people write them: other delimiters, no header, other encodings, lists in a text, compressed."""

from __future__ import annotations

import bz2
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from launcher.estimator.streaming.errors import BadDataError, StreamingError
from launcher.estimator.streaming.formats.columns import Ragged
from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec, from_json, to_json
from launcher.estimator.streaming.formats.framing import BadRecord
from launcher.estimator.streaming.formats.inference import find_format, infer_spec
from launcher.estimator.streaming.formats.text.form import TextForm
from launcher.estimator.streaming.tools.convert import convert_file, read_columns

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def read(path: Path, spec: FeatureSpec, skip: Any = None) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {column.name: [] for column in spec.columns}
    for part in read_columns(str(path), spec, batch=100, skip=skip):
        for name, values in part.items():
            if isinstance(values, Ragged):
                ends = values.lengths.cumsum().tolist()
                starts = [0, *ends]
                found[name] += [values.values[start:end].tolist() for start, end in zip(starts, ends, strict=False)]
            else:
                found[name] += values.tolist()
    return found


TEXT = "文,字"


@pytest.mark.parametrize(
    ("name", "data", "form", "said", "values"),
    [
        ("a.tsv", f"id\ttext\n1\t{TEXT}\n2\t\n", TextForm(delimiter="\t"), "tabs", {"id": [1, 2]}),
        ("a.csv", "id;x\n1;2\n", TextForm(delimiter=";"), "semicolons", {"id": [1], "x": [2]}),
        ("a.csv", "id|x\n1|a,b,c\n2|d,e,f\n3|g,h\n", TextForm(delimiter="|"), "bars", {"id": [1, 2, 3]}),
        ("a.csv", "id,x\n1,a;b\n2,c;d\n", TextForm(), "", {"x": [b"a;b", b"c;d"]}),
        (
            "day_0.tsv",
            "0\t\t68fd1e64\n1\t5\tabc\n",
            TextForm(delimiter="\t", header=("c0", "c1", "c2")),
            r"the first line \(0, , 68fd1e64, …\) is a row and no header",
            {"c0": [0, 1], "c1": [0, 5], "c2": [b"68fd1e64", b"abc"]},
        ),
        ("a.csv", "id,2024\n1,2\n", TextForm(), "", {"id": [1], "2024": [2]}),
        ("a.csv", "one\n1\n2\n", TextForm(), "", {"one": [1, 2]}),
    ],
)
def test_the_layout_is_found_said_written_down_and_obeyed(
    tmp_path: Path, name: str, data: str, form: TextForm, said: str, values: dict[str, list[Any]]
) -> None:
    path = tmp_path / name
    path.write_text(data)
    told: list[str] = []
    spec = infer_spec(str(path), find_format(str(path)), notice=told.append)
    assert spec.text == form and from_json(to_json(spec), "") == spec
    assert any(re.search(said, text) for text in told) or not said
    assert values.items() <= read(path, spec).items()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "gb18030", "latin-1", "shift-jis"])
def test_other_encodings_are_read_as_what_they_say(tmp_path: Path, encoding: str) -> None:
    text = "é,ü" if encoding == "latin-1" else TEXT
    path = tmp_path / "a.csv"
    path.write_bytes(f'id,text\n1,"{text}"\n'.encode(encoding))
    form = TextForm(encoding=encoding)
    if encoding.startswith("utf"):
        form = infer_spec(str(path), "csv").text
        assert form.encoding == encoding.removesuffix("-sig")
    spec = FeatureSpec(columns=(Column(name="id"), Column(name="text", kind="bytes")), text=form)
    assert read(path, spec) == {"id": [1], "text": [text.encode()]}
    if not encoding.startswith("utf"):
        usual = FeatureSpec(columns=spec.columns)
        with pytest.raises(BadDataError, match=f"{path}: line 2, .*it is not UTF-8"):
            read(path, usual)
    elif encoding == "utf-16":
        with pytest.raises(BadDataError, match='this is UTF-16: write "csv"'):
            read(path, FeatureSpec(columns=spec.columns))


def compressed(how: str, data: bytes) -> bytes:
    if how in ("gzip", "bz2"):
        return {"gzip": gzip, "bz2": bz2}[how].compress(data)  # type: ignore[attr-defined, no-any-return]
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, how) as stream:
        stream.write(data)
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize("how", ["gzip", "bz2", "zstd", "lz4"])
@pytest.mark.parametrize("ending", ["", ".csv.gz"])
def test_how_a_file_is_compressed_is_seen_by_its_bytes(tmp_path: Path, how: str, ending: str) -> None:
    path = tmp_path / f"a{ending or '.data'}"
    data = "id,text\n" + "".join(f"{i},{TEXT[0]}{i}\n" for i in range(3000))
    path.write_bytes(compressed(how, data.encode()))
    assert find_format(str(path)) == "csv"
    spec = infer_spec(str(path), "csv")
    assert read(path, spec)["id"] == list(range(3000))

    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadDataError, match=f"{path}: .*cannot be read"):
        read(path, spec)


def test_a_zip_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(BadDataError, match="this is a ZIP archive: unpack it"):
        infer_spec(str(path), "csv")


LISTS = FeatureSpec(
    columns=(
        Column(name="x", length=None, split="|"),
        Column(name="y", missing=("-", ""), default=7),
        Column(name="z", kind="bytes", length=2, split=";"),
        Column(name="w", kind="bytes", missing=("?",), default="none"),
    )
)
WANTED = {
    "x": [[1, 2, 3], [], [2**63 - 1]],
    "y": [7, 5, 7],
    "z": [[b"a", b"b"], [b"c", b"d"], [b"", b""]],
    "w": [b"none", b"", b"-"],
}


def test_lists_in_a_text_and_texts_that_stand_for_no_value(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y,z,w\n1|2|3,-,a;b,?\n,5,c;d,\n9223372036854775807,,;,-\n1|b,1,;,w\n1,?,;,w\n1,1,;;,w\n")
    spec = from_json(to_json(LISTS), "feature_spec.json")
    assert spec == LISTS
    told: list[BadRecord] = []
    assert read(path, spec, told.append) == WANTED
    assert [(bad.line, bad.reason) for bad in told] == [
        (5, "column 'x': '1|b' is no list of int64"),
        (6, "column 'y': '?' is no int64"),
        (7, "column 'z': ';;' is no list of 2 bytes"),
    ]


def test_lists_in_texts_of_parquet_are_lists_and_convert_makes_them_so(tmp_path: Path) -> None:
    texts = {"x": ["1|2|3", "", "4|b", None], "z": ["a;b", "c;d", ";", ";"]}
    path, made = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(pa.table(texts), path)
    spec = LISTS.select(["x", "z"])
    told: list[BadRecord] = []
    assert read(path, spec, told.append)["x"] == [[1, 2, 3], [], []]
    assert [(bad.record, bad.reason) for bad in told] == [(2, "column 'x': '4|b' is no list of int64")]
    assert convert_file(str(path), str(made), spec=spec, skip=told.append) == 3
    assert read(made, spec.as_files())["x"] == [[1, 2, 3], [], []]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"columns": {}, "csv": {"delimiter": "ab"}}, "delimiter 'ab': write one ASCII character"),
        ({"columns": {}, "csv": {"delimiter": '"'}}, "delimiter and quote are both"),
        ({"columns": {}, "csv": {"encoding": "utf-99"}}, "encoding 'utf-99': there is none of that name"),
        ({"columns": {}, "csv": {"header": ["a", "a"]}}, "the names of all columns in their order"),
        ({"columns": {}, "csv": {"headers": 0}}, "no such key: headers; there are delimiter, encoding, header, quote"),
        ({"columns": {"x": {"type": "int64", "length": 1, "split": "|"}}}, "split '|'"),
        ({"columns": {"x": {"type": "int64", "length": 1, "missing": "-"}}}, "missing: a list of the texts"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(body: dict[str, Any], says: str) -> None:
    with pytest.raises(StreamingError) as caught:
        from_json(json.dumps(body), "feature_spec.json")
    assert says in str(caught.value)


def test_quotes_that_mean_nothing_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('x,y\n5" disk,1\n"open,2\n')
    spec = FeatureSpec(columns=(Column(name="x", kind="bytes"), Column(name="y")), text=TextForm(quote=""))
    assert read(path, spec) == {"x": [b'5" disk', b'"open'], "y": [1, 2]}
