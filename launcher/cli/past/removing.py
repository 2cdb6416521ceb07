"""tflaunch rm: run folders, and nothing else."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher.agent.host.lock import LOCK_FILE
from launcher.agent.host.sweep import members
from launcher.cli.looking import find, tidy_up
from launcher.record import reading, runs
from launcher.record.files.claim import claim
from launcher.views.spans import memory
from launcher.views.terminal import complain, say
from launcher.wire.errors import UsageError


def remove(runs_dir: Path, names: Sequence[str], keep: int | None) -> int:
    """Removes these runs, or all in ``runs_dir`` that are over but the newest ``keep``. Gives 1 if one that was
    named is kept; it is said why."""
    if bool(names) == (keep is not None):
        raise UsageError("name runs, or how many of the newest stay: tflaunch rm RUN…, or tflaunch rm --keep 20")
    tidy_up(kill=False)
    code = 0
    for folder in _older(runs_dir, keep) if keep is not None else _named(runs_dir, names):
        if why := why_not(folder):
            complain(f"{folder.run} is kept: {why}")
            code = 1 if names else code
            continue
        said = _remove(folder)
        code = code if said else 1
        say(said or f"{folder.run} is kept: another process has it")
    return code


def _named(runs_dir: Path, names: Sequence[str]) -> list[runs.RunFolder]:
    """All of them are found before any is removed."""
    return [find(runs_dir, name) for name in dict.fromkeys(names)]


def _older(runs_dir: Path, keep: int) -> list[runs.RunFolder]:
    """Live ones and links are not counted."""
    here = [folder for folder in runs.list_runs(runs_dir) if not folder.path.is_symlink()]
    return [folder for folder in here if not runs.is_live(folder) and not runs.elsewhere(folder)][keep:]


def why_not(folder: runs.RunFolder) -> str:
    """Why a run is not removed; empty if it may be."""
    path = folder.path
    if path.is_symlink():
        return f"{path} is a link to {path.resolve()}; links are not followed"
    if runs.is_live(folder):
        return f"it is live; end it with: tflaunch stop {folder.run}"
    if away := runs.elsewhere(folder):
        return f"it is live on {away}, seen from here only by its files; remove it there"
    started = reading.load_view(folder).started
    if started is None:
        return "it is no run that tflaunch has begun; remove the folder yourself"
    if members(started.run_id):
        return f"something of it still runs here; end that with: tflaunch stop {folder.run}"
    if Path.cwd() == path.resolve() or path.resolve() in Path.cwd().parents:
        return "you are in its folder"
    locked = next((lock.parent for lock in _locks(path) if _is_held(lock)), None)
    return f"another run trains in {locked}" if locked is not None else ""


def _locks(folder: Path) -> Iterator[Path]:
    """Lock files of model_dirs in it. Links are not followed."""
    for at, _, files in os.walk(folder):
        if LOCK_FILE in files:
            yield Path(at) / LOCK_FILE


def _is_held(lock: Path) -> bool:
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _remove(folder: runs.RunFolder) -> str:
    """Removes the folder; what shows that it is a run goes last, so that one that was left half-way is found again.
    Gives what was removed, empty if another process has taken the folder meanwhile. Raises OSError."""
    fd = claim(folder.path)
    if fd is None:
        return ""
    try:
        size = sum(_size(Path(at) / name) for at, _, files in os.walk(folder.path) for name in files)
        last = {folder.events.name, folder.plan.name}
        for entry in sorted(os.scandir(folder.path), key=lambda entry: (entry.name in last, entry.name)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()
        folder.path.rmdir()
    finally:
        os.close(fd)
    return f"removed {folder.run} ({memory(size / 2**20)})"


def _size(file: Path) -> int:
    try:
        return file.lstat().st_blocks * 512
    except OSError:
        return 0
