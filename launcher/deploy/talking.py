"""Talks to the program on one host that a deployment is made by."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from launcher.deploy.manifest import Entry, chosen
from launcher.deploy.scan import Folder
from launcher.hosts.reach import Program, ReachError
from launcher.plan.model import PlannedHost
from launcher.wire.errors import HostError

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


def patience_s(host: PlannedHost) -> float:
    """After how long without a word a host counts as lost: the program there speaks every two seconds."""
    return max(_LEAST_PATIENCE_S, 2 * host.connect_timeout_s)


async def unless_silent(work: Coroutine[Any, Any, _T], talk: Talk, patience_s: float) -> _T:
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


class Talk:
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

    async def __aenter__(self) -> Talk:
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


def _number(entries: Sequence[Entry]) -> int:
    return sum(entry.kind in ("file", "exec") for entry in entries)


def _size(count_bytes: int) -> str:
    size = float(count_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
