"""Deploys onto hosts, all at once, each by one program there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from launcher.deploy.manifest import Entry, chosen
from launcher.deploy.scan import Folder, read_folder
from launcher.deploy.wanted import Deployed, Environment, Wanted
from launcher.deploy.wheels import Target, fill_wheelhouse, target_of
from launcher.hosts.reach import DEPLOY, Program, ReachError, ReachOf
from launcher.plan.model import PlannedHost
from launcher.wire.errors import HostError, TflaunchError

WHEELS_TO = "~/.tflaunch/wheels"
_CHUNK_BYTES = 1 << 18
_END_S = 5.0
_LEAST_PATIENCE_S = 6.0
_ALIVE = b'{"alive": true}\n'

_T = TypeVar("_T")


class Progress(Protocol):
    """Who hears how far it has come."""

    def say(self, host: str, text: str) -> None:
        """Something begins, or goes on."""

    def sending(self, host: str, *, sent_bytes: int, total_bytes: int) -> None:
        """So much of the files is on its way."""

    def done(self, host: str, text: str) -> None:
        """The host has everything."""

    def failed(self, host: str) -> None:
        """Nothing more happens there."""


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
    results = await asyncio.gather(*(work.host(host, work.deploy) for host in hosts), return_exceptions=True)
    errors = [result for result in results if isinstance(result, HostError)]
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, HostError):
            raise result
    if errors:
        raise DeployError(errors)
    return {host.name: result for host, result in zip(hosts, results, strict=True) if isinstance(result, Deployed)}


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

    async def host(self, host: PlannedHost, do: Callable[[str, _Talk], Coroutine[Any, Any, Deployed]]) -> Deployed:
        reach = self._reach_of(host)
        try:
            self._progress.say(host.name, "connecting")
            started = await reach.start(host, DEPLOY, {})
            async with _Talk(host.name, started, self._progress) as talk:
                return await _unless_silent(do(host.name, talk), talk, _patience_s(host))
        except (ReachError, ConnectionError, ValueError) as error:
            self._progress.failed(host.name)
            raise HostError(host.name, str(error), getattr(error, "advice", "")) from error
        except TflaunchError:
            self._progress.failed(host.name)
            raise
        finally:
            await reach.close(host)

    async def look(self, name: str, talk: _Talk) -> Deployed:
        wanted, made, code = self._wanted, self._wanted.environment, self._wanted.code
        about = {"folder": made.folder, "files": dict(made.files)} if made is not None else {"folder": "", "files": {}}
        facts = await talk.ask("look", **about, to=wanted.to, digest=code.manifest.digest if code is not None else "")
        environment = _as_written(made.folder, facts["home"]) if made is not None and facts["complete"] else None
        return Deployed(_as_written(wanted.to, facts["tree"]) if facts["tree"] else None, environment)

    async def deploy(self, name: str, talk: _Talk) -> Deployed:
        tree = await talk.send(self._wanted.code, self._wanted.to, "code") if self._wanted.code is not None else None
        tree = _as_written(self._wanted.to, tree) if tree is not None else None
        wanted = self._wanted.environment
        made = _as_written(wanted.folder, await self._environment(talk, wanted)) if wanted is not None else None
        self._progress.done(name, ", ".join(talk.told) or "nothing to do")
        return Deployed(tree, made)

    async def _environment(self, talk: _Talk, wanted: Environment) -> str:
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


def _patience_s(host: PlannedHost) -> float:
    """After how long without a word a host counts as lost: the program there speaks every two seconds."""
    return max(_LEAST_PATIENCE_S, 2 * host.connect_timeout_s)


async def _unless_silent(work: Coroutine[Any, Any, _T], talk: _Talk, patience_s: float) -> _T:
    """What ``work`` gives; raises ReachError when nothing has come from the host, nor gone to it, for too long."""
    clock = asyncio.get_running_loop().time
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            left_s = talk.heard_at + patience_s - clock()
            if left_s <= 0:
                raise ReachError(
                    f"nothing was heard from it for {patience_s:g} s while {talk.doing}",
                    advice="does the host hang, or is the line dead? Deploy again: what has arrived is not sent again",
                )
            await asyncio.wait({task}, timeout=left_s)
        return await task
    finally:
        task.cancel()


class _Talk:
    """Requests to the program on one host. ``told``: what was done, in words; ``doing``: what is being done now;
    ``heard_at``: when there was a sign of life."""

    def __init__(self, host: str, program: Program, progress: Progress) -> None:
        self.host = host
        self.told: list[str] = []
        self.doing = "it was asked what it has"
        self._program = program
        self._progress = progress
        self._clock = asyncio.get_running_loop().time
        self.heard_at = self._clock()
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def __aenter__(self) -> _Talk:
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()

    async def _listen(self) -> None:
        line = b"\n"
        while line.endswith(b"\n"):
            try:
                line = await self._program.reader.readline()
            except (OSError, ValueError):
                line = b""
            self.heard_at = self._clock()
            if line != _ALIVE:
                self._heard.put_nowait(line)

    async def ask(self, operation: str, **values: object) -> Mapping[str, Any]:
        """One request and its answer; raises HostError for what went wrong there."""
        self._program.writer.write(json.dumps({"op": operation, **values}).encode() + b"\n")
        await self._program.writer.drain()
        return await self._answer()

    async def _answer(self) -> Mapping[str, Any]:
        while True:
            line = await self._heard.get()
            if not line.endswith(b"\n"):
                raise ReachError(await self._why_silent())
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:
                raise HostError(self.host, str(answer["error"]), str(answer["advice"]))
            if "say" not in answer:
                return answer
            self._progress.say(self.host, str(answer["say"]))

    async def _why_silent(self) -> str:
        code, said = await self._program.ended(_END_S)
        last = (
            said.splitlines()[-1] if said else f"exit code {code}" if code is not None else "the connection broke off"
        )
        return f"the deployment broke off: {last}"

    async def send(self, folder: Folder, to: str, what: str) -> str:
        """Sees that the folder's files are on the host, as one tree; gives its path there."""
        manifest = folder.manifest
        answer = await self.ask("tree", to=to, digest=manifest.digest, entries=manifest.rows)
        files = chosen(manifest, answer["want"])
        total = sum(entry.size_bytes for entry in files)
        sent = 0
        self.doing = f"{what} was being sent"
        try:
            for entry in files:
                sent = await self._send_file(folder, entry, sent, total)
        except ConnectionError:
            pass  # why is in what the host has said before
        home = str((await self._answer())["home"])
        amount = f"{len(files)} of {_number(manifest.entries)} files sent ({_size(total)})" if files else "was there"
        self.told.append(f"{what}: {amount}" if files else f"{what} {amount}")
        return home

    async def _send_file(self, folder: Folder, entry: Entry, sent: int, total: int) -> int:
        left = entry.size_bytes
        with open(folder.open(entry), "rb", buffering=0) as file:
            while left:
                part = file.read(min(left, _CHUNK_BYTES))
                if not part:
                    raise HostError(self.host, f"{entry.path} changed while it was being sent", "deploy again")
                self._program.writer.write(part)
                await self._program.writer.drain()
                self.heard_at = self._clock()
                left -= len(part)
                sent += len(part)
                self._progress.sending(self.host, sent_bytes=sent, total_bytes=total)
        return sent


def _as_written(folder: str, home: str) -> str:
    """A place in ``folder`` with the ``~`` that the spec has: what was deployed has the same name on every host, so
    that a task can move to another one."""
    return f"{folder.rstrip('/')}/{home.rpartition('/')[2]}" if folder.startswith("~/") else home


def _number(entries: Sequence[Entry]) -> int:
    return sum(entry.kind in ("file", "exec") for entry in entries)


def _size(count_bytes: int) -> str:
    size = float(count_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
