"""Files as shards. Where the records of a plain TFRecord file begin is found once and kept in a small file.

The index is written beside the data as ``.NAME.index``, or where that is not possible into the user's cache folder. It
holds the file's size, time of change, and a checksum of its first and last bytes: where one differs it is made anew.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from launcher.estimator.streaming.errors import BadDataError
from launcher.estimator.streaming.formats.checksums import masked_crc
from launcher.estimator.streaming.formats.framing import HEAD_BYTES, TAIL_BYTES
from launcher.estimator.streaming.formats.shards import Shard, together_of
from launcher.estimator.streaming.formats.storage.files import PARQUET_MAGIC, first_bytes, is_local, open_data
from launcher.estimator.streaming.formats.storage.sources import is_data_file, list_files

VERSION = 1
MAX_OFFSETS = 65_536
"""Beyond that only every second, fourth, … record is noted."""
EDGE_BYTES = 4096
WALK_BYTES = 1 << 16

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """``offsets[i]``: where record ``i * stride`` begins. ``fingerprint``: what tells that the file has changed."""

    records: int
    stride: int
    offsets: tuple[int, ...]
    fingerprint: tuple[int, int, int]
    version: int = VERSION


def list_shards(sources: Sequence[str], *, slice_records: int | None = None) -> tuple[Shard, ...]:
    """Every file of ``sources`` as shards, in the order of :func:`list_files`.

    ``slice_records``: plain TFRecord and Parquet files with more records or rows than this are cut into shards of so
    many, or of a multiple (``together_of``); None leaves TFRecord files whole, and cuts Parquet files at 131,072 rows.
    A file that cannot be cut, damaged ones included, stays whole: what is wrong with it is found when it is read.
    Raises SourceError.
    """
    files = list_files(sources)
    return tuple(shard for path in files for shard in slice_file(path, slice_records))


def slice_file(path: str, slice_records: int | None) -> tuple[Shard, ...]:
    """A file as shards of ``slice_records``; whole if it is not larger, or neither a sound Parquet file nor a sound,
    plain, local TFRecord file."""
    try:
        if _is_parquet(path):
            from launcher.estimator.streaming.formats.arrow.parquet_ranges import ROWS_IN_A_SHARD, parquet_shards

            return parquet_shards(path, slice_records or ROWS_IN_A_SHARD)
        if slice_records is None:
            return (Shard(path=path),)
        return _slices(path, slice_records) if is_local(path) else (Shard(path=path),)
    except (BadDataError, OSError):
        return (Shard(path=path),)


def _is_parquet(path: str) -> bool:
    """By the name where that says it, so that thousands of other files are not opened for it."""
    name = path.rpartition("/")[2]
    if is_data_file(name) or is_data_file(name.lstrip("._")):
        return name.endswith(".parquet")
    return first_bytes(path)[:4] == PARQUET_MAGIC


def _slices(path: str, slice_records: int) -> tuple[Shard, ...]:
    with open_data(path, "none") as file:
        index = find_index(path, file)
        if index.records <= slice_records:
            return (Shard(path=path),)
        together = together_of(index.records, slice_records)
        firsts = range(0, index.records, together)
        return tuple(
            Shard(path=path, first_record=at, records=min(together, index.records - at), byte_offset=offset)
            for at, offset in zip(firsts, _offsets(path, file, index, firsts), strict=True)
        )


def find_index(path: str, file: BinaryIO) -> Index:
    """The kept index if it fits the file, else a new one, which is then kept."""
    fingerprint = _fingerprint(file)
    for place in _places(path):
        index = _load(place)
        if index is not None and index.fingerprint == fingerprint:
            return index
    index = make_index(path, file, fingerprint)
    for place in _places(path):
        if _store(place, index):
            break
    return index


def make_index(path: str, file: BinaryIO, fingerprint: tuple[int, int, int]) -> Index:
    """Walks over the frames' lengths. Raises BadDataError where one is damaged or the file ends too early."""
    offsets: list[int] = []
    stride, count = 1, 0
    for offset in _walk(path, file, 0, 0):
        if count % stride == 0:
            offsets.append(offset)
            if len(offsets) > MAX_OFFSETS:
                offsets, stride = offsets[::2], stride * 2
        count += 1
    return Index(records=count, stride=stride, offsets=tuple(offsets), fingerprint=fingerprint)


def _offsets(path: str, file: BinaryIO, index: Index, records: range) -> Iterator[int]:
    """Where these records begin. Walks on from the last one, or from a nearer one that is noted."""
    walk: Iterator[int] = iter(())
    number = index.records  # of the next record of the walk
    for record in records:
        known = record // index.stride
        if number > record or known * index.stride > number:
            number, walk = known * index.stride, _walk(path, file, index.offsets[known], known * index.stride)
        offset = next(itertools.islice(walk, record - number, None), -1)
        if offset < 0:
            raise BadDataError(path, "it has changed while it was read", record=record)
        yield offset
        number = record + 1


def _walk(path: str, file: BinaryIO, offset: int, record: int) -> Iterator[int]:
    """Where each record from this one on begins."""
    size = os.fstat(file.fileno()).st_size
    block, begins = b"", offset
    while offset < size:
        if not begins <= offset <= begins + len(block) - HEAD_BYTES:
            file.seek(offset)
            block, begins = file.read(WALK_BYTES), offset
        head = block[offset - begins : offset - begins + HEAD_BYTES]
        length = _LENGTH.unpack_from(head)[0] if len(head) == HEAD_BYTES else size
        if len(head) == HEAD_BYTES and _crc(head[:8]) != head[8:]:
            raise BadDataError(
                path, "the checksum of its length is wrong, the file is damaged", offset=offset, record=record
            )
        if offset + HEAD_BYTES + length + TAIL_BYTES > size:
            raise BadDataError(path, "the file is cut off in this record", offset=offset, record=record)
        yield offset
        offset += HEAD_BYTES + length + TAIL_BYTES
        record += 1


@functools.lru_cache(4096)
def _crc(length: bytes) -> bytes:
    """Lengths repeat."""
    return struct.pack("<I", masked_crc(length))


def _fingerprint(file: BinaryIO) -> tuple[int, int, int]:
    status = os.fstat(file.fileno())
    file.seek(0)
    head = file.read(EDGE_BYTES)
    file.seek(max(0, status.st_size - EDGE_BYTES))
    return status.st_size, status.st_mtime_ns, masked_crc(head + file.read(EDGE_BYTES))


def _places(path: str) -> tuple[Path, Path]:
    own = Path(path).absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return own.with_name(f".{own.name}.index"), cache / "tflaunch" / "index" / sha256(os.fsencode(own)).hexdigest()


def _load(place: Path) -> Index | None:
    try:
        kept = json.loads(place.read_text())
        if kept.get("version") != VERSION:
            return None
        return Index(**kept | {"offsets": tuple(kept["offsets"]), "fingerprint": tuple(kept["fingerprint"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _store(place: Path, index: Index) -> bool:
    """Written in full or not at all; several tasks may do it at once."""
    draft = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    try:
        if place.parent.name == "index":
            place.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(asdict(index)))
        draft.replace(place)
    except OSError:
        draft.unlink(missing_ok=True)
        return False
    return True
