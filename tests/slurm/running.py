"""Runs ``tflaunch`` as a user of the login node does."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.running import REPORT, environment, tflaunch_argv
from tests.hosts.running import FAKE_CLUSTER, GOOD
from tests.slurm.lab import NODES, Lab, until

ROLES = {
    "ps": {"count": 2, "on": ["node-[0-1]"]},
    "chief": {"on": ["node-0"]},
    "worker": {"count": 3, "on": ["node-[0-2]"]},
    "evaluator": {"on": ["node-2"]},
}


def spec(words: Mapping[str, str] | None = None, **keys: object) -> dict[str, Any]:
    """A spec of the fake cluster over three nodes. ``keys``: what to set or replace in it."""
    command = ["python", FAKE_CLUSTER, *(f"{task}={text}" for task, text in (words or GOOD).items())]
    return {"command": command, "engine": {"slurm": {"nodes": 3}}, "roles": ROLES, "preload": [], **keys}


class Seen:
    """A run in a folder that all nodes see."""

    def __init__(self, slurm: Lab, cwd: Path) -> None:
        self.slurm = slurm
        self.cwd = cwd
        self.folder = cwd / "run"

    @property
    def said(self) -> str:
        return ""

    def check_alive(self) -> None:
        """Fails when there is nothing more to wait for."""

    @property
    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / REPORT).read_text()))

    def events(self, kind: str, **values: object) -> list[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError):
            lines = (self.folder / "events.jsonl").read_text().splitlines()
            found = [json.loads(line) for line in lines if line.endswith("}")]
            return [each for each in found if each["kind"] == kind and values.items() <= each.items()]
        return []

    def until(self, kind: str, *, timeout_s: float = 90.0, **values: object) -> dict[str, Any]:
        def happened() -> bool:
            self.check_alive()
            return bool(self.events(kind, **values))

        until(happened, f"{kind} {values}", lambda: self.said + self.slurm.words(), timeout_s)
        return self.events(kind, **values)[-1]

    def until_training(self, *tasks: str) -> None:
        for task in tasks or ("chief:0", "worker:0", "worker:1", "worker:2"):
            self.until("task_changed", task=task, state="training")

    def log(self, task: str) -> str:
        return (self.folder / "logs" / f"{task.replace(':', '-')}.log").read_text(errors="replace")


class Batch(Seen):
    """A run in a batch job."""

    def __init__(self, slurm: Lab, cwd: Path, job: str) -> None:
        super().__init__(slurm, cwd)
        self.job = job

    @property
    def said(self) -> str:
        paths = [*self.cwd.glob("said.txt"), *self.folder.glob("submit/job-*.out")]
        return "".join(path.read_text(errors="replace") for path in paths)

    @property
    def state(self) -> str:
        """As Slurm has it."""
        return self.slurm.job(self.job)["JobState"]

    def check_alive(self) -> None:
        assert self.state in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "COMPLETED"), self.said

    def end(self, timeout_s: float = 120.0) -> str:
        """How Slurm says that the job has ended."""
        over = ("CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "PREEMPTED", "TIMEOUT")
        until(lambda: self.state in over, "the end of the job", lambda: self.said + self.slurm.words(), timeout_s)
        return self.state


class Running(Seen):
    """A command line of ours, on the login node."""

    def __init__(self, slurm: Lab, cwd: Path, before: tuple[str, ...], arguments: tuple[str, ...], **env: str) -> None:
        super().__init__(slurm, cwd)
        self._said = (cwd / f"said-{len(list(cwd.iterdir()))}.txt").open("w+")
        self.process = subprocess.Popen(
            [*before, *tflaunch_argv(*arguments)],
            cwd=cwd,
            env={**environment(), **slurm.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def said(self) -> str:
        self._said.seek(0)
        return self._said.read()

    def check_alive(self) -> None:
        assert self.process.poll() in (None, 0), self.said

    def end(self, timeout_s: float = 120.0) -> int:
        return self.process.wait(timeout_s)

    def close(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        with contextlib.suppress(OSError, ValueError, KeyError):
            os.kill(json.loads((self.folder / "supervisor.json").read_text())["pid"], signal.SIGKILL)
        self._said.close()


def until_gone(slurm: Lab, *nodes: str) -> None:
    """Waits until nothing of a run is left on any node, files included."""

    def left() -> dict[str, dict[int, str]]:
        return {name: found for name in nodes or NODES if (found := slurm.processes(name))}

    until(lambda: not left(), "the end of what runs there", lambda: str(left()))
    for name in nodes or NODES:
        assert "tflaunch" not in slurm.inside(name, "ls", "/tmp")


def ask(command: str, run: Seen, *more: str) -> str:
    """What another command of ours says of a run, on the login node."""
    return run.slurm.run(*tflaunch_argv(command, str(run.folder), *more))


Start = Callable[..., Running]
Submit = Callable[..., Batch]


@pytest.fixture
def place(slurm: Lab, request: pytest.FixtureRequest) -> Path:
    """A folder that all nodes see."""
    made = slurm.shared / request.node.name.replace("[", "-").replace("]", "")[:60]
    made.mkdir()
    return made


@pytest.fixture
def inside(slurm: Lab, place: Path) -> Iterator[Start]:
    """Starts ``tflaunch run`` inside a job of three nodes."""
    started: list[Running] = []

    def start(written: Mapping[str, object], *options: str, salloc: tuple[str, ...] = (), **env: str) -> Running:
        (place / "spec.yaml").write_text(yaml.safe_dump(dict(written), allow_unicode=True))
        before = ("salloc", "--quiet", "--no-kill", "-N3", *salloc)
        started.append(
            Running(slurm, place, before, ("run", "spec.yaml", "--plain", "--run-dir", "run", *options), **env)
        )
        return started[-1]

    yield start
    for run in started:
        run.close()


@pytest.fixture
def batch(slurm: Lab, place: Path) -> Submit:
    """Submits a script that runs ``tflaunch run`` on three nodes."""

    def start(written: Mapping[str, object], *options: str) -> Batch:
        (place / "spec.yaml").write_text(yaml.safe_dump(dict(written), allow_unicode=True))
        words = shlex.join(tflaunch_argv("run", "spec.yaml", "--plain", "--run-dir", "run"))
        script = place / "job.sh"
        script.write_text(f"#!/bin/sh\nexec {words}\n")
        how = ("--parsable", "--no-kill", "--no-requeue", "-N3", "-o", str(place / "said.txt"))
        job = slurm.run("sbatch", *how, f"--chdir={place}", *options, str(script)).strip()
        return Batch(slurm, place, job)

    return start


@pytest.fixture
def submitted(slurm: Lab, place: Path) -> Submit:
    """Submits a run with ``tflaunch submit``."""

    def start(written: Mapping[str, object], *options: str, run: str = "run", **env: str) -> Batch:
        (place / "spec.yaml").write_text(yaml.safe_dump(dict(written), allow_unicode=True))
        argv = tflaunch_argv("submit", "spec.yaml", "--run-dir", run, "--json", *options)
        made = Batch(slurm, place, json.loads(slurm.run(*argv, cwd=place, **env))["job"])
        made.folder = place / run
        return made

    return start
