"""Thousands of tasks that do nothing, on one supervisor: start, rest, a storm in which all die at once, end.

    python -m tests.benchmarks.size --tasks 2000

Every task is killed by SIGKILL when all run, and again when all have been started anew; then the chief's restarts are
used up, and the run has failed. CPU of supervisor, agent and clients is in shares of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from launcher.record.runs import RunFolder
from tests.benchmarks.floods import ours_of, run_id_of

TFLAUNCH = Path(sys.executable).parent / "tflaunch"
_PATIENCE_S = 900.0
_SLEEP = ["sleep", "86399"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--rest-s", type=float, default=30.0, help="for how long it is watched at rest")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tfl-size-"))
    try:
        print(json.dumps(measure(folder, options.tasks, options.rest_s), indent=2))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, tasks: int, rest_s: float) -> dict[str, Any]:
    """Lives through it once."""
    run, found = RunFolder(folder / "run"), {"tasks": tasks, "load": os.getloadavg()}
    spec = folder / "spec.json"
    roles = {"ps": {"count": 0}, "chief": {}, "worker": {"count": tasks - 1}}
    policy = {"restarts": 1, "start_timeout_s": 86_400}  # they never train
    spec.write_text(json.dumps({"roles": roles, "policy": policy}))
    command = [TFLAUNCH, "local", spec, "--plain", "--run-dir", run.path, "--", *_SLEEP]
    began = time.monotonic()
    with folder.joinpath("plain").open("wb") as out:
        client = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        _wait(run.supervisor.exists)
        _wait(lambda: "agent" in ours_of(run))
        ours = ours_of(run)
        _wait(lambda: len(_alive(ours)) == tasks)
        found["start_s"] = round(time.monotonic() - began, 1)
        found["start_cpu_s"] = {name: _cpu_s(process) for name, process in ours.items()}
        plain = psutil.Process(client.pid)
        live = psutil.Process(_attach(run, folder))
        _wait(lambda: live.cpu_times().user > 0)
        time.sleep(5)
        found["rest_cores"] = _rest({**ours, "client, plain": plain, "client, live view": live}, rest_s)
        found["rss_mib"] = {name: round(process.memory_info().rss / 2**20) for name, process in ours.items()}
        began = time.monotonic()
        first = _storm(ours)
        _wait(lambda: len(_alive(ours) - first) == tasks)
        found["storm_until_all_run_again_s"] = round(time.monotonic() - began, 1)
        began, run_id = time.monotonic(), run_id_of(run)
        _storm(ours)
        _wait(lambda: client.poll() is not None)
        found["second_storm_until_end_s"] = round(time.monotonic() - began, 1)
        report = json.loads(run.report.read_text())
        found |= {"exit_code": client.returncode, "outcome": report["outcome"], "cause": report["cause"]["kind"]}
        found["left"] = [process.pid for process in psutil.process_iter() if _belongs(process, run_id)]
        return found
    finally:
        client.terminate()
        client.wait(120)


def _attach(run: RunFolder, folder: Path) -> int:
    """A live view in a terminal of its own, that somebody reads."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.chdir(folder)
        os.execv(TFLAUNCH, [str(TFLAUNCH), "attach", str(run.path)])
    subprocess.Popen(["cat"], stdin=terminal, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(terminal)
    return pid


def _rest(processes: dict[str, psutil.Process], rest_s: float) -> dict[str, float]:
    before = {name: _cpu_s(process) for name, process in processes.items()}
    began = time.monotonic()
    time.sleep(rest_s)
    passed_s = time.monotonic() - began
    return {name: round((_cpu_s(process) - before[name]) / passed_s, 4) for name, process in processes.items()}


def _alive(ours: dict[str, psutil.Process]) -> set[int]:
    """The tasks that run their program."""
    found = set()
    for process in ours["agent"].children():
        try:
            if process.cmdline() == _SLEEP:
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


def _storm(ours: dict[str, psutil.Process]) -> set[int]:
    victims = _alive(ours)
    for pid in victims:
        os.kill(pid, 9)
    return victims


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(round(times.user + times.system, 2))


def _belongs(process: psutil.Process, run_id: str) -> bool:
    try:
        return process.environ().get("TFLAUNCH_RUN") == run_id
    except psutil.Error:
        return False


def _wait(done: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not done():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.5)


if __name__ == "__main__":
    main()
