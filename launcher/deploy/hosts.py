"""Deploys onto hosts, all at once, each by one program there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from launcher.deploy.scan import Folder, read_folder
from launcher.deploy.talking import Progress, Talk, patience_s, unless_silent
from launcher.deploy.wanted import Deployed, Environment, Present, Wanted
from launcher.deploy.wheels import Target, fill_wheelhouse, target_of
from launcher.hosts.reach import DEPLOY, ReachError, ReachOf
from launcher.plan.model import PlannedHost
from launcher.wire.errors import HostError, TflaunchError

WHEELS_TO = "~/.tflaunch/wheels"

_T = TypeVar("_T")


class DeployError(TflaunchError):
    """Some hosts could not be deployed to; a line for each."""

    exit_code = HostError.exit_code

    def __init__(self, errors: Sequence[HostError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(f"host {error}" for error in errors))


async def deploy(
    hosts: Sequence[PlannedHost], wanted: Wanted, reach_of: ReachOf, progress: Progress
) -> dict[str, Deployed]:
    """Where things are, by host. Raises DeployError when every host has been tried and some have failed."""
    work = _Work(wanted, reach_of, progress)
    return await _on_each(hosts, work.deploy, work)


async def remains(
    hosts: Sequence[PlannedHost], present: Present, reach_of: ReachOf, *, remove: bool
) -> dict[str, list[Mapping[str, Any]]]:
    """What was deployed before, by host, as ``launcher.agent.deploy.remains`` says it; with ``remove`` what may go is
    gone. Raises DeployError as ``deploy`` does."""
    work = _Work(Wanted(code=None, to="", environment=None), reach_of, _Silent())

    async def ask(_: str, talk: Talk) -> list[Mapping[str, Any]]:
        talk.doing = "it was looking through its folders"
        return list((await talk.ask("remains", **asdict(present), remove=remove))["found"])

    return await _on_each(hosts, ask, work)


async def _on_each(hosts: Sequence[PlannedHost], do: _Doing[_T], work: _Work) -> dict[str, _T]:
    results = await asyncio.gather(*(work.host(host, do) for host in hosts), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, HostError):
            raise result
    if errors := [result for result in results if isinstance(result, HostError)]:
        raise DeployError(errors)
    pairs = zip(hosts, results, strict=True)
    return {host.name: result for host, result in pairs if not isinstance(result, BaseException)}


async def look(hosts: Sequence[PlannedHost], wanted: Wanted, reach_of: ReachOf) -> dict[str, Deployed]:
    """What of it is there already, by host; nothing is changed. Hosts that do not answer are left out."""
    work = _Work(wanted, reach_of, _Silent())
    results = await asyncio.gather(*(work.host(host, work.look) for host in hosts), return_exceptions=True)
    return {host.name: result for host, result in zip(hosts, results, strict=True) if isinstance(result, Deployed)}


class _Silent:
    def say(self, host: str, text: str) -> None: ...
    def sending(self, host: str, *, sent_bytes: int, total_bytes: int) -> None: ...
    def done(self, host: str, text: str) -> None: ...
    def failed(self, host: str) -> None: ...


class _Work:
    """What hosts have in common: the way there, and the wheelhouse, which is filled once for each target."""

    def __init__(self, wanted: Wanted, reach_of: ReachOf, progress: Progress) -> None:
        self._wanted = wanted
        self._progress = progress
        self._reach_of = reach_of
        self._filling = asyncio.Lock()
        self._wheels: dict[Target, Folder] = {}

    async def host(self, host: PlannedHost, do: _Doing[_T]) -> _T:
        reach = self._reach_of(host)
        try:
            self._progress.say(host.name, "connecting")
            started = await reach.start(host, DEPLOY, {})
            async with Talk(host.name, started, self._progress) as talk:
                return await unless_silent(do(host.name, talk), talk, patience_s(host))
        except (ReachError, ConnectionError, ValueError) as error:
            self._progress.failed(host.name)
            raise HostError(host.name, str(error), getattr(error, "advice", "")) from error
        except TflaunchError:
            self._progress.failed(host.name)
            raise
        finally:
            await reach.close(host)

    def present(self) -> dict[str, Any]:
        """Where trees and environments are, empty for what is not deployed, and which are those of now."""
        code, made = self._wanted.code, self._wanted.environment
        return {
            "to": self._wanted.to if code is not None else "",
            "digest": code.manifest.digest if code is not None else "",
            "folder": made.folder if made is not None else "",
            "files": dict(made.files) if made is not None else {},
        }

    async def look(self, name: str, talk: Talk) -> Deployed:
        facts = await talk.ask("look", **self.present())
        made = self._wanted.environment
        environment = _as_written(made.folder, facts["home"]) if made is not None and facts["complete"] else None
        return Deployed(_as_written(self._wanted.to, facts["tree"]) if facts["tree"] else None, environment)

    async def deploy(self, name: str, talk: Talk) -> Deployed:
        tree = await talk.send(self._wanted.code, self._wanted.to, "code") if self._wanted.code is not None else None
        tree = _as_written(self._wanted.to, tree) if tree is not None else None
        wanted = self._wanted.environment
        made = _as_written(wanted.folder, await self._environment(talk, wanted)) if wanted is not None else None
        self._progress.done(name, ", ".join(talk.told) or "nothing to do")
        return Deployed(tree, made)

    async def _environment(self, talk: Talk, wanted: Environment) -> str:
        files = dict(wanted.files)
        facts = await talk.ask("look", folder=wanted.folder, files=files)
        if facts["complete"]:
            talk.told.append("environment was there")
            return str(facts["home"])
        wheels = None
        if wanted.wheelhouse is not None:
            folder = await self._filled(wanted, target_of(facts), lambda text: self._progress.say(talk.host, text))
            wheels = await talk.send(folder, WHEELS_TO, "wheels")
        talk.doing = "the environment was being made"
        answer = await talk.ask("venv", folder=wanted.folder, files=files, wheels=wheels)
        talk.told.append("environment made")
        return str(answer["home"])

    async def _filled(self, wanted: Environment, target: Target, say: Callable[[str], None]) -> Folder:
        assert wanted.wheelhouse is not None
        async with self._filling:
            if target not in self._wheels:
                folder = wanted.wheelhouse
                await asyncio.to_thread(fill_wheelhouse, folder, wanted.files, target, say)
                self._wheels[target] = await asyncio.to_thread(read_folder, folder, ["*", "!*.whl", "!*.tar.gz"])
        return self._wheels[target]


def _as_written(folder: str, home: str) -> str:
    """A place in ``folder`` with the ``~`` that the spec has: what was deployed has the same name on every host, so
    that a task can move to another one."""
    return f"{folder.rstrip('/')}/{home.rpartition('/')[2]}" if folder.startswith("~/") else home


_Doing = Callable[[str, Talk], Coroutine[Any, Any, _T]]
