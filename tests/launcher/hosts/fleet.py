"""A third engine: hosts that are nothing but addresses of this machine's loopback, as a package of its own would bring
them. What befalls them is scripted by files."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from launcher.hosts.engine import Answers, Engine, Needs
from launcher.hosts.local import LocalReach
from launcher.hosts.reach import SWEEP, Program, Reach, ReachError
from launcher.plan.model import PlannedHost
from launcher.spec.hosts import Traits
from launcher.spec.types import Section


class FleetKeys(Section):
    hosts: Annotated[int, Field(ge=1, le=9)] = 2
    """How many hosts."""
    refuse: tuple[str, ...] = ()
    """Hosts that are not to be had."""
    fault: str = ""
    """What this engine does wrong: the name of one of its methods."""
    replaceable: bool = False
    """Whether another host is to be had in the place of a lost one."""
    folder: str = ""
    """Where files say what happens: NAME.late is waited for with the grant, NAME.lost with the loss."""


class FleetReach(LocalReach):
    async def start(
        self, host: PlannedHost, program: str, options: Mapping[str, object], *, limit_s: float = math.inf
    ) -> Program:
        if program == SWEEP:
            raise ReachError("a sweep here would be one of all hosts")
        return await super().start(host, program, options, limit_s=limit_s)


class Fleet(Engine):
    keys = FleetKeys

    def __init__(self, keys: FleetKeys, answers: Answers) -> None:
        super().__init__(keys, answers)
        if keys.fault == "init":
            raise RuntimeError("no fleet today")
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._granted = 0

    @classmethod
    def sites(cls, keys: FleetKeys) -> tuple[PlannedHost, ...]:
        names = (f"fleet-{n}" for n in range(keys.hosts))
        traits = Traits(replaceable=keys.replaceable)
        return tuple(
            PlannedHost(name=name, address="", transport="fleet", traits=traits, way="of the fleet") for name in names
        )

    @classmethod
    def reaches(cls, keys: FleetKeys, environ: Mapping[str, str]) -> Mapping[str, Reach]:
        return {"fleet": FleetReach(environ)}

    def ask(self, needs: Needs) -> None:
        if self.given.fault == "ask":
            raise RuntimeError("no fleet today")
        while self.given.fault == "blocked":
            with contextlib.suppress(OSError):
                time.sleep(3600)
        if needs.host.name in self.given.refuse:
            self.answers.refused(needs.host.name, "the fleet is at sea", "wait until it is back")
        else:
            self._lives[needs.host.name] = asyncio.ensure_future(self._live(needs.host))

    async def _live(self, host: PlannedHost) -> None:
        folder, number = Path(self.given.folder), self._granted
        self._granted += 1
        await _until(lambda: not (folder / f"{host.name}.late").exists())
        self.answers.granted(replace(host, address=f"127.0.0.{2 + number}"))
        await _until((folder / f"{host.name}.lost").exists)
        self.answers.lost(host.name, "it has sunk")

    async def give_back(self, name: str) -> None:
        if life := self._lives.pop(name, None):
            life.cancel()

    async def close(self) -> None:
        while self.given.fault == "close":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(math.inf)
        for name in [*self._lives]:
            await self.give_back(name)


async def _until(what: Callable[[], bool]) -> None:
    while not what():
        await asyncio.sleep(0.02)


def install(place: Path) -> None:
    """Makes it a package that is installed there, as pip would."""
    facts = place / "fleet-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: fleet\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[tflaunch.engines]\nfleet = {__name__}:Fleet\n")
