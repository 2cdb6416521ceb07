"""Reads a folder: what in it is to be deployed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.deploy.ignoring import Ignoring, ignoring
from launcher.deploy.manifest import Entry, Manifest, manifest_of
from launcher.wire.errors import UsageError

_RUN_FOLDER = {"events.jsonl", "plan.json"}


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder as it was read. ``notes``: what cannot be deployed, and why."""

    path: Path
    manifest: Manifest
    notes: tuple[str, ...] = ()

    def open(self, entry: Entry) -> int:
        """A descriptor of a file in it."""
        return os.open(os.path.join(os.fsencode(self.path), to_bytes(entry.path)), os.O_RDONLY | os.O_CLOEXEC)


def read_folder(path: Path, exclude: Iterable[str] = ()) -> Folder:
    """What of the folder is to be deployed: .gitignore files and ``exclude`` count; folders of runs are left out.
    Raises UsageError if it cannot be read."""
    if not path.is_dir():
        raise UsageError(f"sync.path: there is no folder {path}")
    notes: list[str] = []
    try:
        entries = list(_walk(os.fsencode(path.resolve()), "", ignoring(exclude), notes))
    except OSError as error:
        raise UsageError(f"sync: cannot read {error.filename!r}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"sync.exclude: {error}") from error
    return Folder(path=path.resolve(), manifest=manifest_of(entries), notes=tuple(notes))


def to_bytes(path: str) -> bytes:
    """The name of a file, as the manifest has it, for the system."""
    return path.encode("utf-8", "surrogateescape")


def _walk(root: bytes, base: str, ignored: Ignoring, notes: list[str]) -> Iterator[Entry]:
    """The entries below ``base``, which is empty or ends with a slash."""
    with os.scandir(os.path.join(root, to_bytes(base))) as scanned:
        items = sorted(scanned, key=lambda item: item.name)
    names = {item.name.decode("utf-8", "surrogateescape"): item for item in items}
    if base and names.keys() >= _RUN_FOLDER:
        return
    if ".gitignore" in names and names[".gitignore"].is_file():
        ignored = ignored.inside(base, Path(os.fsdecode(names[".gitignore"].path)).read_text("utf-8", "replace"))
    empty = True
    for name, item in names.items():
        path = base + name
        is_folder = item.is_dir(follow_symlinks=False)
        if ignored.ignores(path, is_folder=is_folder):
            continue
        found = list(_walk(root, f"{path}/", ignored, notes) if is_folder else _entry(root, path, item, notes))
        empty = empty and not found
        yield from found
    if empty and base:
        yield Entry(base.rstrip("/"), "dir")


def _entry(root: bytes, path: str, item: os.DirEntry[bytes], notes: list[str]) -> Iterator[Entry]:
    if item.is_symlink():
        leads = os.readlink(item.path)
        if _stays_inside(root, item.path, leads):
            yield Entry(path, "link", leads.decode("utf-8", "surrogateescape"))
            return
        if not item.is_file():
            notes.append(f"sync: {path} is left out: it leads to {os.fsdecode(leads)}, outside of the folder")
            return
    if item.is_file():
        facts = item.stat()
        yield Entry(path, "exec" if facts.st_mode & stat.S_IXUSR else "file", *_content(item.path))


def _stays_inside(root: bytes, link: bytes, leads: bytes) -> bool:
    target = os.path.normpath(os.path.join(os.path.dirname(link), leads))
    return not leads.startswith(b"/") and target.startswith(root + b"/")


def _content(path: bytes) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
            size += len(part)
    return digest.hexdigest(), size
