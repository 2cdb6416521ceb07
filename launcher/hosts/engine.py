"""Where hosts come from. An *engine* is asked for hosts and gives them, at once or in its own time; it may lose one.

Another engine than ``listed`` is a package of its own, with an entry point of the group ``tflaunch.engines`` that names
a subclass of ``Engine``; the entry point's name is what a spec calls it: ``engine: {NAME: {…}}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from launcher.hosts.reach import Reach
from launcher.plan.model import PlannedHost
from launcher.spec.types import Section
from launcher.wire.roles import Role


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What a run needs of a host. ``host``: as it was planned; ``roles``: of the tasks that are to run there; ``gpus``,
    ``cores`` and ``memory_mib``: at least, 0 for any; ``avoid``: addresses of hosts that are not wanted again."""

    host: PlannedHost
    roles: frozenset[Role]
    gpus: int = 0
    cores: int = 0
    memory_mib: int = 0
    avoid: frozenset[str] = frozenset()


class Answers(Protocol):
    """Who asks for hosts, and hears what becomes of it. To be called in the thread of the event loop, also while
    ``ask`` still runs."""

    def granted(self, host: PlannedHost) -> None:
        """The planned host of that name is to be had, and this is what is now known of it: its address above all."""

    def refused(self, name: str, message: str, advice: str = "") -> None:
        """It is not, and will not be."""

    def lost(self, name: str, message: str, advice: str = "") -> None:
        """One that was granted is gone, with all that ran there."""


class Engine:
    """Base of all engines. ``keys``: the type that checks what a spec says of this one; a field's docstring explains it
    in the schema."""

    keys: ClassVar[type[Section]]

    @classmethod
    def sites(cls, keys: Any) -> tuple[PlannedHost, ...]:
        """The hosts that a run with these keys is planned on: known by name, with an address where one is known."""
        raise NotImplementedError

    @classmethod
    def reaches(cls, keys: Any, environ: Mapping[str, str]) -> Mapping[str, Reach]:
        """The reaches that it brings, by the ``transport`` of its hosts; ``local`` and ``ssh`` are there already."""
        return {}

    def __init__(self, keys: Any, answers: Answers) -> None:
        self.given = keys
        self.answers = answers

    def ask(self, needs: Needs) -> None:
        """Asks for a host. Does not block; ``answers`` hears of it."""
        raise NotImplementedError

    async def give_back(self, name: str) -> None:
        """This host is not needed any more, or not wanted after all; one that was not granted yet will not be."""

    async def close(self) -> None:
        """The run is over: gives everything back."""
