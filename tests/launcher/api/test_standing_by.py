"""The command line that stands by for the process it belongs to: quick, knows nothing of its runs, and ends with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher import run
from launcher.api import standing
from launcher.wire.errors import UsageError
from launcher.wire.private import peers
from tests.e2e.running import environment

FAKE = str(Path(__file__).parents[2] / "e2e" / "fake_cluster.py")
ALONE: dict[str, Any] = {"ps": 0, "workers": 0, "evaluator": False}
STEPS = [FAKE, "chief=gate,ready,step=1,finished=1"]
SECRET = "correct horse battery staple"


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    standing._forget()


def standing_for(pid: int) -> list[int]:
    """Who shows that it stands by for that process: it, and what it has forked."""
    wanted = peers.identity(pid).encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"launcher.cli.standing_by" in words and wanted in words:
            found.append(int(entry.name))
    return found


def until(what: Callable[[], Any], limit_s: float = 60.0) -> Any:
    deadline = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def has_ended(pid: int) -> bool:
    """Also if nobody has asked for its exit code: orphans may have come to a process that does not."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def only(pid: int = 0) -> int:
    """The one that is left when the supervisors that it has forked have ended."""
    return int(until(lambda: found[0] if len(found := standing_for(pid or os.getpid())) == 1 else None))


def held(pid: int, text: bytes) -> int:
    """How often a process has it in its memory."""
    found = 0
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, modes, *_ = line.split()
        start, end = (int(item, 16) for item in place.split("-"))
        if modes.startswith("rw"):
            with open(f"/proc/{pid}/mem", "rb") as memory:
                memory.seek(start)
                try:
                    found += memory.read(end - start).count(text)
                except OSError:
                    continue
    return found


def test_runs_share_it_and_it_knows_nothing_of_them() -> None:
    assert run(STEPS, env={"TOKEN": SECRET}, **ALONE).succeeded
    former = only()
    assert run(STEPS, **ALONE).succeeded
    assert only() == former
    assert held(former, b"PATH=") > 0
    assert held(former, SECRET.encode()) == 0


def test_what_has_changed_since_is_heeded(cwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(STEPS, **ALONE).succeeded
    former = only()
    monkeypatch.setenv("TFLAUNCH_NAME", "from-the-environment")
    assert run(STEPS, **ALONE).report["name"] == "from-the-environment"
    assert only() == former
    (cwd / "below").mkdir()
    assert run(STEPS, cwd="below", **ALONE).folder.parent == cwd / "below" / "runs"
    umask = os.umask(0o007)
    try:
        run(STEPS, **ALONE)
    finally:
        os.umask(umask)
    assert only() != former


def test_one_that_was_killed_is_replaced() -> None:
    assert run(STEPS, **ALONE).succeeded
    os.kill(only(), signal.SIGKILL)
    assert run(STEPS, **ALONE).succeeded
    with pytest.raises(UsageError, match="cannot start tflaunch in /nowhere"):
        run(STEPS, cwd="/nowhere", **ALONE)


def _in_a_fork(answers: Any) -> None:
    answers.put((run(STEPS, run_dir="forked", **ALONE).outcome, only()))


def test_a_fork_has_its_own() -> None:
    assert run(STEPS, **ALONE).succeeded
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_in_a_fork, args=(answers,))
    child.start()
    outcome, its_own = answers.get(timeout=120)
    child.join()
    assert outcome == "succeeded" and its_own != only()


def test_it_ends_with_its_process(cwd: Path) -> None:
    code = f"import launcher, time; launcher.run({STEPS!r}, **{ALONE!r}); print('done', flush=True); time.sleep(99)"
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, cwd=cwd, env=environment(), stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None and caller.stdout.readline() == "done\n"
        pid = only(caller.pid)
        os.kill(caller.pid, signal.SIGKILL)
    until(lambda: has_ended(pid))
