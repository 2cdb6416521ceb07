"""The files that a process's threads wait for within the kernel: a named pipe that nobody writes, a network file system
that does not answer. No Python stack shows them where it is a thread of native code that opens or reads the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Where the system calls that wait for a file have it: a descriptor or the address of its path, and in which argument.
_CALLS: dict[str, dict[int, tuple[str, int]]] = {
    "x86_64": {
        0: ("descriptor", 0),  # read
        2: ("path", 0),  # open
        4: ("path", 0),  # stat
        17: ("descriptor", 0),  # pread64
        257: ("path", 1),  # openat
        262: ("path", 1),  # newfstatat
    },
    "aarch64": {
        56: ("path", 1),  # openat
        63: ("descriptor", 0),  # read
        67: ("descriptor", 0),  # pread64
        79: ("path", 1),  # newfstatat
    },
}
_NO_FILES = ("/dev/", "/proc/", "/sys/")
_LONGEST_PATH = 4096
_PAGE = os.sysconf("SC_PAGE_SIZE")


def files(pid: int) -> frozenset[str]:
    """The paths that threads of the process open or read at this moment; none where the kernel does not let us look.

    The files themselves are not touched: who asks a file system that does not answer waits, too.
    """
    return frozenset(path for path in _paths(pid) if path.startswith("/") and not path.startswith(_NO_FILES))


def _paths(pid: int) -> Iterator[str]:
    calls = _CALLS.get(os.uname().machine, {})
    process = Path(f"/proc/{pid}")
    try:
        threads = list(process.glob("task/*/syscall"))
    except OSError:
        return
    for thread in threads:
        try:
            number, *arguments = thread.read_text().split()
            if found := calls.get(int(number)):
                kind, index = found
                yield _path(process, kind, int(arguments[index], 16))
        except (OSError, ValueError):  # it has ended, runs, or is not ours to look at
            continue


def _path(process: Path, kind: str, value: int) -> str:
    if kind == "descriptor":
        return str((process / "fd" / str(value & 0x7FFFFFFF)).readlink())
    text = _text(process, value)
    return str((process / "cwd").readlink() / text) if text else ""


def _text(process: Path, address: int) -> str:
    """The string at that address of the process, which ends with a zero byte."""
    with (process / "mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        found = b""
        while len(found) < _LONGEST_PATH and b"\0" not in found:  # by pages: the next one may not be there
            part = memory.read(_PAGE - (address + len(found)) % _PAGE)
            if not part:
                break
            found += part
    return os.fsdecode(found.partition(b"\0")[0])
