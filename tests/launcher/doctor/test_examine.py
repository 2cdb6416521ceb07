"""The probe on this machine, for real; and hosts that do not answer."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.doctor.examine import examine
from launcher.doctor.facts import HostFacts
from launcher.doctor.wanted import Interpreter, Need, Wanted
from launcher.hosts.local import LocalReach
from launcher.hosts.reach import RELAY, Program, Reach, ReachError
from launcher.plan.model import PlannedHost, PlannedTask
from launcher.wire.roles import TaskId
from tests.launcher.hosts.fake import FakeReach


def need(name: str, folder: Path, *, module: str = "json") -> Need:
    python = Interpreter(
        python=(sys.executable,), program=("-m", "json.tool"), cwd="/", modules=(module,), env={"A": "1"}
    )
    task = PlannedTask(task=TaskId.parse("chief:0"), host=name, argv=(), cwd="/", env={})
    host = PlannedHost(name=name, address="127.0.0.1")
    return Need(host=host, tasks=(task,), interpreters=(python,), model_dir=str(folder / "new" / "model"))


class Hanging(FakeReach):
    """A host that never lets a program start."""

    async def start(self, *_: object, **__: object) -> Program:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


class Silent(FakeReach):
    """A host whose program starts, and then says nothing."""

    async def start(self, host: PlannedHost, *_: object, **__: object) -> Program:
        return await super().start(host, RELAY, {})


async def serve_nothing(host: PlannedHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def look(
    reaches: dict[str, Reach], folder: Path, *, timeout_s: float = 60.0, module: str = "json"
) -> dict[str, HostFacts]:
    wants = Wanted(needs={name: need(name, folder, module=module) for name in reaches}, chief="here", model_dir=None)
    return asyncio.run(
        examine(wants, lambda host: reaches[host.name], timeout_s=timeout_s, say=lambda host, what: None)
    )


def test_this_machine_answers_everything_and_nothing_is_left(tmp_path: Path) -> None:
    environ = {**os.environ, "TF_CONFIG": "{}", "http_proxy": "http://u:secret@h:1", "no_proxy": "h"}
    facts = look({"here": LocalReach(environ), "there": LocalReach(dict(os.environ))}, tmp_path)
    here = facts["here"]
    assert (here.trouble, here.unanswered) == ("", {})
    assert here.system is not None and here.clock is not None and here.folder is not None and here.listening is not None
    assert (here.system.tf_config, here.system.proxies, here.system.no_proxy) == (True, ("http_proxy",), "h")
    assert here.system.cores > 0 and here.system.available_mib > 0 and here.system.disks[0].place == "/tmp"
    assert "secret" not in repr(here)
    assert abs(here.clock.ahead_s) <= here.clock.error_s + 0.01
    assert dict(here.folder.words) == {"here": "here", "there": "there"}
    assert {reached.host for reached in here.reached or ()} == {"here", "there"}
    assert {reached.how for reached in here.reached or ()} == {"ok"}
    (python,) = here.pythons
    assert (python.exit, python.program_found, python.program) == (0, True, "-m json.tool")
    assert python.version is not None and python.import_s is not None
    assert list(tmp_path.iterdir()) == []


def test_hosts_that_do_not_answer_are_told_and_keep_nobody_waiting(tmp_path: Path) -> None:
    gone = FakeReach(serve_nothing)
    gone.refuse = ReachError("nobody is there", advice="go and look")
    reaches: dict[str, Reach] = {"gone": gone, "hangs": Hanging(serve_nothing), "silent": Silent(serve_nothing)}
    facts = look(reaches, tmp_path, timeout_s=2.0)
    assert (facts["gone"].trouble, facts["gone"].advice) == ("nobody is there", "go and look")
    assert "has not let our program start" in facts["hangs"].trouble
    assert set(facts["silent"].unanswered) >= {"time", "system", "listen", "write", "python"}


def test_an_import_that_fails_says_its_last_words(tmp_path: Path) -> None:
    facts = look({"here": LocalReach(dict(os.environ))}, tmp_path, module="no_such_module")
    (python,) = facts["here"].pythons
    assert (python.import_s, python.exit) == (None, 1)
    assert python.last_words == "ModuleNotFoundError: No module named 'no_such_module'"


def test_a_folder_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("")
    facts = look({"here": LocalReach(dict(os.environ))}, tmp_path)
    assert facts["here"].folder is not None and facts["here"].folder.problem == "it is no folder"


@pytest.mark.parametrize("held", [True, False])
def test_a_lock_counts_while_its_run_lives(tmp_path: Path, held: bool) -> None:
    from launcher.agent.host import lock

    folder = tmp_path / "new" / "model"
    fd, _ = lock.lock(str(folder), {"run": "night", "host": "h", "pid": 7, "since": "noon"})
    assert fd is not None
    if not held:
        os.close(fd)  # as the death of its process does
    found = look({"here": LocalReach(dict(os.environ))}, tmp_path)["here"].folder
    assert found is not None and dict(found.holder) == (
        {"run": "night", "host": "h", "pid": 7, "since": "noon"} if held else {}
    )
    assert [path.name for path in folder.iterdir()] == [lock.LOCK_FILE]
    if held:
        os.close(fd)


def test_an_address_that_leads_elsewhere_is_seen(tmp_path: Path) -> None:
    """Two hosts with one address, of which only one can hold the port."""
    needs = {name: need(name, tmp_path) for name in ("here", "there")}
    moved = replace(needs["there"].host, address="192.0.2.1.invalid")
    needs["there"] = replace(needs["there"], host=moved)
    wants = Wanted(needs=needs, chief="here", model_dir=None)
    reach = LocalReach(dict(os.environ))
    facts = asyncio.run(examine(wants, lambda _: reach, timeout_s=60.0, say=lambda host, what: None))
    hows = {reached.host: reached.how for reached in facts["here"].reached or ()}
    assert hows == {"here": "ok", "there": "no such name"}
