"""What a folder holds, as one value. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_DIGEST_LETTERS = 32


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """``path`` is relative, with surrogates for bytes that are no UTF-8; ``kind``: file, exec (a file that may be
    executed), link or dir (an empty one); ``what``: a file's SHA-256, or where a link leads."""

    path: str
    kind: str
    what: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The entries in the order of their paths, and one name for all of them."""

    entries: tuple[Entry, ...]
    digest: str

    @property
    def rows(self) -> list[list[object]]:
        """As the host's program takes them (``launcher.agent.deploy.store.Entry``)."""
        return [[entry.path, entry.kind, entry.what, entry.size_bytes] for entry in self.entries]


def manifest_of(entries: Iterable[Entry]) -> Manifest:
    """The manifest of these entries. Its digest depends on nothing else: no times, owners or the folder's own name."""
    ordered = tuple(sorted(entries))
    text = json.dumps([[entry.path, entry.kind, entry.what, entry.size_bytes] for entry in ordered])
    return Manifest(entries=ordered, digest=hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LETTERS])


def chosen(manifest: Manifest, indices: Sequence[int]) -> tuple[Entry, ...]:
    """The files that a host asks for; raises ValueError if it asks for what is no file of this manifest."""
    found = tuple(manifest.entries[index] for index in indices if 0 <= index < len(manifest.entries))
    if len(found) != len(indices) or any(entry.kind not in ("file", "exec") for entry in found):
        raise ValueError("the host asks for files that were not announced")
    return found
