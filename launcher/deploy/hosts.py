"""Deploys onto hosts, all at once, each over one SSH connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from launcher.deploy.manifest import Entry, chosen
from launcher.deploy.scan import Folder, read_folder
from launcher.deploy.wanted import Deployed, Environment, Wanted
from launcher.deploy.wheels import Target, fill_wheelhouse, target_of
from launcher.errors import HostError, TflaunchError
from launcher.model import PlannedHost
from launcher.transports import TransportError
from launcher.transports.ssh import Dialer, Line, Program
from launcher.transports.ssh_programs import SshPrograms

WHEELS_TO = "~/.tflaunch/wheels"
_CHUNK_BYTES = 1 << 18
_END_S = 5.0


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


async def deploy(hosts: Sequence[PlannedHost], wanted: Wanted, progress: Progress) -> dict[str, Deployed]:
    """Where things are, by host. Raises DeployError when every host has been tried and some have failed."""
    work = _Work(wanted, progress)
    results = await asyncio.gather(*(work.host(host) for host in hosts), return_exceptions=True)
    errors = [result for result in results if isinstance(result, HostError)]
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, HostError):
            raise result
    if errors:
        raise DeployError(errors)
    return {host.name: result for host, result in zip(hosts, results, strict=True) if isinstance(result, Deployed)}


class _Work:
    """What hosts have in common: the connections' pool, and the wheelhouse, which is filled once for each target."""

    def __init__(self, wanted: Wanted, progress: Progress) -> None:
        self._wanted = wanted
        self._progress = progress
        self._dialer = Dialer()
        self._programs = SshPrograms()
        self._filling = asyncio.Lock()
        self._wheels: dict[Target, Folder] = {}

    async def host(self, host: PlannedHost) -> Deployed:
        line: Line | None = None
        try:
            self._progress.say(host.name, "connecting")
            line = await self._dialer.dial(host)
            started = await self._programs.start(line, "deploy", {"folder": ""})
            return await self._deploy(host.name, _Talk(host.name, started, self._progress))
        except (TransportError, ConnectionError, ValueError) as error:
            self._progress.failed(host.name)
            raise HostError(host.name, str(error), getattr(error, "advice", "")) from error
        except TflaunchError:
            self._progress.failed(host.name)
            raise
        finally:
            if line is not None:
                await line.close()

    async def _deploy(self, name: str, talk: _Talk) -> Deployed:
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


class _Talk:
    """Requests to the program on one host. ``told``: what was done, in words."""

    def __init__(self, host: str, program: Program, progress: Progress) -> None:
        self.host = host
        self.told: list[str] = []
        self._program = program
        self._progress = progress

    async def ask(self, operation: str, **values: object) -> Mapping[str, Any]:
        """One request and its answer; raises HostError for what went wrong there."""
        self._program.writer.write(json.dumps({"op": operation, **values}).encode() + b"\n")
        await self._program.writer.drain()
        return await self._answer()

    async def _answer(self) -> Mapping[str, Any]:
        while True:
            line = await self._program.reader.readline()
            if not line.endswith(b"\n"):
                raise TransportError(await self._why_silent())
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
