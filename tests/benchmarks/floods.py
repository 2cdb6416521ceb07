"""What a flood of output costs: memory of each process of ours, and how late the tasks' beats are heard meanwhile.

    python -m tests.benchmarks.floods

Bars: each process of ours grows by at most 50 MiB, no beat is heard more than 2 s late, and nothing is lost.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from launcher.record.files.log_file import parts_of
from launcher.record.runs import RunFolder, read_supervisor
from launcher.wire.roles import TaskId

FLOODS = {
    "1 GB in 10 s from one task": ("chief:0", "gigabyte", 1),
    "a line of 100 MB": ("chief:0", "line", 1),
    "10 million lines from 10 tasks": ("all", "lines", 9),
}
_TASK = Path(__file__).with_name("floods_task.py")
_PATIENCE_S = 600.0
_LOOK_S = 0.1


def measure() -> dict[str, dict[str, Any]]:
    """By flood: ``grew_mib`` by process, ``late_s`` (the latest beat; ``late_before_s``: of the time before the flood),
    ``lost``: tasks whose log is not what they have said."""
    return {name: one(*flood) for name, flood in FLOODS.items()}


def one(which: str, kind: str, workers: int) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="tfl-flood-"))
    run = RunFolder(folder / "run")
    argv = [Path(sys.executable).parent / "tflaunch", "local", "--ps", "0", "--workers", str(workers), "--plain"]
    command = [*argv, "--no-evaluator", "--run-dir", run.path, "--", "python", _TASK, folder, which, kind]
    client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(lambda: len({task for task, _, _ in _beats(run)}) == workers + 1)
        ours = {"client": psutil.Process(client.pid), **ours_of(run)}
        before = {name: _rss_mib(process) for name, process in ours.items()}
        peaks = dict(before)
        time.sleep(2)
        began = time.time()
        (folder / "go").touch()
        said = [folder / name for name in _flooding(which, workers)]

        def look() -> None:
            peaks.update({name: max(peaks[name], _rss_mib(process)) for name, process in ours.items()})

        def all_said() -> bool:
            look()
            return all(file.exists() for file in said) and all(map(_whole, _pairs(run, said)))

        _wait(all_said)
        (folder / "end").touch()

        def ended() -> bool:
            look()
            return client.poll() is not None

        _wait(ended)
        beats = list(_beats(run))
        facts = [json.loads(file.read_text()) for file in said]
        return {
            "grew_mib": {name: round(peaks[name] - before[name], 1) for name in ours},
            "late_s": max(late for _, at, late in beats if at >= began),
            "late_before_s": max(late for _, at, late in beats if at < began),
            "lost": [file.name for log, file in _pairs(run, said) if not _same(log, json.loads(file.read_text()))],
            "said_in_s": round(max(fact["seconds"] for fact in facts), 1),
            "exit_code": client.returncode,
        }
    finally:
        client.terminate()
        client.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _flooding(which: str, workers: int) -> list[str]:
    return ["chief-0", *(f"worker-{index}" for index in range(workers))] if which == "all" else ["chief-0"]


def _pairs(run: RunFolder, said: list[Path]) -> list[tuple[Path, Path]]:
    return [(run.log(TaskId.parse(file.name)), file) for file in said]


def _whole(pair: tuple[Path, Path]) -> bool:
    log, said = pair
    text = said.read_text()
    return bool(text) and sum(part.stat().st_size for _, part in parts_of(log)) >= json.loads(text)["bytes"]


def _same(log: Path, said: dict[str, Any]) -> bool:
    digest = hashlib.sha256()
    for _, part in parts_of(log):
        with part.open("rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest() == said["sha256"]


def run_id_of(run: RunFolder) -> str:
    events = map(json.loads, run.events.read_text().splitlines())
    return str(next(event["run_id"] for event in events if event["kind"] == "run_started"))


def ours_of(run: RunFolder) -> dict[str, psutil.Process]:
    """The processes of a live run on this machine that are tflaunch's own, by name."""
    record = read_supervisor(run)
    assert record is not None
    found = {"supervisor": psutil.Process(record.pid)}
    names = {"tflaunch agent": "agent", "tflaunch keeper": "keeper", "tflaunch guard": "guard"}
    run_id = run_id_of(run)
    for process in psutil.process_iter():
        try:
            title, environ = " ".join(process.cmdline()), process.environ()
        except psutil.Error:
            continue
        name = next((name for words, name in names.items() if title.startswith(words)), "")
        if name and environ.get("TFLAUNCH_RUN") == run_id:
            found[name] = process
    return {**found, **dict(zip(["relay"], found["supervisor"].children(), strict=False))}


def _beats(run: RunFolder) -> Iterator[tuple[str, float, float]]:
    """Of each beat the task, when it was said, and how many seconds later it was recorded."""
    if not run.events.exists():
        return
    for line in run.events.read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "checkpoint_written":
            said = event["global_step"] / 1000
            yield event["task"], said, round(_recorded_at(event) - said, 2)


def _recorded_at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"].replace("Z", "+00:00")).timestamp()


def _rss_mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss / 2**20)
    except psutil.Error:
        return 0.0


def _wait(done: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not done():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
