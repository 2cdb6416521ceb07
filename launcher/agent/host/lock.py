"""The lock of a model_dir: one run trains in it, and a lock whose run has died is recognised.

What locks is the flock on a file in the folder, which ends with the last process that holds it; what is written in the
file only says to people whose it is.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

LOCK_FILE = ".tflaunch.lock"
_MAX_BYTES = 65536
_MAX_TRIES = 100
_NAME_BYTES = 100

Owner = dict[str, object]


class LockError(Exception):
    """The folder cannot be locked; the text says by whom it is held and what to do."""


def is_remote(path: str) -> bool:
    """Whether the path has a scheme, such as ``gs://``: there is no locking such folders."""
    scheme, found, _ = path.partition("://")
    return bool(found) and scheme[:1].isalpha() and scheme.isascii() and all(c.isalnum() or c in "+.-" for c in scheme)


def lock(path: str, owner: Owner) -> tuple[int | None, str]:
    """Locks a folder, making it if need be, for ``owner`` (run, host, pid, since).

    Returns the descriptor that holds the lock and a note for people. No descriptor: another agent of the same run
    holds it already. Raises LockError.
    """
    try:
        return _lock(Path(path) / LOCK_FILE, path, owner)
    except OSError as error:
        why = "it is no folder" if isinstance(error, (FileExistsError, NotADirectoryError)) else error.strerror
        raise LockError(f"cannot use {path} as model_dir: {why}; choose a folder that you may write to") from error


def lock_name(path: str, owner: Owner, names: Path, others: Iterable[Path]) -> int | None:
    """Locks the name of a folder on this host, by a file in ``names``: that holds although the folder is removed and
    made again. ``others``: where other runs do so. No descriptor where it cannot be had. Raises LockError."""
    fd = None
    try:
        names.mkdir(mode=0o700, exist_ok=True)
        fd = _lock(name_file(path, names), path, owner)[0]
        # Whoever comes second sees the first; of two that come at once, neither may go on.
        for other in others:
            _check_free(name_file(path, other), path, owner)
    except OSError:
        return fd
    except LockError:
        if fd is not None:
            os.close(fd)
        raise
    return fd


def _check_free(file: Path, path: str, owner: Owner) -> None:
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        if not _try(fd):
            _same_run(path, _read(fd), owner)
    finally:
        os.close(fd)


def name_file(path: str, names: Path) -> Path:
    """Where the name of that folder is locked."""
    whole = os.fsencode(os.path.realpath(path))
    return names / f"{whole[-_NAME_BYTES:].hex()}-{zlib.crc32(whole):08x}"


def is_held(path: str, fd: int) -> bool:
    """Whether the lock file in the folder is still the one that this descriptor holds."""
    return _is(fd, Path(path) / LOCK_FILE)


def _lock(file: Path, path: str, owner: Owner) -> tuple[int | None, str]:
    file.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(_MAX_TRIES):
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        former = _read(fd)
        if not _try(fd):
            os.close(fd)
            return None, _same_run(path, former, owner)
        if _is(fd, file):
            _write(fd, owner)
            return fd, _note(former, owner)
        os.close(fd)  # its owner removed it after we had opened it
    raise LockError(f"cannot lock {path}: somebody keeps replacing {file}; try again")


def holder(path: str) -> Owner:
    """What the lock file in the folder says, empty if there is none that can be read."""
    try:
        with open(Path(path) / LOCK_FILE, "rb") as file:  # opened anew: network file systems look again then
            return _read(file.fileno())
    except OSError:
        return {}


def unlock(file: Path, fd: int, host: str) -> None:
    """Removes a lock file that is still held by ``host``, so that nobody locks a file that is about to vanish. A host
    that was cut off may find that another one of the run has taken the lock over."""
    if _is(fd, file) and _read(fd).get("host") == host:
        file.unlink(missing_ok=True)


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(fd: int, file: Path) -> bool:
    try:
        facts = file.stat()
    except FileNotFoundError:
        return False
    return (facts.st_dev, facts.st_ino) == (os.fstat(fd).st_dev, os.fstat(fd).st_ino)


def _read(fd: int) -> Owner:
    try:
        body = json.loads(os.pread(fd, _MAX_BYTES, 0) or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _write(fd: int, owner: Owner) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(owner).encode() + b"\n", 0)


def _same_run(path: str, holder: Owner, owner: Owner) -> str:
    if holder.get("run") == owner["run"]:
        return ""
    raise LockError(f"{path} is in use by {_name(holder)}; stop that run, or choose another model_dir")


def _note(former: Owner, owner: Owner) -> str:
    if not former or former.get("run") == owner["run"]:
        return ""
    return f"took over the stale lock of {_name(former)}, which has ended without removing it"


def _name(holder: Owner) -> str:
    if not holder:
        return "another run"
    return "run {} (host {}, pid {}, since {})".format(
        *(holder.get(key, "?") for key in ("run", "host", "pid", "since"))
    )
