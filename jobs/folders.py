"""Folders that appear whole or not at all, and the user's cache folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import JobError

_MARK = "schema.json"
_MADE_HERE = frozenset({_MARK, "train", "eval", "truth.json", "eval-truth.npy"})


def cache_folder() -> Path:
    """Where this user's derived data lives: ``$XDG_CACHE_HOME/tflaunch``, by default ``~/.cache/tflaunch``.

    https://specifications.freedesktop.org/basedir-spec/latest/ says to ignore a relative path in the variable.
    """
    configured = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(configured) if configured.startswith("/") else Path.home() / ".cache"
    return base / "tflaunch"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the only lock on ``folder`` (which need not exist), waiting for another process that has it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_replaceable(folder: Path, sources: Sequence[Path] = ()) -> None:
    """Raises JobError where replacing ``folder`` would take away more than a data folder that was made by a job.

    Replacing removes everything below: not what is to be read, not the folder one is in, nor files of somebody else.
    """
    if not folder.is_dir():
        raise JobError(f"{folder} is no folder, and --force replaces folders only; name another --out")
    real = folder.resolve()
    inside = [path for path in (*sources, Path.cwd()) if real in (path.resolve(), *path.resolve().parents)]
    if inside:
        raise JobError(f"--force would remove {inside[0]}, which is in {folder}; name another --out")
    found = {path.name for path in folder.iterdir()}
    others = sorted(found - _MADE_HERE) or ([] if _MARK in found else sorted(found))
    if others:
        raise JobError(
            f"--force would remove {', '.join(others[:3])} in {folder}, which is no data folder of this job; name "
            "another --out, or remove it yourself"
        )


@contextmanager
def replace_whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which becomes ``folder`` at the end, in place of what was there.

    On an exception, or a kill, ``folder`` stays as it was. Call it while the folder is :func:`locked`: what a killed
    predecessor left beside it is removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left_over in folder.parent.glob(f".{folder.name}.unfinished-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    workspace = Path(tempfile.mkdtemp(prefix=f".{folder.name}.unfinished-", dir=folder.parent))
    try:
        unfinished = workspace / "new"
        unfinished.mkdir()
        yield unfinished
        if folder.exists():
            folder.rename(workspace / "old")
        unfinished.rename(folder)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
