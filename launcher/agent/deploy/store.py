"""Files by their content, and trees made of them.

Below one folder of the host: ``.objects/ab/abcd…-f`` is a file by its SHA-256 (``-x``: executable), and
``<digest>`` a tree, whose files are hard links to objects. A tree appears with one rename when all of it is there, and
is not touched afterwards: whoever works in it goes on in it whatever is deployed meanwhile. All names are bytes: a
host's locale must not change them. Every file gets the same time, so that one that was changed in place is found out.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

FILE_TIME_S = 1_577_836_800  # a file of ours that was not changed since has this one
KEEP_S = 30 * 86400
_CHUNK_BYTES = 1 << 20
_OBJECTS = b".objects"

Read = Callable[[int], bytes]


class DamagedError(Exception):
    """What arrived is not what was announced."""


class Entry(NamedTuple):
    """``kind``: file, exec, link or dir; ``what``: the content's SHA-256, or where a link leads."""

    path: str
    kind: str
    what: str
    size: int

    @property
    def is_file(self) -> bool:
        return self.kind in ("file", "exec")


def entries_of(rows: Iterable[Any]) -> list[Entry]:
    """Entries as they come over the wire; raises DamagedError for a path that leads out of the tree."""
    found = [Entry(*row) for row in rows]
    for entry in found:
        if entry.path.startswith("/") or ".." in entry.path.split("/") or not entry.path:
            raise DamagedError(f"{entry.path!r} is no path inside of a tree")
    return found


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class Store:
    """Objects and trees below ``folder``, which is made if need be; ``~`` is the user's home."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(os.path.expanduser(_name(folder)))
        os.makedirs(os.path.join(self.folder, _OBJECTS), mode=0o700, exist_ok=True)
        self._draft = os.path.join(self.folder, f".draft-{os.uname().nodename}-{os.getpid()}".encode())

    def tree(self, digest: str) -> bytes:
        """Where a tree is, or would be."""
        return os.path.join(self.folder, digest.encode())

    def trees(self) -> list[str]:
        """The trees that are there, by digest."""
        return sorted(os.fsdecode(name) for name in os.listdir(self.folder) if _is_ours(name) and name[:1] != b".")

    def remove(self, digest: str) -> None:
        """Removes a tree, and what is in no other one."""
        tree, own = self.tree(digest), set()
        for parent, _, names in os.walk(tree):
            own |= {os.lstat(os.path.join(parent, name)).st_ino for name in names}
        shutil.rmtree(tree)
        for parent, _, names in os.walk(os.path.join(self.folder, _OBJECTS)):
            for path in (os.path.join(parent, name) for name in names):
                facts = os.lstat(path)
                if facts.st_nlink == 1 and facts.st_ino in own:
                    _unlink(path)

    def has_tree(self, digest: str, entries: Iterable[Entry]) -> bool:
        """Whether the tree is there as it was made; files that tasks have put into it do not matter."""
        tree = self.tree(digest)
        try:
            os.utime(tree)
        except OSError:
            return False
        return all(_is_as_made(os.path.join(tree, _name(entry.path)), entry) for entry in entries)

    def missing(self, entries: Iterable[Entry]) -> list[Entry]:
        """One entry for each content that is not there; a damaged one is removed."""
        wanted = {self._object(entry): entry for entry in entries if entry.is_file}
        absent = []
        for path, entry in wanted.items():
            if not _is_as_made(path, entry):
                _unlink(path)
                absent.append(entry)
        return absent

    def take(self, entry: Entry, read: Read) -> None:
        """Stores a file whose bytes ``read`` gives."""
        path = self._object(entry)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        digest, left = hashlib.sha256(), entry.size
        try:
            with open(self._draft, "wb") as file:
                while left:
                    part = read(min(left, _CHUNK_BYTES))
                    if not part:
                        raise DamagedError("the connection ended while files were being sent")
                    digest.update(part)
                    file.write(part)
                    left -= len(part)
            if digest.hexdigest() != entry.what:
                raise DamagedError(f"{entry.path} changed while it was being sent; deploy again")
            os.chmod(self._draft, 0o755 if entry.kind == "exec" else 0o644)
            os.utime(self._draft, (FILE_TIME_S, FILE_TIME_S))
            os.replace(self._draft, path)
        finally:
            _unlink(self._draft)

    def make_tree(self, digest: str, entries: Sequence[Entry]) -> None:
        """Makes the tree of objects that are there. Another deploy may be making the same."""
        draft, tree = self._draft + b".tree", self.tree(digest)
        shutil.rmtree(draft, ignore_errors=True)
        try:
            os.mkdir(draft, 0o700)  # a file that its owner alone may read stays so, whatever is above it
            for entry in entries:
                self._put(os.path.join(draft, _name(entry.path)), entry)
            if self.has_tree(digest, entries):  # another one was faster
                return
            if os.path.lexists(tree):  # damaged: it stays for those who work in it, until it is old
                os.rename(tree, tree + f".old-{time.time_ns()}".encode())
            os.rename(draft, tree)
        except OSError:
            if not self.has_tree(digest, entries):
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _put(self, path: bytes, entry: Entry) -> None:
        os.makedirs(path if entry.kind == "dir" else os.path.dirname(path), exist_ok=True)
        if entry.kind == "link":
            os.symlink(_name(entry.what), path)
        elif entry.is_file:
            _link(self._object(entry), path)

    def _object(self, entry: Entry) -> bytes:
        name = f"{entry.what}-{entry.kind[0] if entry.kind == 'file' else 'x'}".encode()
        return os.path.join(self.folder, _OBJECTS, name[:2], name)

    def forget_old(self, now_s: float) -> None:
        """Removes trees that nothing has used for long and nobody works in, then the objects of no tree."""
        busy = _working_folders()
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if name == _OBJECTS or not _is_old(path, now_s) or not _is_ours(name):
                continue
            if not any(folder == path or folder.startswith(path + b"/") for folder in busy):
                shutil.rmtree(path, ignore_errors=True)
        for root, _, names in os.walk(os.path.join(self.folder, _OBJECTS)):
            for name in names:
                path = os.path.join(root, name)
                facts = os.lstat(path)
                if facts.st_nlink == 1 and facts.st_ctime < now_s - KEEP_S:
                    _unlink(path)


def _is_as_made(path: bytes, entry: Entry) -> bool:
    try:
        facts = os.lstat(path)
        if entry.kind == "link":
            return stat.S_ISLNK(facts.st_mode) and os.readlink(path) == _name(entry.what)
    except OSError:
        return False
    if entry.kind == "dir":
        return stat.S_ISDIR(facts.st_mode)
    return stat.S_ISREG(facts.st_mode) and (facts.st_size, int(facts.st_mtime)) == (entry.size, FILE_TIME_S)


def _link(source: bytes, path: bytes) -> None:
    try:
        os.link(source, path)
    except OSError:  # a file system without hard links, or too many of this one
        shutil.copy2(source, path)


def _unlink(path: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _is_ours(name: bytes) -> bool:
    return name.startswith(b".draft-") or (len(name) >= 32 and set(name[:32]) <= set(b"0123456789abcdef"))


def _is_old(path: bytes, now_s: float) -> bool:
    try:
        return os.lstat(path).st_mtime < now_s - KEEP_S
    except OSError:
        return False


def _working_folders() -> set[bytes]:
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.add(os.readlink(f"/proc/{name}/cwd".encode()))
            except OSError:
                continue
    return found
