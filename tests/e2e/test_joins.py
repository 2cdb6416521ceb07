"""Workers come and leave a hundred times, half of them by a kill: a parameter server keeps nothing of them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import launcher
from launcher.record.reading import load_view
from launcher.record.runs import RunFolder
from launcher.record.states import TaskState
from launcher.wire.roles import Role

pytestmark = [pytest.mark.e2e, pytest.mark.tensorflow, pytest.mark.soak, pytest.mark.timeout(7200)]

PROGRAM = Path(__file__).with_name("canned.py")
ROUNDS = int(os.environ.get("TFLAUNCH_JOINS", "50"))
SETTLED = 5  # rounds after which a parameter server has what it needs anyway
MOST_MIB = 20.0
MIB = 1 << 20
SPEC = {
    "roles": {"ps": {}, "chief": {}, "worker": {"count": 1}},
    "policy": {"restarts": 1000, "restart_window_s": 1, "backoff_s": 0.1},  # no kill makes the next one wait longer
}


def until(what: Callable[[], object], why: str, timeout_s: float = 300.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, f"waited in vain for {why}"
        time.sleep(0.05)


def pids(folder: Path) -> dict[str, int]:
    """Of the tasks that run."""
    tasks = load_view(RunFolder(folder)).ordered()
    return {task.task.name: task.pid for task in tasks if task.pid and not task.state.final}


def workers_train(folder: Path, count: int, *, others_than: int = 0) -> bool:
    tasks = [task for task in load_view(RunFolder(folder)).ordered() if task.task.role is Role.WORKER]
    there = [task for task in tasks if not task.state.final]
    return len(there) == count and all(
        task.state is TaskState.TRAINING and task.pid not in (None, others_than) for task in there
    )


def strangers(server: int, others: set[int]) -> list[str]:
    """Connections of the parameter server to nobody who is there."""
    known = {
        (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
        for pid in (server, *others)
        for connection in psutil.Process(pid).net_connections("tcp")
    }
    peers = {
        (connection.raddr.ip.removeprefix("::ffff:"), connection.raddr.port)
        for connection in psutil.Process(server).net_connections("tcp")
        if connection.raddr and connection.status == psutil.CONN_ESTABLISHED
    }
    return [f"{ip}:{port}" for ip, port in sorted(peers - known)]


def test_a_parameter_server_keeps_nothing_of_those_who_left(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), "--steps", "100000000", "--model_dir", str(tmp_path / "model")]
    run = launcher.start(command, cwd=tmp_path, spec=SPEC)
    base = 0
    try:
        until(lambda: workers_train(run.folder, 1), "the first worker")
        server = pids(run.folder)["ps:0"]
        for number in range(ROUNDS):
            run.scale(2)
            until(lambda: workers_train(run.folder, 2), f"a join, {number}")
            victim = pids(run.folder)["worker:1"]
            if number % 2:
                os.kill(victim, signal.SIGKILL)
                until(lambda: workers_train(run.folder, 2, others_than=victim), f"its next attempt, {number}")  # noqa: B023
            run.scale(1)
            until(lambda: workers_train(run.folder, 1), f"a leave, {number}")
            if number == SETTLED:
                base = psutil.Process(server).memory_info().rss
        others = set(pids(run.folder).values()) - {server}
        until(lambda: not strangers(server, others), f"connections to end: {strangers(server, others)}", 60.0)
        grown_mib = (psutil.Process(server).memory_info().rss - base) / MIB
        print(f"{ROUNDS} joins: the parameter server has grown by {grown_mib:.1f} MiB")
        assert grown_mib < MOST_MIB
    finally:
        run.stop(now=True)
