"""Which engines there are (where hosts come from), and the keys of each: ``engine: {NAME: {…}}``.

``listed`` stands for the hosts of the spec, or this machine; ``slurm`` comes along. Others are installed as packages:
an entry point of the group ``tflaunch.engines`` names a subclass of ``launcher.hosts.engine.Engine``, and is called
what the spec calls it. None of them is looked for unless a spec names one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from launcher.spec.hosts import PlannedHost
from launcher.spec.source import Path
from launcher.spec.texts import did_you_mean
from launcher.spec.types import Section

GROUP = "tflaunch.engines"
LISTED = "listed"
OURS = {"slurm": EntryPoint(name="slurm", value="launcher.hosts.slurm.engine:Slurm", group=GROUP)}


class EngineType(Protocol):
    """What a spec needs of an engine: ``keys`` is the type that checks its keys."""

    keys: type[Section]

    sites: Callable[[Section], tuple[PlannedHost, ...]]
    """The hosts that a run with these keys is planned on; one without an address gets it when it is granted."""


class EngineError(ValueError):
    """There is no engine of that name, or it cannot be loaded; the text says what to write instead."""


class NoKeys(Section):
    """Keys of an engine that has none."""


def known() -> tuple[str, ...]:
    """The names of all engines."""
    return (LISTED, *sorted(name for name in _installed() if name != LISTED))


def _installed() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)} | OURS


@lru_cache
def engine_type(name: str) -> EngineType:
    """The engine of that name, other than ``listed``. Raises EngineError."""
    point = _installed().get(name)
    if point is None:
        hint = did_you_mean(name, known()) or f"; known are {', '.join(known())}"
        raise EngineError(f"unknown engine {name[:80]!r}{hint}")
    try:
        found: EngineType = point.load()
    except (Exception, SystemExit) as error:
        raise EngineError(f"engine {name!r} ({point.value}) cannot be loaded: {error}") from error
    keys = getattr(found, "keys", None)
    if not isinstance(found, type) or not isinstance(keys, type) or not issubclass(keys, Section):
        raise EngineError(f"engine {name!r} ({point.value}) is no subclass of launcher.hosts.engine.Engine with keys")
    return found


def keys_of(name: str) -> type[Section]:
    """The type that checks the keys of an engine. Raises EngineError."""
    return NoKeys if name == LISTED else engine_type(name).keys


def chosen(engine: object) -> tuple[str, object]:
    """The engine that a spec names, and what it says of it."""
    if not isinstance(engine, Mapping) or len(engine) != 1:
        return LISTED, {}
    ((name, values),) = engine.items()
    return str(name), {} if values is None else values


def sites_of(engine: object) -> tuple[PlannedHost, ...] | None:
    """The hosts that the spec's engine gives; None where that is for ``hosts`` to say. Raises EngineError, or
    pydantic.ValidationError."""
    name, values = chosen(engine)
    if name == LISTED:
        return None
    kind = engine_type(name)
    keys = kind.keys.model_validate(values)
    try:
        sites = kind.sites(keys)
    except Exception as error:
        raise EngineError(f"engine {name!r} gives no hosts: {type(error).__name__}: {error}") from error
    if not isinstance(sites, tuple) or not sites or not all(isinstance(site, PlannedHost) for site in sites):
        raise EngineError(f"engine {name!r} gives no hosts: its sites() gives a tuple of PlannedHost, one or more")
    twice = [host for host, count in Counter(site.name for site in sites).items() if count > 1]
    if twice:
        raise EngineError(f"engine {name!r} gives several hosts one name: {', '.join(twice[:8])}")
    return sites


def section_at(path: Path) -> type[Section] | None:
    """The section of an engine's keys that a path leads to, None if to no such section."""
    if len(path) != 2 or path[0] != "engine":
        return None
    try:
        return keys_of(str(path[1]))
    except EngineError:
        return None
