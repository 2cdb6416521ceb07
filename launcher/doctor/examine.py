"""Asks all hosts at once what the rules want to know. A host that hangs keeps nobody waiting beyond the time-out.

The questions go in three rounds, since some need what others have answered: ports are connected to when all listen, and
the model_dir is read when all have written. TensorFlow is imported meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from launcher.doctor.asking import Probe, UnansweredError, open_probe
from launcher.doctor.facts import Clock, Folder, HostFacts, Listening, Reached, System, TaskPython
from launcher.doctor.host_rules import MOST_SESSIONS
from launcher.doctor.wanted import Interpreter, Need, Wanted
from launcher.hosts.reach import Reach, ReachError, ReachOf

ARRIVAL_S = 30.0
ANSWER_S = 20.0  # for what a healthy host answers at once
REACH_S = 5.0  # for a connection to a port
_PINGS = 5
_SPARE_S = 30.0  # after which a probe that nobody ends does so by itself

_T = TypeVar("_T")
Saying = Callable[[str, str], None]  # host, what is being done there


async def examine(wanted: Wanted, reach_of: ReachOf, *, timeout_s: float, say: Saying) -> dict[str, HostFacts]:
    """What is to be known about each host. ``say`` hears how far it is."""
    token = secrets.token_hex(8)
    deadline = time.monotonic() + timeout_s
    visits = {
        name: _Visit(need, reach_of(need.host), (deadline, timeout_s), f"{token}-{index}", say)
        for index, (name, need) in enumerate(wanted.needs.items())
    }
    here = _leave(wanted.run_dirs, token) if wanted.run_dirs is not None else None
    try:
        await _all(visit.arrive() for visit in visits.values())
        imports = asyncio.ensure_future(_all(visit.import_all() for visit in visits.values()))
        await _all(visit.prepare() for visit in visits.values())
        await _all(visit.compare(visits) for visit in visits.values())
        if wanted.run_dirs is not None:
            await _all(visit.see(wanted.run_dirs, token) for visit in visits.values())
        await imports
    finally:
        if here is not None:
            here.unlink(missing_ok=True)
        await asyncio.gather(*(visit.forget() for visit in visits.values()), return_exceptions=True)
        await asyncio.gather(*(visit.leave() for visit in visits.values()), return_exceptions=True)
    return {name: HostFacts(**visit.facts) for name, visit in visits.items()}


async def _all(work: Any) -> None:
    await asyncio.gather(*work)


def _leave(folder: str, word: str) -> Path:
    """A file here that others are to find."""
    path = Path(folder, _file(word))
    with contextlib.suppress(OSError):  # nobody will find it then, and that is said
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{word}\n", encoding="utf-8")
    return path


def _file(word: str) -> str:
    return f".tflaunch-doctor-{word}"


class _Visit:
    """One host, and what it has answered so far. ``word`` is what it answers those who connect, and no other does."""

    def __init__(self, need: Need, reach: Reach, bounds: tuple[float, float], word: str, say: Saying) -> None:
        self.facts: dict[str, Any] = {"unanswered": {}}
        self.word = word
        self.need = need
        self._reach = reach
        self._deadline, self._all_s = bounds
        self._say = say
        self._probe: Probe | None = None

    @property
    def _left_s(self) -> float:
        return max(0.1, self._deadline - time.monotonic())

    def _bound(self, limit_s: float) -> float:
        """At most that, so that one round that hangs leaves time for the others."""
        return min(limit_s, self._all_s / 3, self._left_s)

    async def arrive(self) -> None:
        """Connects, and starts our program there."""
        self._say(self.need.host.name, "connecting")
        began = time.monotonic()
        opening = asyncio.ensure_future(open_probe(self._reach, self.need.host, self._all_s + _SPARE_S))
        try:
            self._probe = await asyncio.wait_for(opening, self._bound(ARRIVAL_S))
            self.facts["connect_s"] = time.monotonic() - began
        except ReachError as error:
            self.facts |= {"trouble": str(error), "advice": error.advice}
        except asyncio.TimeoutError:
            said = f"it has not let our program start within {time.monotonic() - began:.0f} s"
            self.facts |= {
                "trouble": said,
                "advice": "what hangs there: the network, sshd, the shell's start-up files?",
            }

    async def prepare(self) -> None:
        """Everything for which no other host is needed, and what the others need."""
        if self._probe is None:
            return
        self._say(self.need.host.name, "looking")
        await self._clock(self._probe)
        await _all([self._system(), self._listen(), self._write(), self._sessions(self._probe)])

    async def compare(self, visits: Mapping[str, _Visit]) -> None:
        """What the others have prepared."""
        if self._probe is not None:
            self._say(self.need.host.name, "reaching others")
            await _all([self._connect(visits), self._read(visits)])
            self._say(self.need.host.name, "importing")

    async def see(self, run_dirs: str, token: str) -> None:
        """Whether the folder of runs is the one that it is here, where ``token`` lies in it."""
        if self._probe is not None:
            given = {"path": run_dirs, "names": [_file(token)]}
            answer = await self._ask("read", dict[str, dict[str, str]], self._bound(ANSWER_S), **given)
            self.facts["sees_runs"] = answer is not None and answer["words"].get(_file(token)) == token

    async def forget(self) -> None:
        """Takes away what was written there."""
        if self._probe is not None and self.facts.get("folder") is not None:
            await self._probe.ask("forget", self._bound(ANSWER_S))

    async def leave(self) -> None:
        """Ends our program there, and the connection."""
        if self._probe is not None:
            await self._probe.close()

    # --- questions

    async def _ask(self, ask: str, kind: type[_T], limit_s: float, **given: object) -> _T | None:
        assert self._probe is not None
        try:
            answer = await self._probe.ask(ask, limit_s, **given)
            return TypeAdapter(kind).validate_python(answer)
        except UnansweredError as error:
            self.facts["unanswered"][ask] = str(error)
            return None

    async def _clock(self, probe: Probe) -> None:
        best: Clock | None = None
        try:
            for _ in range(_PINGS):
                sent = time.time()
                answer = await probe.ask("time", self._bound(ANSWER_S))
                half_s = (time.time() - sent) / 2
                if best is None or half_s < best.error_s:
                    best = Clock(ahead_s=answer["time"] - sent - half_s, error_s=half_s)
        except UnansweredError as error:
            self.facts["unanswered"]["time"] = str(error)
        self.facts["clock"] = best

    async def _system(self) -> None:
        cwds = [task.cwd for task in self.need.tasks]
        places = list(dict.fromkeys(["/tmp", *cwds, *([self.need.model_dir] if self.need.model_dir else [])]))
        gpus = self.need.host.gpus > 0
        given = {"places": places, "gpus": gpus, "address": self.need.host.address, "alone": self.need.alone}
        self.facts["system"] = await self._ask("system", System, self._bound(ANSWER_S), **given)

    async def _sessions(self, probe: Probe) -> None:
        asking: Coroutine[Any, Any, int | None] = probe.sessions(MOST_SESSIONS)
        try:
            self.facts["sessions"] = await asyncio.wait_for(asking, self._bound(ANSWER_S))
        except (asyncio.TimeoutError, OSError):
            self.facts["sessions"] = None

    async def _listen(self) -> None:
        low, high = self.need.host.ports or (None, None)
        given = {"token": self.word, "tasks": max(1, len(self.need.tasks)), "low": low, "high": high}
        self.facts["listening"] = await self._ask("listen", Listening, self._bound(ANSWER_S), **given)

    async def _connect(self, visits: Mapping[str, _Visit]) -> None:
        targets = [
            {"host": name, "address": visit.need.host.address, "port": port, "token": visit.word}
            for name, visit in visits.items()
            if (listening := visit.facts.get("listening")) is not None
            for port in listening.ports
        ]
        limit_s = self._bound(ANSWER_S + REACH_S * (len(targets) // 64))
        answer = await self._ask("connect", dict[str, tuple[Reached, ...]], limit_s, targets=targets, each_s=REACH_S)
        self.facts["reached"] = answer["reached"] if answer is not None else None

    async def _write(self) -> None:
        if self.need.model_dir is not None:
            given = {"path": self.need.model_dir, "name": self._file, "word": self.word}
            self.facts["folder"] = await self._ask("write", Folder, self._bound(ANSWER_S), **given)

    async def _read(self, visits: Mapping[str, _Visit]) -> None:
        folder: Folder | None = self.facts.get("folder")
        if folder is None or folder.problem:
            return
        words = {visit._file: (name, visit.word) for name, visit in visits.items()}
        given = {"path": self.need.model_dir, "names": list(words)}
        answer = await self._ask("read", dict[str, dict[str, str]], self._bound(ANSWER_S), **given)
        if answer is None:
            self.facts["unanswered"]["write"] = self.facts["unanswered"]["read"]
            return
        seen = {words[file][0]: words[file][0] for file, word in answer["words"].items() if word == words[file][1]}
        self.facts["folder"] = Folder(path=folder.path, problem="", holder=folder.holder, words=seen)

    @property
    def _file(self) -> str:
        return _file(self.word)

    async def import_all(self) -> None:
        """Every interpreter that tasks have there, one after the other, so that they share the cores."""
        if self._probe is None:
            return
        found = [await self._import(interpreter) for interpreter in self.need.interpreters]
        self.facts["pythons"] = tuple(python for python in found if python is not None)
        self._say(self.need.host.name, "")

    async def _import(self, wanted: Interpreter) -> TaskPython | None:
        given = {
            "python": wanted.python,
            "program": wanted.program,
            "env": dict(wanted.env),
            "cwd": wanted.cwd,
            "modules": wanted.modules,
            "gpus": self.need.host.gpus > 0,
            "within_s": max(1.0, self._left_s - 2.0),
        }
        return await self._ask("python", TaskPython, self._left_s, **given)
