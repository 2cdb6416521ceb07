"""Why a live run cannot be told anything, as far as its files and the kernel say."""

from __future__ import annotations

from pathlib import Path

from launcher.record.processes import state_of
from launcher.record.runs import RunFolder, is_live, read_supervisor
from launcher.wire.private.folder import CONTROL_SOCKET

_STOPPED, _TRACED = "T", "t"  # of proc(5)


def unreachable(folder: RunFolder) -> str:
    """Why a live run cannot be told anything; empty if it can, or is not live."""
    record = read_supervisor(folder)
    if record is None or not is_live(folder):
        return ""
    is_old = Path(record.socket).name != CONTROL_SOCKET
    if not is_old and Path(record.socket).exists():
        return stopped(folder)
    why = "an older tflaunch runs it" if is_old else f"its socket {record.socket} is gone (what cleans /tmp here?)"
    return f"{why}, so that it cannot be told anything; to end it with a last checkpoint: kill -TERM {record.pid}"


def stopped(folder: RunFolder) -> str:
    """That the supervisor of a live run is alive and does nothing, and what makes it go on; empty if it is not so."""
    record = read_supervisor(folder)
    if record is None or not is_live(folder) or (state := state_of(record.pid)) not in (_STOPPED, _TRACED):
        return ""
    if state == _TRACED:
        return f"its supervisor (process {record.pid}) is held by a debugger; it answers when that lets it go on"
    return f"its supervisor (process {record.pid}) is stopped; have it go on with: kill -CONT {record.pid}"


def mute(folder: RunFolder, waited_s: float) -> str:
    """That a supervisor which is not stopped has not answered for so long, and what can be done."""
    record = read_supervisor(folder)
    process = "" if record is None else f" (process {record.pid})"
    kill = "" if record is None else f"; if it stays so: kill -KILL {record.pid}, then tflaunch resume {folder.run}"
    return f"its supervisor{process} lives, but has not answered for {waited_s:.0f} s: try again{kill}"
