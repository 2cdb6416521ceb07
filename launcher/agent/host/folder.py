"""The run's folder on a host: who may see it, what its sockets are called, and its end."""

from __future__ import annotations

import os
import socket
import stat
import zlib
from collections.abc import Callable
from pathlib import Path

MAX_SOCKET_PATH_BYTES = 107  # sun_path of unix(7), less its final NUL
AGENT_SOCKET = "agent.sock"
TASK_SOCKET = "task.sock"
MIN_FREE_BYTES = 1024 * 1024
KEEPER_LOCK = "keeper.lock"
AGENT_LOG = "agent.log"


class FolderError(Exception):
    """The folder cannot be used; the text says why and what to do."""


def runtime_folder(run: str, *, base: str = "/tmp", uid: int | str | None = None) -> str:
    """The folder of that run on this host: short enough for sockets, and with a name that people recognise."""
    readable = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in run)
    owner = os.getuid() if uid is None else uid
    return f"{base}/tflaunch-{owner}/{readable[-40:]}-{zlib.crc32(run.encode('utf-8', 'surrogateescape')):08x}"


def make_private(folder: Path) -> None:
    """Makes the folder and its parent with mode 0700; raises FolderError if somebody else could write to either."""
    if len(os.fsencode(folder / AGENT_SOCKET)) > MAX_SOCKET_PATH_BYTES:
        raise FolderError(f"{folder}: too long for a unix socket; choose a folder with a shorter path")
    for path in (folder.parent, folder):
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise FolderError(f"{path}: {error.strerror}; choose a folder that you may write to") from error
    _check_private(folder)
    _check_room(folder)


def _check_private(folder: Path) -> None:
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise FolderError(f"{folder}: not a folder of yours with mode 0700; remove it")


def _check_room(folder: Path) -> None:
    facts = os.statvfs(folder)
    free = facts.f_bavail * facts.f_frsize
    if free < MIN_FREE_BYTES and facts.f_blocks:  # some file systems do not count
        raise FolderError(f"{folder}: the disk is full ({free // 1024} KiB left); make room for the output of tasks")


def listen(path: Path) -> socket.socket:
    """A listening unix socket of mode 0600 at ``path``, replacing what a dead predecessor left there."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o177)  # for a moment only: tasks get the user's
    try:
        server.bind(str(path))
    finally:
        os.umask(umask)
    server.listen(128)
    server.setblocking(False)
    return server


def remove(folder: Path) -> None:
    """Removes the folder and all that is in it, as far as possible."""
    # Not shutil, whose import takes every host longer than the rest of its end.
    for here, folders, files in os.walk(folder, topdown=False):
        for name in files:
            _unless_gone(os.unlink, f"{here}/{name}")
        for name in folders:
            path = f"{here}/{name}"
            _unless_gone(os.unlink if os.path.islink(path) else os.rmdir, path)  # noqa: PTH114
    _unless_gone(os.rmdir, str(folder))


def _unless_gone(act: Callable[[str], None], path: str) -> None:
    try:
        act(path)
    except OSError:
        return
