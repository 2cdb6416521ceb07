"""The environment that a task gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher.agent.ports.ports import REUSE_VARIABLE
from launcher.private.folder import TASK_SOCKET, Folder
from launcher.wire import protocol


def changed(base: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """``base`` with ``changes`` on top; None unsets."""
    merged = {**base, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def at_home(path: str, base: Mapping[str, str]) -> str:
    """``~`` and ``~/…`` as a path of this host."""
    home = base.get("HOME") or str(Path.home())
    return f"{home}{path[1:]}" if path == "~" or path.startswith("~/") else path


def of_task(base: Mapping[str, str], start: protocol.Start, home: Folder) -> dict[str, str]:
    """The complete environment of an attempt: the agent's, the plan's, and what says who the task is."""
    own = {
        protocol.TASK_VARIABLE: start.task,
        protocol.ATTEMPT_VARIABLE: str(start.attempt),
        protocol.TASK_SOCKET_VARIABLE: f"{home.path}/{TASK_SOCKET}",
        REUSE_VARIABLE: "1",  # its port is held, so that its server could not bind otherwise
    }
    return {**changed(base, start.env), **own}
