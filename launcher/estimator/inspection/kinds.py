"""Tells what a path is, by what is in it and not by its name. Reads as little as possible; needs no TensorFlow.

Binary graphs are protocol buffers, which do not say of which type they are. Their outermost fields do: a SavedModel
begins with a number (``saved_model_schema_version``), a MetaGraphDef holds a graph, a GraphDef is a list of nodes
(``tensorflow/core/protobuf/saved_model.proto``, ``meta_graph.proto``, ``tensorflow/core/framework/graph.proto``).
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from launcher.estimator.inspection.values import InspectionError

MAX_PROTO_BYTES = 2**31 - 1  # protocol buffers end there; so does TensorFlow
STATE_FILE = "checkpoint"
_DATA_SUFFIX = re.compile(r"\.data-\d{5}-of-\d{5}(\.tempstate\d+)?$")
_TEXT_MARKS = (
    (re.compile(rb"^\s*saved_model_schema_version\s*:", re.M), "saved_model"),
    (re.compile(rb"^\s*(meta_info_def|graph_def)\s*(:\s*)?\{", re.M), "meta_graph"),
    (re.compile(rb"^\s*(node|versions|library)\s*(:\s*)?\{", re.M), "graph"),
)
_MAGIC = (
    (b"PK\x03\x04", "a zip archive, such as Keras writes (.keras): load it with tf_keras.models.load_model"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras writes (.h5): load it with tf_keras.models.load_model"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
)


class Kind(str, Enum):
    """What can be inspected."""

    CHECKPOINT = "checkpoint"
    CHECKPOINTS = "checkpoints"  # a folder of them
    META_GRAPH = "meta_graph"
    GRAPH = "graph"
    SAVED_MODEL = "saved_model"


@dataclass(frozen=True, kw_only=True)
class Found:
    """``path``: prefix of a checkpoint, or the folder or file; ``is_text``: a graph in protobuf's text form."""

    kind: Kind
    path: Path
    is_text: bool = False
    notes: tuple[str, ...] = ()


def what_is(text: str) -> Found:
    """What the path names. Raises InspectionError if that is nothing to inspect."""
    path = Path(text)
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            return _file(path)
        if path.exists():
            raise InspectionError(f"{text}: neither a file nor a folder")
        if _index(path).is_file():
            return Found(kind=Kind.CHECKPOINT, path=path)
    except (OSError, ValueError) as error:
        raise InspectionError(f"{text}: {getattr(error, 'strerror', None) or error}") from error
    raise InspectionError(_missing(path))


def _index(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


def _missing(path: Path) -> str:
    if list(_beside(path, f"{path.name}.data-*")):
        return f"{path}: its index file {path.name}.index is missing; without it a checkpoint cannot be read"
    if not path.parent.is_dir():
        return f"{path}: there is no folder {path.parent}"
    near = sorted({prefix.name for prefix in checkpoints_in(path.parent)}, key=_by_step)
    return f"{path}: there is nothing of that name" + (f"; {path.parent} has {', '.join(near[-5:])}" if near else "")


def _beside(path: Path, pattern: str) -> Iterator[Path]:
    return path.parent.glob(pattern) if path.parent.is_dir() else iter(())


def _by_step(name: str) -> tuple[int, str]:
    _, _, number = name.rpartition("-")
    return (int(number) if number.isdigit() else -1), name


def checkpoints_in(folder: Path) -> list[Path]:
    """The prefixes of the checkpoints in a folder, by step."""
    prefixes = {path.with_name(path.name.removesuffix(".index")) for path in folder.glob("*.index")}
    return sorted(prefixes, key=lambda prefix: _by_step(prefix.name))


# --- folders -----------------------------------------------------------------------------------------------------


def _folder(path: Path) -> Found:
    if _saved_model_in(path) is not None:
        return Found(kind=Kind.SAVED_MODEL, path=path)
    if (path / STATE_FILE).is_file() or checkpoints_in(path):
        return Found(kind=Kind.CHECKPOINTS, path=path)
    versions = [entry for entry in path.iterdir() if entry.is_dir() and _saved_model_in(entry) is not None]
    targets = {entry.resolve() for entry in versions if not entry.is_symlink()}
    versions = [entry for entry in versions if not entry.is_symlink() or entry.resolve() not in targets]  # `current`
    if versions:
        newest = max(versions, key=lambda entry: (_version(entry), entry.name))
        note = f"{path} holds {len(versions)} SavedModels; this is the newest, {newest.name}"
        return Found(kind=Kind.SAVED_MODEL, path=newest, notes=(note,) if len(versions) > 1 else ())
    if (path / "events.jsonl").is_file():
        models = [path / "model"] if (path / "model").is_dir() else []
        where = f": try {models[0]}" if models else "; its report.json and events.jsonl name the model_dir"
        raise InspectionError(f"{path}: the folder of a run, not of a model{where}")
    what = "is empty" if not any(path.iterdir()) else "has no checkpoint and no SavedModel in it"
    raise InspectionError(f"{path}: the folder {what}")


def _version(folder: Path) -> int:
    return int(folder.name) if folder.name.isdigit() else -1


def _saved_model_in(folder: Path) -> Path | None:
    for name in ("saved_model.pb", "saved_model.pbtxt"):
        if (folder / name).is_file():
            return folder / name
    return None


# --- files -------------------------------------------------------------------------------------------------------


def _file(path: Path) -> Found:
    if path.name.endswith(".index") and _data_of(path.with_name(path.name.removesuffix(".index"))):
        return Found(kind=Kind.CHECKPOINT, path=path.with_name(path.name.removesuffix(".index")))
    if (match := _DATA_SUFFIX.search(path.name)) is not None:
        prefix = path.with_name(path.name[: match.start()])
        if not _index(prefix).is_file():
            raise InspectionError(_missing(prefix))
        return Found(kind=Kind.CHECKPOINT, path=prefix)
    size = path.stat().st_size
    if not size:
        raise InspectionError(f"{path}: the file is empty")
    with path.open("rb") as stream:
        head = stream.read(65536)
        if b"model_checkpoint_path:" in head and head.isascii():
            return Found(kind=Kind.CHECKPOINTS, path=path.parent)
        if (kind := _text_kind(head)) is not None:
            return Found(kind=kind, path=path, is_text=True)
        _refuse_others(path, head)
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = _binary_kind(path, data)
    if found is None and path.name.endswith(".index"):
        return Found(kind=Kind.CHECKPOINT, path=path.with_name(path.name.removesuffix(".index")))
    if found is None:
        raise InspectionError(f"{path}: no checkpoint, graph or SavedModel" + _ends_early(path, head))
    if size > MAX_PROTO_BYTES:
        raise InspectionError(f"{path}: {size:,} bytes, and TensorFlow reads graphs of at most {MAX_PROTO_BYTES:,}")
    return Found(kind=found, path=path)


def _data_of(prefix: Path) -> bool:
    return any(_beside(prefix, f"{prefix.name}.data-*"))


def _text_kind(head: bytes) -> Kind | None:
    if b"\0" in head:
        return None
    # The mark that comes first decides: a MetaGraphDef has nodes, too, further in.
    found = [(match.start(), kind) for mark, kind in _TEXT_MARKS if (match := mark.search(head)) is not None]
    return Kind(min(found)[1]) if found and head[: min(found)[0]].strip() == b"" else None


def _refuse_others(path: Path, head: bytes) -> None:
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise InspectionError(f"{path}: {what}")
    if _is_record(head):
        what = "TensorBoard's events" if ".tfevents." in path.name else "TFRecord data"
        raise InspectionError(f"{path}: a file of {what}, not a model")


def _is_record(head: bytes) -> bool:
    """A TFRecord: eight bytes of length, of which the upper ones are 0, and then its checksum."""
    length = int.from_bytes(head[:8], "little")
    return len(head) >= 12 and 0 < length < 2**24 and head[4:8] == b"\0\0\0\0"


def _ends_early(path: Path, head: bytes) -> str:
    return (
        "; if it should be one, it is incomplete" if path.suffix in (".pb", ".meta") and head[:1] in b"\x08\x0a" else ""
    )


# --- protocol buffers --------------------------------------------------------------------------------------------

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_OP_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_>/.]*")


@dataclass(frozen=True)
class _Field:
    number: int
    wire: int
    start: int
    end: int


class _BrokenError(ValueError):
    """Not a protocol buffer, or not all of one."""


def _binary_kind(path: Path, data: mmap.mmap) -> Kind | None:
    """Which of the three it is; None if it is none of them or its end is missing."""
    try:
        outer = list(_fields(data, 0, len(data)))
    except _BrokenError:
        return None
    numbers = {item.number: item for item in reversed(outer)}
    first = numbers.get(1)
    if first is not None and first.wire == _VARINT:
        return Kind.SAVED_MODEL if 2 in numbers and numbers[2].wire == _BYTES else None
    graph = numbers.get(2)
    if graph is not None and graph.wire == _BYTES and _is_graph(data, graph.start, graph.end):
        return Kind.META_GRAPH
    return Kind.GRAPH if _is_graph(data, 0, len(data)) else None


def _is_graph(data: mmap.mmap, start: int, end: int) -> bool:
    """Whether the bytes are a GraphDef: its first node has a name and an operation."""
    try:
        for item in _fields(data, start, end):
            if item.number == 1:
                return item.wire == _BYTES and _is_node(data, item)
    except _BrokenError:
        pass
    return False


def _is_node(data: mmap.mmap, node: _Field) -> bool:
    texts = {
        item.number: data[item.start : item.end] for item in _fields(data, node.start, node.end) if item.number < 3
    }
    return bool(texts.get(1)) and _OP_NAME.fullmatch(texts.get(2, b"")) is not None


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[_Field]:
    """The fields of one message, without looking into them. Raises _BrokenError."""
    at = start
    while at < end:
        key, at = _varint(data, at, end)
        number, wire = key >> 3, key & 7
        if not 0 < number < 2**29 or wire not in (_VARINT, _FIXED64, _BYTES, _FIXED32):
            raise _BrokenError
        begin = at
        if wire == _VARINT:
            _, at = _varint(data, at, end)
        elif wire == _BYTES:
            size, begin = _varint(data, at, end)
            at = begin + size
        else:
            at += 8 if wire == _FIXED64 else 4
        if at > end:
            raise _BrokenError
        yield _Field(number, wire, begin, at)


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise _BrokenError
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _BrokenError
