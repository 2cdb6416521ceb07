"""What a path is, by its content. No TensorFlow: the bytes are written by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from launcher.estimator.inspection.kinds import Kind, what_is
from launcher.estimator.inspection.values import InspectionError


def field(number: int, data: bytes) -> bytes:
    """A field of bytes; short ones only."""
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


NODE = field(1, field(1, b"x") + field(2, b"Placeholder"))
GRAPH = NODE + field(1, field(1, b"y") + field(2, b"Identity") + field(3, b"x")) + field(4, b"\x08\x15")
META = field(1, field(4, b"serve")) + field(2, GRAPH)
SAVED_MODEL = b"\x08\x01" + field(2, META)


@pytest.mark.parametrize(
    ("data", "kind"), [(GRAPH, Kind.GRAPH), (META, Kind.META_GRAPH), (SAVED_MODEL, Kind.SAVED_MODEL)]
)
@pytest.mark.parametrize("name", ["model.pb", "graph.meta", "no_ending"])
def test_the_three_protocol_buffers_are_told_apart_whatever_they_are_called(
    tmp_path: Path, data: bytes, kind: Kind, name: str
) -> None:
    (tmp_path / name).write_bytes(data)
    assert what_is(str(tmp_path / name)).kind is kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('node {\n  name: "x"\n}', Kind.GRAPH),
        ('meta_info_def {\n}\ngraph_def {\n  node {\n    name: "x"\n  }\n}', Kind.META_GRAPH),
        ("saved_model_schema_version: 1\nmeta_graphs {\n}", Kind.SAVED_MODEL),
    ],
)
def test_text_forms_are_known_by_their_first_field(tmp_path: Path, text: str, kind: Kind) -> None:
    (tmp_path / "graph.pbtxt").write_text(text)
    found = what_is(str(tmp_path / "graph.pbtxt"))
    assert (found.kind, found.is_text) == (kind, True)


@pytest.mark.parametrize("data", [GRAPH, META, SAVED_MODEL])
def test_every_truncation_is_refused_or_is_a_whole_part(tmp_path: Path, data: bytes) -> None:
    """A graph cut between two nodes is a smaller graph; cut anywhere else it is none."""
    path = tmp_path / "cut.pb"
    whole_parts = {len(NODE), len(data)} | ({len(GRAPH) - 4} if data is GRAPH else set())
    for end in range(1, len(data)):
        path.write_bytes(data[:end])
        if data is GRAPH and end in whole_parts:
            assert what_is(str(path)).kind is Kind.GRAPH
        else:
            with pytest.raises(InspectionError, match="incomplete"):
                what_is(str(path))


TF_RECORD = struct.pack("<Q", 5) + b"abcd" + b"hello" + b"efgh"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("empty.pb", b"", "the file is empty"),
        ("notes.txt", b"just text\n" * 50, "no checkpoint, graph or SavedModel"),
        ("noise.pb", bytes(range(256)) * 40, "no checkpoint, graph or SavedModel"),
        ("zeros.pb", bytes(4096), "no checkpoint, graph or SavedModel"),
        ("part-0.tfrecord", TF_RECORD, "TFRecord data, not a model"),
        ("events.out.tfevents.1", TF_RECORD, "TensorBoard's events, not a model"),
        ("model.keras", b"PK\x03\x04....", "load it with"),
        ("model.h5", b"\x89HDF\r\n\x1a\n....", "load it with"),
        ("model.ckpt-1.data-00000-of-00001", b"....", "index file model.ckpt-1.index is missing"),
    ],
)
def test_what_is_no_model_is_said_to_be_none(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InspectionError, match=said):
        what_is(str(tmp_path / name))


def test_a_file_too_large_for_a_protocol_buffer_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "huge.pb"
    size = 3 * 2**30
    length = size - 2 - 6
    varint = b""
    while length:
        varint += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
        length >>= 7
    with path.open("wb") as stream:
        stream.write(b"\x08\x01\x12" + varint)
        stream.truncate(3 + len(varint) + size - 2 - 6)
    with pytest.raises(InspectionError, match="at most"):
        what_is(str(path))


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(InspectionError, match="folder is empty"):
        what_is(str(tmp_path))
    (tmp_path / "notes").write_text("")
    with pytest.raises(InspectionError, match="no checkpoint and no SavedModel"):
        what_is(str(tmp_path))
    for version in ("9", "10"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").write_bytes(SAVED_MODEL)
    found = what_is(str(tmp_path))
    assert (found.kind, found.path.name) == (Kind.SAVED_MODEL, "10")
    (tmp_path / "current").symlink_to(found.path)
    again = what_is(str(tmp_path))
    assert (again.path.name, again.notes) == ("10", found.notes), "a link to one of them is no further one"
    assert "holds 2 SavedModels" in found.notes[0]


def test_a_run_folder_says_where_its_model_is(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").touch()
    (tmp_path / "model").mkdir()
    with pytest.raises(InspectionError, match=f"try {tmp_path}/model"):
        what_is(str(tmp_path))


def test_a_name_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt-250.index").write_bytes(b"x")
    with pytest.raises(InspectionError, match=r"has model\.ckpt-250"):
        what_is(str(tmp_path / "model.ckpt-25"))
    with pytest.raises(InspectionError, match="there is no folder"):
        what_is(str(tmp_path / "gone" / "model.ckpt"))
    with pytest.raises(InspectionError):
        what_is("nul\0byte")
    with pytest.raises(InspectionError, match="neither a file nor a folder"):
        what_is("/dev/null")
