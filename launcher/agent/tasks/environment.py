"""The environment that a task gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher.agent.ports.reserving import REUSE_VARIABLE
from launcher.wire import protocol
from launcher.wire.private.folder import TASK_SOCKET, Folder

LIBRARY_VARIABLE = "TFLAUNCH_GUARD_LIBRARY"  # in the agent's environment alone
_PRELOAD_VARIABLE = "LD_PRELOAD"
_GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"
_JOB_VARIABLE = "SLURM_JOB_ID"
_HOLDER_VARIABLE = "TFLAUNCH_HOLDER"  # of a folder that is trained in; fence.c


def changed(base: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """``base`` with ``changes`` on top; None unsets. A library that guards ports is loaded behind the user's own."""
    merged = {**base, **changes}
    env = {name: value for name, value in merged.items() if value is not None}
    if library := env.pop(LIBRARY_VARIABLE, ""):
        others = env.get(_PRELOAD_VARIABLE, "").replace(":", " ").split()
        name = library.rpartition("/")[2]  # another one may come from a run that this run is a task of
        env[_PRELOAD_VARIABLE] = ":".join([*(item for item in others if item.rpartition("/")[2] != name), library])
    return env


def at_home(path: str, base: Mapping[str, str]) -> str:
    """``~`` and ``~/…`` as a path of this host."""
    home = base.get("HOME") or str(Path.home())
    return f"{home}{path[1:]}" if path == "~" or path.startswith("~/") else path


def run_of(base: Mapping[str, str], start: protocol.Start) -> str:
    """The run's name."""
    return start.env.get(protocol.RUN_VARIABLE) or base.get(protocol.RUN_VARIABLE, "")


def of_task(base: Mapping[str, str], start: protocol.Start, home: Folder) -> dict[str, str]:
    """The complete environment of an attempt: the agent's, the plan's, and what says who the task is."""
    own = {
        protocol.TASK_VARIABLE: start.task,
        protocol.ATTEMPT_VARIABLE: str(start.attempt),
        protocol.TASK_SOCKET_VARIABLE: f"{home.path}/{TASK_SOCKET}",
        _HOLDER_VARIABLE: f"{run_of(base, start)} {start.generation}",
        REUSE_VARIABLE: "1",  # its port is held, so that its server could not bind otherwise
    }
    return {**changed(base, start.env), **own, **_granted_gpus(base, start.env)}


def _granted_gpus(base: Mapping[str, str], wanted: Mapping[str, str | None]) -> dict[str, str]:
    """A plan counts a host's GPUs from 0 on; of a Slurm job these are the ones that it was granted on this node."""
    granted = [gpu for gpu in base.get(_GPUS_VARIABLE, "").split(",") if gpu and base.get(_JOB_VARIABLE)]
    numbers = (wanted.get(_GPUS_VARIABLE) or "").split(",")
    if not all(number.isdecimal() and int(number) < len(granted) for number in numbers):
        return {}
    return {_GPUS_VARIABLE: ",".join(granted[int(number)] for number in numbers)}
