"""What Linux offers and Python's standard library does not wrap."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_IN_ATTRIB, _IN_DELETE_SELF, _IN_MOVE_SELF = 0x4, 0x400, 0x800

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """From now on orphaned descendants become children of this process. Not inherited by fork. See prctl(2)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """KILLs this process when its parent ends; at once if that is no longer ``parent``. See prctl(2)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        raise OSError(ctypes.get_errno(), "prctl")


def punch_hole(fd: int, size: int) -> bool:
    """Gives the first ``size`` bytes of a file back to the disk without moving the rest; False where unsupported."""
    mode = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
    return int(_libc.fallocate(fd, mode, ctypes.c_int64(0), ctypes.c_int64(size))) == 0


def watch_file(path: str) -> int:
    """A descriptor that can be read when the file is removed, moved or changed in its attributes. See inotify(7);
    raises OSError."""
    fd = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    if (
        _libc.inotify_add_watch(fd, os.fsencode(path), ctypes.c_uint32(_IN_ATTRIB | _IN_MOVE_SELF | _IN_DELETE_SELF))
        < 0
    ):
        number = ctypes.get_errno()
        os.close(fd)
        raise OSError(number, "inotify_add_watch", path)
    return fd


def raise_open_files() -> int:
    """Lifts the soft limit of open files to the hard one; returns the soft limit as it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def set_open_files(soft: int) -> None:
    """Sets the soft limit of open files, for a task that shall see what the user's shell has."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
