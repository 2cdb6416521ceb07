"""All of it as a user who is not root, with an environment that he may enter and cannot change."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.hosts.namespaces import REPOSITORY
from tests.hosts.running import ENDLESS, GOOD
from tests.slurm.lab import Lab, until
from tests.slurm.running import Batch, spec, until_gone

NAME = "tflaunch-test"
PYTHON = "/usr/bin/python3"
NEEDED = ("click", "fabric", "google-re2", "packaging", "pathspec", "psutil", "pydantic", "pyyaml", "rich")


@pytest.fixture(scope="module")
def user() -> Iterator[str]:
    """One of this machine's, and so of every node's."""
    subprocess.run(["userdel", "--remove", NAME], capture_output=True, check=False)
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", NAME], check=True)
    yield NAME
    subprocess.run(["userdel", "--remove", "--force", NAME], capture_output=True, check=False)


@pytest.fixture(scope="module")
def python(whole_lab: Lab) -> str:
    """Of an environment with what the command line needs, which all may enter."""
    place = whole_lab.shared / "environment"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", place], check=True)
    pip = (sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install", "--quiet")
    lock = REPOSITORY / "requirements" / "lock.txt"
    subprocess.run([*pip, "--disable-pip-version-check", "--constraint", lock, *NEEDED], check=True)
    (packages,) = place.glob("lib/python3*/site-packages")
    leave_out = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(REPOSITORY / "launcher", packages / "launcher", ignore=leave_out)
    for name in ("fake_task.py", "e2e/fake_cluster.py"):
        (place / "tests" / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / "tests" / name, place / "tests" / name)
    return str(place / "bin" / "python")


class Own(Batch):
    """His run, and what he says of it."""

    def __init__(self, slurm: Lab, cwd: Path, user: str, python: str) -> None:
        super().__init__(slurm, cwd, "")
        self._as = (
            "runuser",
            "-u",
            user,
            "--",
            "env",
            f"SLURM_CONF={slurm.folder}/slurm.conf",
            python,
            "-m",
            "launcher",
        )

    def asks(self, *words: str) -> str:
        """Whatever the exit code is."""
        return self.slurm.run(*self._as, *words, cwd=self.cwd, check=False)


@pytest.fixture
def own(slurm: Lab, place: Path, user: str, python: str) -> Own:
    shutil.chown(place, user, user)
    return Own(slurm, place, user, python)


def submit(run: Own, python: str, words: dict[str, str]) -> None:
    program = str(Path(python).parents[1] / "tests" / "e2e" / "fake_cluster.py")
    command = [python, program, *(f"{task}={text}" for task, text in words.items())]
    (run.cwd / "spec.yaml").write_text(yaml.safe_dump(spec(command=command)))
    run.job = json.loads(run.asks("submit", "spec.yaml", "--run-dir", "run", "--json"))["job"]


def test_a_good_run(own: Own, python: str) -> None:
    submit(own, python, GOOD)
    assert own.end() == "COMPLETED", own.said
    assert own.report["outcome"] == "succeeded", own.said
    assert {path.owner() for path in own.folder.rglob("*")} == {NAME}
    until_gone(own.slurm)


def test_it_is_steered_and_stopped(own: Own, python: str) -> None:
    submit(own, python, {**ENDLESS, "evaluator": "ready,drain"})
    own.until_training()
    own.asks("restart", "run", "worker:1")
    own.until("task_changed", task="worker:1", attempt=2, state="training")
    assert "INTERRUPTED" in own.asks("stop", "run").upper()
    until(lambda: own.report["outcome"] == "interrupted", "its end", lambda: own.said)
    until_gone(own.slurm)


def test_the_doctor(own: Own, python: str) -> None:
    submit(own, python, GOOD)
    own.end()
    found = json.loads(own.asks("doctor", "spec.yaml", "--json"))
    levels = {each["host"]: each["level"] for each in found["checks"] if each["check"] == "run folder"}
    assert levels == dict.fromkeys(("node-0", "node-1", "node-2"), "ok")
