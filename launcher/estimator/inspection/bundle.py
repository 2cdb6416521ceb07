"""Where the bytes of a checkpoint's tensors lie, so that one is read a piece at a time, however large it is.

TensorFlow's own readers give a tensor as a whole: ``RestoreV2`` with a slice reads all of it, too. The index is a
sorted table of one block or more (``tensorflow/core/lib/io/format.cc``, as LevelDB has it), from names to
``BundleEntryProto`` (``tensorflow/core/util/tensor_bundle/tensor_bundle.cc``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

_FOOTER_BYTES = 48
_MAGIC = bytes.fromhex("57fb808b247547db")
PIECE_VALUES = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """``values`` numbers of ``dtype``, from a byte of a file on."""

    file: Path
    offset: int
    dtype: Any
    values: int

    def pieces(self) -> Iterator[np.ndarray[Any, Any]]:
        """All of them, in order, at most ``PIECE_VALUES`` at a time. Raises OSError, ValueError if the file ends
        before."""
        for begin in range(0, self.values, PIECE_VALUES):
            count = min(PIECE_VALUES, self.values - begin)
            array = np.fromfile(self.file, self.dtype, count, offset=self.offset + begin * self.dtype.itemsize)
            if array.size < count:
                raise ValueError(f"{self.file} ends within a tensor")
            yield array


class Bundle:
    """The index of one checkpoint. Raises OSError, ValueError for one that is not understood."""

    def __init__(self, prefix: Path) -> None:
        from tensorflow.core.protobuf import tensor_bundle_pb2

        self._prefix = prefix
        rows = dict(_rows(prefix.with_name(f"{prefix.name}.index").read_bytes()))
        header = tensor_bundle_pb2.BundleHeaderProto.FromString(rows.pop(b"", b""))
        if header.endianness != header.LITTLE:
            raise ValueError("of a machine with the other byte order")
        self._shards = header.num_shards
        self._entries = {key: tensor_bundle_pb2.BundleEntryProto.FromString(value) for key, value in rows.items()}

    def places(self, name: str) -> dict[bytes, Place]:
        """Where a tensor of numbers lies: one place, or one for each slice of a partitioned variable, by what tells
        which slice it is. Raises KeyError for one that is not there, ValueError for one that has no fixed size."""
        entry = self._entries[name.encode()]
        if not entry.slices:
            return {b"": self._place(entry)}
        head = b"\0" + name.encode() + b"\0\1"
        return {key[len(head) :]: self._place(each) for key, each in self._entries.items() if key.startswith(head)}

    def _place(self, entry: Any) -> Place:
        dtype = np.dtype(tf.as_dtype(entry.dtype).as_numpy_dtype)
        values = int(np.prod([dim.size for dim in entry.shape.dim], dtype=np.int64))
        if dtype.hasobject or values * dtype.itemsize != entry.size:
            raise ValueError("no tensor of numbers")
        name = f"{self._prefix.name}.data-{entry.shard_id:05}-of-{self._shards:05}"
        return Place(file=self._prefix.with_name(name), offset=entry.offset, dtype=dtype, values=values)


def _rows(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    footer = data[-_FOOTER_BYTES:]
    if footer[-len(_MAGIC) :] != _MAGIC:
        raise ValueError("no index of a checkpoint")
    at = 0
    for _ in range(2):  # offset and size of what an index has none of
        _, at = _varint(footer, at)
    for _, handle in _block(data, *_handle(footer, at)):
        yield from _block(data, *_handle(handle, 0))


def _handle(data: bytes, at: int) -> tuple[int, int]:
    offset, at = _varint(data, at)
    return offset, _varint(data, at)[0]


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys are written without what they have in common with the one before."""
    if data[offset + size]:
        raise ValueError("a compressed index")
    block = data[offset : offset + size]
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        yield key, block[at + fresh : at + fresh + length]
        at += fresh + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if not byte & 128:
            return number, at
