"""Runs in which parts are killed at random (``make soak``): each ends as the policy says, and nothing is left.

Seeded by TFLAUNCH_SOAK_SEED; TFLAUNCH_SOAK_RUNS and TFLAUNCH_SOAK_TENSORFLOW_RUNS say how many. A run that goes wrong
is made again with its own number: ``pytest -m soak -k 'fake and [17]'``.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.fake_runs import events, run_id, wait_until, words
from tests.e2e.running import REPORT, alive, environment, tflaunch, tflaunch_argv
from tests.soak.facts import note

SEED = int(os.environ.get("TFLAUNCH_SOAK_SEED", 1))
FAKE_RUNS = int(os.environ.get("TFLAUNCH_SOAK_RUNS", 200))
TENSORFLOW_RUNS = int(os.environ.get("TFLAUNCH_SOAK_TENSORFLOW_RUNS", 20))
BOUND_S = 90.0  # lease, grace and back-off of these runs, on a machine that does much else
TASKS = ("ps:0", "chief:0", "worker:0", "worker:1", "evaluator:0")
# How a run ends when one of these is killed; the death of anybody else is mended.
DECISIVE = {
    "supervisor": "lost",
    "keeper": "failed",
    "client": "interrupted",
    "terminal": "interrupted",
}
VICTIMS = (*TASKS, "agent", "preload", *DECISIVE)
ROLES = {
    "ps": "listen,ready,child,child-setsid,hang",
    "chief": "child,gate,ready,step=1,wait-file=go,finished=10,barrier,saved=10",
    "worker": "child-setsid,gate,ready,step=1,wait-file=go,finished=10",
    "evaluator": "ready,drain",
}
SPEC = {
    "roles": {"ps": {}, "chief": {}, "worker": {"count": 2}, "evaluator": {}},
    "preload": ["json"],
    "policy": {"restarts": 9, "backoff_s": 0.1, "grace_s": 2, "lease_s": 2},
}

pytestmark = [pytest.mark.soak, pytest.mark.e2e, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Kill:
    """``after``: so many events of the run, and then so many seconds."""

    victim: str
    after_events: int
    after_s: float


def kills_of(number: int) -> list[Kill]:
    source = random.Random(f"{SEED}/{number}")
    return [
        Kill(source.choice(VICTIMS), source.randint(3, 40), source.choice([0.0, 0.0, source.uniform(0.0, 0.5)]))
        for _ in range(source.randint(1, 3))
    ]


class Terminal:
    """A run in the foreground of a terminal of its own."""

    def __init__(self, cwd: Path) -> None:
        self.folder = cwd / "run"
        self.master, terminal = pty.openpty()
        (cwd / "spec.yaml").write_text(json.dumps(SPEC))
        self.client = subprocess.Popen(
            [*tflaunch_argv("local", "spec.yaml", "--plain", "--run-dir", "run"), *words(**ROLES)],
            cwd=cwd,
            env=environment(),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            preexec_fn=_own_terminal,
        )
        os.close(terminal)
        os.set_blocking(self.master, False)

    def read(self) -> None:
        with contextlib.suppress(OSError):
            while os.read(self.master, 65536):
                pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.master)
        self.master = -1

    def ended(self) -> bool:
        self.read()
        return self.client.poll() is not None

    def find(self, victim: str) -> int | None:
        """The victim's pid as the run has told it; None if it has not yet."""
        told = events(self.folder)
        if victim == "client":
            return self.client.pid
        if victim == "supervisor":
            return next((int(str(event["pid"])) for event in told if event["kind"] == "run_started"), None)
        if victim == "preload":
            pids = [event["pid"] for event in told if event["kind"] == "preload_changed" and event["pid"]]
        elif victim in ("agent", "keeper"):
            pids = [dict(event["facts"]).get("pid") for event in told if event["kind"] == "host_changed"]  # type: ignore[call-overload]
        else:
            pids = [event["pid"] for event in told if event["kind"] == "task_changed" and event["task"] == victim]
        known = [int(str(pid)) for pid in pids if pid]
        if not known:
            return None
        return parent_of(known[-1]) if victim == "keeper" else known[-1]


def _own_terminal() -> None:
    os.setsid()
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def strike(run: Terminal, kill: Kill) -> bool:
    """Kills the victim at its moment; whether there was one."""
    patience = time.monotonic() + 5.0  # a run that waits says no more: then the moment has come
    while len(events(run.folder)) < kill.after_events and time.monotonic() < patience and not run.ended():
        time.sleep(0.005)
    moment = time.monotonic() + kill.after_s
    while time.monotonic() < moment and not run.ended():
        time.sleep(0.005)
    if kill.victim == "terminal":
        run.close()
        return True
    pid: list[int | None] = [None]

    def known() -> bool:
        pid[0] = run.find(kill.victim)
        return pid[0] is not None or run.ended() or bool(over(run))

    wait_until(known, BOUND_S)
    if pid[0] is None or pid[0] <= 1 or (kill.victim != "client" and not belongs(pid[0], run)):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid[0], signal.SIGKILL)
        return True
    return False


def belongs(pid: int, run: Terminal) -> bool:
    """Whether that pid is a process of this run still: pids are given again."""
    return kinship(run) is not None and pid in alive(str(kinship(run)))


def kinship(run: Terminal) -> str | None:
    return next((str(event["run_id"]) for event in events(run.folder) if event["kind"] == "run_started"), None)


def over(run: Terminal) -> list[dict[str, object]]:
    return [event for event in events(run.folder) if event["kind"] == "run_ended"]


def allowed(victims: list[str]) -> set[str]:
    """The outcomes that the policy gives: the deaths of those who decide may overtake each other."""
    decisive = {DECISIVE[victim] for victim in victims if victim in DECISIVE}
    return decisive or {"succeeded"}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[[], Terminal]]:
    started: list[Terminal] = []

    def start() -> Terminal:
        started.append(Terminal(tmp_path))
        return started[-1]

    yield start
    for run in started:
        if run.client.poll() is None:
            run.client.kill()
        run.client.wait()
        run.close()
        if run.folder.exists() and events(run.folder):
            for pid in alive(run_id(run.folder)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", range(FAKE_RUNS))
def test_fake_clusters_end_as_the_policy_says(number: int, terminal: Callable[[], Terminal], tmp_path: Path) -> None:
    run = terminal()
    kills = kills_of(number)
    struck = [kill.victim for kill in kills if strike(run, kill)]
    note(*(f"kill {victim}" for victim in struck))
    (tmp_path / "go").touch()
    wait_until(run.ended, BOUND_S)
    if not events(run.folder):
        assert set(struck) & {"client", "terminal"}, "nothing was written down, and nobody had killed the client"
        return
    own = run_id(run.folder)
    wait_until(lambda: alive(own) == [], BOUND_S)
    tflaunch("ls", cwd=tmp_path)  # a run whose supervisor was killed is written up by the next command
    status = json.loads(tflaunch("status", "run", "--json", cwd=tmp_path).stdout)
    assert status["outcome"] in allowed(struck), (kills, struck, status["outcome"], (run.folder / REPORT).exists())


@pytest.mark.tensorflow
@pytest.mark.parametrize("number", range(TENSORFLOW_RUNS))
def test_real_clusters_come_through(number: int, tmp_path: Path) -> None:
    source = random.Random(f"{SEED}/tensorflow/{number}")
    faults = [
        f"kill {source.choice(['ps:0', 'chief:0', 'worker:0', 'worker:1'])} at step {source.randint(20, 500)}"
        for _ in range(source.randint(1, 3))
    ]
    inject = [word for fault in faults for word in ("--inject", fault)]
    done = tflaunch("local", "--workers", "2", "--ps", "1", "--plain", "--run-dir", "run", *inject, cwd=tmp_path)
    assert done.code == 0, (faults, done.stdout[-3000:] + done.stderr[-2000:])
    assert done.report is not None
    assert all(drill["at"] for drill in done.report["drills"]), done.report["drills"]
    note(*(fault.partition(" at ")[0] for fault in faults))
    assert done.report["metrics"]["global_step"] == done.report["checkpoints"][-1]["global_step"]
    assert len(list((done.run_dir / "model" / "export" / "esmm").glob("[0-9]*/saved_model.pb"))) == 1
    assert alive(run_id(done.run_dir)) == []
