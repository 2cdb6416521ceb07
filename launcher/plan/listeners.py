"""Who is told of a run while it goes on: ``listeners: {NAME: WHERE}``.

``notify`` and ``mlflow`` are ours; others are installed as packages: an entry point of the group ``tflaunch.listeners``
names a subclass of ``launcher.api.listeners.listener.Listener``, and is called what a spec calls it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import MappingProxyType

from launcher.spec.texts import did_you_mean

GROUP = "tflaunch.listeners"
OURS: Mapping[str, str] = MappingProxyType(
    {"mlflow": "launcher.api.listeners.mlflow_runs:MlflowRuns", "notify": "launcher.api.listeners.notify:Notify"}
)
_NEEDS = MappingProxyType({"mlflow": "mlflow"})


class ListenerError(ValueError):
    """There is no listener of that name, or it lacks a package; the text says what to do."""


def known() -> Mapping[str, str]:
    """Where the class of each listener is, by the listener's name."""
    return {**{point.name: point.value for point in entry_points(group=GROUP)}, **OURS}


def check(name: str, where: str) -> None:
    """Raises ListenerError if a run could not have this listener, or not with what stands behind its name."""
    names = known()
    if name not in names:
        hint = did_you_mean(name, tuple(names)) or f"; known are {', '.join(sorted(names))}"
        raise ListenerError(f"unknown listener {name[:80]!r}{hint}")
    if name in _NEEDS and find_spec(_NEEDS[name]) is None:
        raise ListenerError(f"listener {name!r} needs the package {_NEEDS[name]}: pip install 'tflaunch[{name}]'")
    if name == "notify":
        _check_notify(where)


def _check_notify(where: str) -> None:
    if where.startswith(("http://", "https://")):
        if not where.partition("://")[2]:
            raise ListenerError(f"{where} names no host; write https://HOST/PATH")
        return
    try:
        words = shlex.split(where)
    except ValueError as error:
        raise ListenerError(f"{where[:80]!r} is no command: {str(error).lower()}; close the quotation") from error
    if not words:
        raise ListenerError("neither an address nor a command; write https://HOST/PATH, or a command")
