"""How the C library keeps memory that batches come and go in."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Mapping

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
KEPT_BYTES = 16 << 20
USERS_OWN = ("MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@functools.cache
def keep_freed_memory() -> None:
    """Have malloc keep memory that is freed for what comes next, in the whole process, from now on.

    Otherwise each array of a few MiB goes back to the system when it is freed, and the next one comes as fresh pages
    that the kernel fills with zeros: that was a third of the time of reading row groups. Does nothing without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting, size_bytes in settings(os.environ).items():
            mallopt(setting, size_bytes)


def settings(environ: Mapping[str, str]) -> Mapping[int, int]:
    """What malloc is told, in bytes; nothing where the user has told it something."""
    if any(name in environ for name in USERS_OWN):
        return {}
    return {M_TOP_PAD: KEPT_BYTES, M_TRIM_THRESHOLD: 4 * KEPT_BYTES, M_MMAP_THRESHOLD: 2 * KEPT_BYTES}
