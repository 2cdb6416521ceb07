"""Whose a run folder is: one process at a time supervises the run, or removes the folder."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path


def claim(folder: Path) -> int | None:
    """Takes the folder; None if another process has it. It is held by the descriptor, and by those that forks have,
    until all are closed. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            os.close(fd)
            return None
        # a file system without locks: supervisor.json alone says who lives there
    return fd
