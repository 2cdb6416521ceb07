"""The checksum that TFRecord files are framed with."""

from __future__ import annotations

import google_crc32c

MASK_DELTA = 0xA282EAD8  # TensorFlow's core/lib/hash/crc32c.h


def masked_crc(data: bytes) -> int:
    """The CRC32C of TFRecord files."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & 0xFFFFFFFF
