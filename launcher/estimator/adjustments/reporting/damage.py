"""Which file is damaged: TensorFlow's errors do not name it. For the end of a task that such an error has ended.

Input: the strings of the graph that are files, or patterns of files, are walked as TFRecord files up to the byte that
the error names. A checkpoint: what ``Saver.restore`` was called with; its older siblings are looked at for a whole one.

Imported into every task, so nothing of TensorFlow is imported before one of its errors is to be explained: what a
program calls ``tensorflow`` may be something else.
"""

from __future__ import annotations

import importlib
import math
import re
import struct
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

from launcher.estimator.adjustments.saving.checkpoint_files import missing_data
from launcher.wire import protocol

BUDGET_S = 10.0
_AT = re.compile(r"(?:corrupted|truncated) record at (\d+)")
_FROM_THE_START = re.compile(r"corrupted record at 0\b|Field \d+ in record|Expect \d+ fields but have|\\x1f|\\037")
_RESTORING = re.compile(r"Read less bytes|[Cc]hecksum|[Uu]nable to open table file|not an sstable|corrupt")
_HEAD_BYTES, _TAIL_BYTES = 12, 4  # of a record: its length and a checksum of that; a checksum of its data
_MOST_FILES = 10_000
_NO_FIXED_SIZE = ("string", "resource", "variant")
_PATTERN = re.compile(r"[*?\[]")


def remarks(error: BaseException) -> list[str]:
    """What is to be noted, a line each."""
    text = str(error)
    if prefix := _restored(error) if _RESTORING.search(text) else "":
        whole = _whole_before(prefix)
        found = [f"{protocol.DAMAGED_CHECKPOINT}: {prefix}"]
        return found + [f"{protocol.GOOD_CHECKPOINT}: {whole}"] * bool(whole)
    if _FROM_THE_START.search(text) and (packed := next(filter(_is_gzip, _input_files(error)), "")):
        return [f"{protocol.COMPRESSED_FILE}: {packed}"]
    if at := _AT.search(text):
        path = damaged_at(_input_files(error), int(at[1]))
        return [f"{protocol.DAMAGED_FILE}: {path}"] * bool(path)
    return []


# --- input -------------------------------------------------------------------------------------------------------


def damaged_at(paths: Iterator[str], offset: int) -> str:
    """The one of these TFRecord files whose record at ``offset`` is damaged; empty if none is found in time."""
    until = time.monotonic() + BUDGET_S
    for path in paths:
        if time.monotonic() > until:
            break
        if _is_bad_at(path, offset, until):
            return path
    return ""


def _is_gzip(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return head.startswith(b"\x1f\x8b\x08")


def _is_bad_at(path: str, offset: int, until: float) -> bool:
    """Whether there is a record at ``offset``, or data of one, that cannot be read. Walks from length to length."""
    first = offset - _HEAD_BYTES  # where the data is bad TensorFlow names the place of the data
    try:
        if Path(path).stat().st_size <= offset:
            return False
        with Path(path).open("rb") as file:
            at = 0
            while at < first and time.monotonic() < until:
                file.seek(at)
                at += _HEAD_BYTES + struct.unpack("<QI", file.read(_HEAD_BYTES))[0] + _TAIL_BYTES
        return at in (first, offset) and _is_bad_record(path, at)
    except (OSError, struct.error):
        return False


def _is_bad_record(path: str, offset: int) -> bool:
    errors, tf_record = _tensorflow("framework.errors"), _tensorflow("lib.io.tf_record")
    try:
        tf_record.tf_record_random_reader(path).read(offset)
    except errors.DataLossError:
        return True
    except (errors.OpError, IndexError):
        return False
    return False


def _input_files(error: BaseException) -> Iterator[str]:
    """The files of this machine that strings of the graph name, by name or by a pattern."""
    texts = dict.fromkeys(text for text in _strings(error) if "://" not in text)
    found = (path for text in texts for path in (_matching(text) if _PATTERN.search(text) else [text]))
    yield from islice((path for path in dict.fromkeys(found) if _is_file(path)), _MOST_FILES)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # too long for a name
        return False


def _matching(pattern: str) -> list[str]:
    try:
        return sorted(_tensorflow("lib.io.file_io").get_matching_files(pattern))
    except _tensorflow("framework.errors").OpError:
        return []


def _strings(error: BaseException) -> Iterator[str]:
    graph = getattr(getattr(error, "op", None), "graph", None)
    if graph is None:
        return
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    for node in nodes:
        if node.op == "Const" and node.attr["dtype"].type == 7:  # DT_STRING
            for value in node.attr["value"].tensor.string_val:
                text = value.decode("utf-8", "replace").removeprefix("file://")
                if 0 < len(text) < 4096 and "\0" not in text:
                    yield text


# --- checkpoints -------------------------------------------------------------------------------------------------


def _restored(error: BaseException) -> str:
    """The checkpoint that was being restored, from the frames of the traceback."""
    found: object = ""
    link: BaseException | None = error
    while link is not None and not found:
        trace = link.__traceback__
        while trace is not None:
            found = _restored_in(trace.tb_frame) or found
            trace = trace.tb_next
        link = link.__context__
    return str(found) if found else ""


def _restored_in(frame: FrameType) -> object:
    name = frame.f_code.co_name
    if name == "restore" and frame.f_code.co_filename.endswith("saver.py"):
        return frame.f_locals.get("save_path")
    if name in ("load_checkpoint", "init_from_checkpoint"):
        return frame.f_locals.get("filename") or frame.f_locals.get("ckpt_dir_or_file")
    return None


def _whole_before(prefix: str) -> str:
    """The newest of the other checkpoints beside it whose data is complete; empty if there is none."""
    path = Path(prefix)
    name = re.compile(re.escape(re.sub(r"-\d+$", "", path.name)) + r"-(\d+)\.index")
    steps = sorted(
        (int(match[1]) for file in path.parent.iterdir() if (match := name.fullmatch(file.name))), reverse=True
    )
    stem = re.sub(r"-\d+$", "", prefix)
    others = [f"{stem}-{step}" for step in steps if f"{stem}-{step}" != prefix]
    return next((other for other in others if _is_whole(Path(other))), "")


def _is_whole(prefix: Path) -> bool:
    try:
        reader = _tensorflow("training.py_checkpoint_reader").NewCheckpointReader(str(prefix))
    except (_tensorflow("framework.errors").OpError, ValueError, RuntimeError):
        return False
    types = reader.get_variable_to_dtype_map()
    shapes = reader.get_variable_to_shape_map()
    sized = (name for name, type_ in types.items() if type_.name not in _NO_FIXED_SIZE)
    return not missing_data(prefix, sum(types[name].size * math.prod(shapes[name]) for name in sized))


def _tensorflow(name: str) -> Any:
    return importlib.import_module(f"tensorflow.python.{name}")
