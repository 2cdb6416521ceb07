"""Names this process for ``ps`` and ``top``."""

from __future__ import annotations

import ctypes
from pathlib import Path

_PR_SET_NAME = 15
_LONGEST_NAME_BYTES = 15  # linux/sched.h, TASK_COMM_LEN less the final zero
_ARG_START, _ARG_END = 48, 49  # fields of /proc/self/stat, proc(5)


def set_title(title: str) -> None:
    """Shows ``title`` as the command line, cut to the length of the one that the process was started with, and its
    last word, which is the task, as the name."""
    words = title.split() or [""]
    ctypes.CDLL(None).prctl(_PR_SET_NAME, ctypes.c_char_p(words[-1].encode()[:_LONGEST_NAME_BYTES]), 0, 0, 0)
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    start, end = int(fields[_ARG_START - 3]), int(fields[_ARG_END - 3])
    size = end - start
    if start == 0 or size < 2:  # the kernel does not tell who may not trace itself
        return
    # The last byte stays zero: otherwise the kernel reads on into the environment (fs/proc/base.c, get_mm_cmdline).
    ctypes.memmove(start, title.encode()[: size - 1].ljust(size, b"\0"), size)
