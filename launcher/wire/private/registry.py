"""Makes private folders and finds them again, under random names in a place that was checked from ``/`` down.

A name that somebody else holds costs nothing: another is taken. Only a place that others could meddle with is refused.
"""

from __future__ import annotations

import os
import stat
import zlib

from launcher.wire.private import peers
from launcher.wire.private.folder import Folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = "/tmp"  # local, and there for longer than a login
MIN_FREE_BYTES = 1024 * 1024
_MAX_TRIES = 100
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderError(Exception):
    """No folder is to be had; the text says why, through whom, and what to do."""


def make(name: str, run: str, place: str = PLACE) -> Folder | None:
    """A new folder of that name for a process of the run, which lives in it from now on; None if somebody lives in one
    of that name already. Raises FolderError."""
    with _Place(place) as parent:
        made = _make(parent, _stem(name))
        _check_room(made)
        made.describe(run)
        # Whoever comes second sees the first; of two that come at once, neither may stay.
        for other in parent.folders(_stem(name)):
            if other.path != made.path and other.lived_in():
                made.remove()
                made.close()
                return None
    return made


def every(name: str, place: str = PLACE) -> Iterator[Folder]:
    """The folders of that name: none or one, or more if some are left over. Raises FolderError."""
    with _Place(place) as parent:
        yield from parent.folders(_stem(name))


def of_run(run: str, place: str = PLACE) -> Iterator[Folder]:
    """The folders that were made for this run by processes that this one can see. Raises FolderError."""
    with _Place(place) as parent:
        yield from (folder for folder in parent.folders(_own_stem()) if folder.run() == run)


def mine(place: str = PLACE) -> Iterator[Folder]:
    """All of this user's. Raises FolderError."""
    with _Place(place) as parent:
        yield from parent.folders(_own_stem())


def left_over(place: str = PLACE) -> Iterator[Folder]:
    """The folders of this user's in which nobody lives any more. Raises FolderError."""
    with _Place(place) as parent:
        for folder in parent.folders(_own_stem()):
            if folder.is_of_this_machine() and not folder.lived_in():
                yield folder


def at(path: str) -> Folder | None:
    """The folder at that path; None if it is none that was made here for this user. Raises FolderError."""
    place, _, name = path.rpartition("/")
    with _Place(place) as parent:
        return Folder.open(parent.fd, parent.path, name) if name.startswith(_own_stem()) else None


def _own_stem() -> str:
    return f"tflaunch-{os.getuid()}-"


def _stem(name: str) -> str:
    """What the names of such folders begin with: short enough for sockets, and something that people recognise."""
    readable = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in name)
    return f"{_own_stem()}{readable[-40:]}-{zlib.crc32(name.encode('utf-8', 'surrogateescape')):08x}-"


def _make(parent: _Place, stem: str) -> Folder:
    trouble = "every name is taken"
    for _ in range(_MAX_TRIES):
        name = f"{stem}{os.urandom(4).hex()}"
        try:
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        except FileExistsError:
            continue
        except OSError as error:
            trouble = str(error.strerror)
            break
        made = Folder.open(parent.fd, parent.path, name)
        if made is not None and made.move_in():
            return made
        if made is not None:  # it was taken for left over
            made.close()
    raise FolderError(f"{parent.path}: no folder can be made there ({trouble}); let this user write there")


def _check_room(made: Folder) -> None:
    facts = os.statvfs(made.here)
    free = facts.f_bavail * facts.f_frsize
    if free < MIN_FREE_BYTES and facts.f_blocks:  # some file systems do not count
        made.remove()
        raise FolderError(f"{made.path}: the disk is full ({free // 1024} KiB left); make room for the output of tasks")


class _Place:
    """The folder in which private ones are made, open. Raises FolderError if anybody but root and this user could put
    something else in the place of what is made there."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)  # and from here on no links
        self.fd = os.open("/", _OPEN)
        shown = ""
        try:
            owners = {0, os.getuid(), os.fstat(self.fd).st_uid}  # whoever owns / may do anything as it is
            for part in ["", *self.path.split("/")]:
                if part:
                    shown, above = f"{shown}/{part}", self.fd
                    self.fd = os.open(part, _OPEN, dir_fd=above)
                    os.close(above)
                _check_trusted(shown or "/", os.fstat(self.fd), owners)
        except OSError as error:
            os.close(self.fd)
            raise FolderError(f"{shown}: {error.strerror}; tflaunch needs a folder for its sockets there") from error
        except FolderError:
            os.close(self.fd)
            raise

    def __enter__(self) -> _Place:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def folders(self, stem: str) -> Iterator[Folder]:
        """Those of this user's whose names begin so, one after the other; each is closed when the next one is asked
        for."""
        for name in os.listdir(self.fd):  # noqa: PTH208 - pathlib knows no descriptors
            folder = Folder.open(self.fd, self.path, name) if name.startswith(stem) else None
            if folder is not None:
                try:
                    yield folder
                finally:
                    folder.close()


def _check_trusted(shown: str, facts: os.stat_result, owners: set[int]) -> None:
    if facts.st_uid not in owners:
        raise FolderError(
            f"{shown} belongs to {peers.user(facts.st_uid)}, who could replace what is made in it; it must be root's"
        )
    if facts.st_mode & 0o022 and not facts.st_mode & stat.S_ISVTX:
        raise FolderError(
            f"{shown} of {peers.user(facts.st_uid)} has mode {stat.S_IMODE(facts.st_mode):04o}: others could replace "
            "what is made in it; set the sticky bit (chmod +t)"
        )
