"""Reads a folder: what in it is to be deployed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pathspec import GitIgnoreSpec

from launcher.deploy.ignoring import Ignoring, ignoring, matches, matching
from launcher.deploy.manifest import Entry, Manifest, manifest_of
from launcher.wire.errors import UsageError

MAX_DEPTH = 200
MAX_IGNORE_BYTES = 1024 * 1024
_RUN_FOLDER = {"events.jsonl", "plan.json"}
_SPECIAL = "it is no file, folder or link"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder as it was read. ``notes``: what is left out, and why; ``followed``: entries that are reached by a link
    that leads out and may."""

    path: Path
    manifest: Manifest
    notes: tuple[str, ...] = ()
    followed: frozenset[str] = frozenset()

    def open(self, entry: Entry) -> int:
        """A descriptor of a file in it. Raises OSError where a link has taken the file's place."""
        flags = os.O_RDONLY | os.O_CLOEXEC | (0 if entry.path in self.followed else os.O_NOFOLLOW)
        return os.open(os.path.join(os.fsencode(self.path), to_bytes(entry.path)), flags)


def read_folder(path: Path, exclude: Iterable[str] = (), follow: Iterable[str] = ()) -> Folder:
    """What of the folder is to be deployed: .gitignore files and ``exclude`` count; folders of runs are left out, and
    so are links that lead out of the folder, but for those that ``follow`` matches. Raises UsageError if it cannot be
    read."""
    if not path.is_dir():
        raise UsageError(f"sync.path: there is no folder {path}")
    try:
        ignored = ignoring(exclude)
    except ValueError as error:
        raise UsageError(f"sync.exclude: {error}") from error
    try:
        walk = _Walk(root=os.fsencode(path.resolve()), follow=matching(follow))
    except ValueError as error:
        raise UsageError(f"sync.follow: {error}") from error
    try:
        entries = list(walk.below("", ignored, 0))
    except OSError as error:
        raise UsageError(f"sync: cannot read {str(error.filename)[-200:]!r}: {error.strerror}") from error
    return Folder(
        path=path.resolve(),
        manifest=manifest_of(entries),
        notes=tuple(walk.notes),
        followed=frozenset(walk.followed),
    )


def to_bytes(path: str) -> bytes:
    """The name of a file, as the manifest has it, for the system."""
    return path.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, kw_only=True)
class _Walk:
    """One reading of the folder ``root``."""

    root: bytes
    follow: GitIgnoreSpec
    notes: list[str] = field(default_factory=list)
    followed: list[str] = field(default_factory=list)

    def below(self, base: str, ignored: Ignoring, depth: int) -> Iterator[Entry]:
        """The entries below ``base``, which is empty or ends with a slash."""
        if depth > MAX_DEPTH:
            raise UsageError(
                f"sync: {base[:60]}… has more than {MAX_DEPTH} folders, one in the other: name it in sync.exclude"
            )
        with os.scandir(os.path.join(self.root, to_bytes(base))) as scanned:
            items = sorted(scanned, key=lambda item: item.name)
        names = {item.name.decode("utf-8", "surrogateescape"): item for item in items}
        if base and names.keys() >= _RUN_FOLDER:
            return
        if ".gitignore" in names and names[".gitignore"].is_file(follow_symlinks=False):
            ignored = ignored.inside(base, _patterns_in(names[".gitignore"].path))
        empty = True
        for name, item in names.items():
            path = base + name
            if ignored.ignores(path, is_folder=item.is_dir(follow_symlinks=False)):
                continue
            for entry in self._entries(path, item, ignored, depth):
                empty = False
                yield entry
        if empty and base:
            yield Entry(base.rstrip("/"), "dir")

    def _entries(self, path: str, item: os.DirEntry[bytes], ignored: Ignoring, depth: int) -> Iterator[Entry]:
        """One thing in a folder; everything below it, if it is a folder itself."""
        if item.is_symlink():
            leads = os.readlink(item.path)
            if self._stays_inside(item.path, leads):
                yield Entry(path, "link", leads.decode("utf-8", "surrogateescape"))
                return
            if not self._may_follow(path):
                self._leave_out(path, f"it leads to {os.fsdecode(leads)}, outside of the folder (see sync.follow)")
                return
            self.followed.append(path)
        if item.is_dir():
            yield from self.below(f"{path}/", ignored, depth + 1)
        elif item.is_file():
            facts = item.stat()
            yield Entry(path, "exec" if facts.st_mode & stat.S_IXUSR else "file", *_content(item.path))
        else:
            self._leave_out(path, "it leads nowhere" if item.is_symlink() else _SPECIAL)

    def _may_follow(self, path: str) -> bool:
        """Whether the link itself is named: what matches a folder says nothing of the links in it."""
        folder = path.rpartition("/")[0]
        return matches(self.follow, path) and not (folder and matches(self.follow, folder))

    def _leave_out(self, path: str, reason: str) -> None:
        self.notes.append(f"sync: {path} is left out: {reason}")

    def _stays_inside(self, link: bytes, leads: bytes) -> bool:
        """Whether a link leads to somewhere in the folder, as it is written and as it is."""
        if leads.startswith(b"/"):
            return False
        written = os.path.normpath(os.path.join(os.path.dirname(link), leads))
        return all(path.startswith(self.root + b"/") for path in (written, os.path.realpath(link)))


def _patterns_in(path: bytes) -> str:
    with open(path, "rb") as file:
        text = file.read(MAX_IGNORE_BYTES + 1)
    if len(text) > MAX_IGNORE_BYTES:
        raise UsageError(f"sync: {os.fsdecode(path)} is larger than 1 MiB, too large for a .gitignore")
    return text.decode("utf-8", "surrogateescape")


def _content(path: bytes) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
            size += len(part)
    return digest.hexdigest(), size
