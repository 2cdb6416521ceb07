"""What earlier deployments have left on a host, and what of it may go: trees of code and environments that are not the
present ones, and that no process works in or has loaded from."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.agent.deploy import environments
from launcher.agent.deploy.store import Store

_ENVIRONMENT = re.compile(r"[0-9a-f]{16}")  # as environments.identity names them


def listed(to: str, digest: str, folder: str, files: Mapping[str, str], *, remove: bool) -> list[dict[str, Any]]:
    """All of it: ``kind`` (code, environment), ``name``, ``bytes``, ``age_s`` since it was last deployed (an
    environment: made), and ``state``: present, in use, old, removed. ``to`` and ``folder`` are where trees and
    environments are, empty to look at none; ``digest`` and ``files`` say which are the present ones."""
    found = []
    used = _Used()
    if to and os.path.isdir(os.path.expanduser(to)):
        store = Store(to)
        for name in store.trees():
            path = os.fsdecode(store.tree(name))
            state = "present" if name == digest else _state(path, used, remove=remove)
            found.append(_facts("code", path, path, state))
            if state == "removed":
                store.remove(name)
    if folder:
        present = environments.place(folder, files)
        for path in _environments(os.path.dirname(present)):
            state = "present" if path == present else _state(path, used, remove=remove)
            mark = os.path.join(path, environments.MARK)
            found.append(_facts("environment", path, mark if os.path.exists(mark) else path, state))
            if state == "removed" and not environments.remove(path):
                found[-1]["state"] = "in use"
    return found


def _state(path: str, used: _Used, *, remove: bool) -> str:
    if used.by_a_process(path):
        return "in use"
    return "removed" if remove else "old"


def _facts(kind: str, path: str, dated: str, state: str) -> dict[str, Any]:
    age_s = max(0.0, time.time() - os.lstat(dated).st_mtime)
    return {"kind": kind, "name": os.path.basename(path), "bytes": _bytes(path), "age_s": age_s, "state": state}


def _environments(folder: str) -> Iterator[str]:
    if os.path.isdir(folder):
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if _ENVIRONMENT.fullmatch(name) and os.path.exists(os.path.join(path, "pyvenv.cfg")):
                yield path


def _bytes(path: str) -> int:
    return sum(
        os.lstat(os.path.join(parent, name)).st_blocks * 512 for parent, _, names in os.walk(path) for name in names
    )


class _Used:
    """What processes of this user name in their command line, work in, or have loaded: read once."""

    def __init__(self) -> None:
        self._places: list[bytes] = []
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid():
                self._places += _places(f"/proc/{name}")

    def by_a_process(self, path: str) -> bool:
        within = os.fsencode(path) + b"/"
        return any(within in place for place in self._places)


def _places(process: str) -> Iterator[bytes]:
    try:
        yield os.readlink(os.fsencode(process) + b"/cwd") + b"/"
        for what in ("cmdline", "maps"):
            with open(f"{process}/{what}", "rb") as file:
                yield file.read()
    except OSError:  # it has gone, or belongs to somebody else, who cannot be in what only we may enter
        return
