"""The checksum that TFRecord files are framed with."""

from __future__ import annotations

from collections.abc import Sequence

import google_crc32c
import numpy as np
import numpy.typing as npt

_MASK_DELTA = 0xA282EAD8  # TensorFlow's core/lib/hash/crc32c.h


def masked_crc(data: bytes) -> int:
    """The CRC32C of TFRecord files."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def masked_crcs(records: Sequence[bytes]) -> npt.NDArray[np.uint64]:
    """The checksums of many records: uint64[records]."""
    crcs = np.fromiter(map(google_crc32c.value, records), np.uint64, len(records))
    return np.asarray((((crcs >> 15) | (crcs << 17)) + _MASK_DELTA) & 0xFFFFFFFF, np.uint64)
