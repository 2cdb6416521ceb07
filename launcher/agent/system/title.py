"""Names this process for ``ps`` and ``top``, and marks it as one of a run.

Both are written over what the kernel shows of a process's start, through /proc/self/mem, so that no module for calls
into C has to be imported for it.
"""

from __future__ import annotations

import os

_LONGEST_NAME_BYTES = 15  # linux/sched.h, TASK_COMM_LEN less the final zero
_ARG_START, _ARG_END, _ENV_START, _ENV_END = 48, 49, 50, 51  # fields of /proc/self/stat, proc(5)


def set_title(title: str, name: str | None = None) -> None:
    """Shows ``title`` as the command line, cut to the length of the one that the process was started with, and ``name``
    as the name: the last word, which is the task, if it is not given."""
    words = title.split() or [""]
    _write("/proc/self/comm", None, (name or words[-1]).encode()[:_LONGEST_NAME_BYTES])
    start, size = _area(_ARG_START, _ARG_END)
    if size < 2:
        return
    # The last byte stays zero: otherwise the kernel reads on into the environment (fs/proc/base.c, get_mm_cmdline).
    _write("/proc/self/mem", start, title.encode()[: size - 1].ljust(size, b"\0"))


def set_environment(variable: str, value: str) -> bool:
    """Shows this as the environment, as if the process had been started with it and nothing else; False where that
    cannot be done. Programs that it starts get ``os.environ``, as ever."""
    shown = os.fsencode(f"{variable}={value}")
    start, size = _area(_ENV_START, _ENV_END)
    if size <= len(shown):
        return False
    os.environ[variable] = value
    for name in [*os.environ]:
        os.environ[name] = os.environ[name]  # C code reads its variables there until they are set anew, elsewhere
    return _write("/proc/self/mem", start, shown.ljust(size, b"\0"))


def _area(first: int, last: int) -> tuple[int, int]:
    """Where it begins in memory, and its length in bytes; 0 if the kernel does not tell, as to one who may not trace
    itself."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[first - 3]), int(fields[last - 3])
    return start, (end - start if start else 0)


def _write(path: str, offset: int | None, data: bytes) -> bool:
    try:
        file = os.open(path, os.O_WRONLY)
    except OSError:
        return False
    try:
        return (os.write(file, data) if offset is None else os.pwrite(file, data, offset)) == len(data)
    except OSError:
        return False
    finally:
        os.close(file)
