"""Runs ``tflaunch`` as a user does, and looks at what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.wire.protocol import RUN_VARIABLE

TIMEOUT_S = float(os.environ.get("TFLAUNCH_TEST_TIMEOUT_S", 240))
REPORT = "report.json"


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A ``tflaunch`` that has ended. ``report`` is None if it made no run."""

    code: int
    stdout: str
    stderr: str
    run_dir: Path
    report: dict[str, Any] | None

    def task(self, name: str) -> dict[str, Any]:
        assert self.report is not None, self.stderr
        return next(task for task in self.report["tasks"] if task["task"] == name)

    def log(self, name: str) -> str:
        return (self.run_dir / "logs" / f"{name.replace(':', '-')}.log").read_text(errors="replace")


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would change a run."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "TFLAUNCH_"))}
    return {**env, **more}


def tflaunch_argv(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "launcher", *arguments]


def tflaunch(*arguments: str, cwd: Path, run: str = "run", limit: str = "", **env: str) -> Finished:
    """Runs one command line in ``cwd`` to its end. ``run``: the folder that it was told by ``--run-dir``, if it was;
    ``limit``: what a shell is to do before, such as ``ulimit -v 4000000``."""
    argv = tflaunch_argv(*arguments)
    done = subprocess.run(
        ["sh", "-c", f'{limit} && exec "$@"', "sh", *argv] if limit else argv,
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
        check=False,
    )
    return finished(cwd / run, done.returncode, done.stdout, done.stderr)


def finished(folder: Path, code: int, stdout: str, stderr: str) -> Finished:
    report = json.loads((folder / REPORT).read_text()) if (folder / REPORT).exists() else None
    return Finished(code=code, stdout=stdout, stderr=stderr, run_dir=folder, report=report)


def alive(run: str) -> list[int]:
    """The processes whose environment says that they belong to the run."""
    wanted = f"{RUN_VARIABLE}={run}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
