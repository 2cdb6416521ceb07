"""The agent as it travels to hosts: its files in one piece, named after what is in them."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from launcher.agent.bootstrap import SIZE_DIGITS

PACKAGE = Path(__file__).parents[1]
ENTRIES = ("__init__.py", "wire", "agent", "estimator")
_DIGEST_LETTERS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """``bootstrap`` is the program that takes it in (see ``launcher.agent.bootstrap``); ``data`` compressed JSON, the
    text of each file by its path (of a library: a letter for each byte); ``digest`` the beginning of its SHA-256."""

    bootstrap: str
    data: bytes
    digest: str

    def beginning(self, program: str, options: Mapping[str, object]) -> bytes:
        """What a host is sent first: the program that takes all this in, and what it is to do."""
        request = {"digest": self.digest, "size": len(self.data), "program": program, "options": options}
        text = json.dumps(request).encode()
        return self.bootstrap.encode() + f"{len(text):0{SIZE_DIGITS}d}".encode() + text


@lru_cache(maxsize=1)
def agent_bundle() -> Bundle:
    """Everything that a host needs: the agent, and what tasks use of ours inside."""
    paths = [path for entry in ENTRIES for path in _files(PACKAGE / entry)]
    texts = {f"launcher/{path.relative_to(PACKAGE).as_posix()}": _text(path) for path in paths}
    data = zlib.compress(json.dumps(texts, sort_keys=True).encode(), 6)
    return Bundle(
        bootstrap=texts["launcher/agent/bootstrap.py"],
        data=data,
        digest=hashlib.sha256(data).hexdigest()[:_DIGEST_LETTERS],
    )


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted([*path.rglob("*.py"), *path.rglob("*.so")])


def _text(path: Path) -> str:
    return path.read_bytes().decode("latin-1" if path.suffix == ".so" else "utf-8")
