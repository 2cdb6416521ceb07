"""Runs of tasks without TensorFlow: started, watched while they go on, and looked at afterwards."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.e2e.running import REPORT, TIMEOUT_S, Finished, alive, environment, tflaunch, tflaunch_argv

SCRIPT = str(Path(__file__).parent / "fake_cluster.py")
GOOD = {
    "ps": "listen,ready,hang",
    "chief": "gate,ready,step=10:320,finished=10,barrier,saved=10",
    "worker": "gate,ready,step=9:288,finished=9",
    "evaluator": "ready,drain",
}
ENDLESS = {**GOOD, "chief": "gate,ready,step=1,stop", "worker": "gate,ready,step=1,stop", "evaluator": "ready,hang"}

OPTIONS = ("--workers", "2", "--ps", "1", "--no-preload", "--plain", "--run-dir", "run")


def words(**roles: str) -> list[str]:
    return ["--", "python", SCRIPT, *(f"{pattern}={text}" for pattern, text in roles.items())]


def local(cwd: Path, *options: str, roles: dict[str, str] | None = None, run: str = "run", **env: str) -> Finished:
    return tflaunch("local", *OPTIONS, "--run-dir", run, *options, *words(**(roles or GOOD)), cwd=cwd, run=run, **env)


def run_id(folder: Path) -> str:
    return str(json.loads((folder / "events.jsonl").read_text().splitlines()[0])["run_id"])


def wait_until(what: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def events(folder: Path) -> list[dict[str, object]]:
    try:
        lines = (folder / "events.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("}")]


class Live:
    """A run in the foreground of a process of ours."""

    def __init__(self, cwd: Path, roles: dict[str, str], *options: str, argv: Sequence[str] = ()) -> None:
        self.folder = cwd / "run"
        command = words(**roles) if roles else []  # or it is in argv
        self.client = subprocess.Popen(
            [*tflaunch_argv(*(argv or ("local", *OPTIONS)), *options), *command],
            cwd=cwd,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, kind: str, **values: object) -> dict[str, object]:
        found: list[dict[str, object]] = []

        def there() -> bool:
            found[:] = [
                event
                for event in events(self.folder)
                if event["kind"] == kind and all(event[name] == value for name, value in values.items())
            ]
            return bool(found)

        wait_until(there)
        return found[-1]

    def until_training(self, *tasks: str) -> None:
        for task in tasks or ("chief:0", "worker:0", "worker:1"):
            self.wait_for("task_changed", task=task, state="training")

    def pid(self, task: str) -> int:
        pids = [
            event["pid"] for event in events(self.folder) if event["kind"] == "task_changed" and event["task"] == task
        ]
        return int(str([pid for pid in pids if pid][-1]))

    def supervisor(self) -> int:
        return int(json.loads((self.folder / "supervisor.json").read_text())["pid"])

    def end(self) -> tuple[int, str]:
        out, _ = self.client.communicate(timeout=TIMEOUT_S)
        return self.client.returncode, out

    def report(self) -> dict[str, object]:
        wait_until(lambda: (self.folder / REPORT).exists())
        return dict(json.loads((self.folder / REPORT).read_text()))

    def wait_until_gone(self) -> None:
        run = run_id(self.folder)
        wait_until(lambda: alive(run) == [])
