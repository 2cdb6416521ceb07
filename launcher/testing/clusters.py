"""Clusters in tests: what the pytest fixture ``tflaunch`` gives. Also for other test frameworks.

Each run is a detached one that this process owns: should this process die, the run is ended by its supervisor.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.record import report, runs
from launcher.record.states import StopHow
from launcher.supervise import control
from launcher.views import summary
from launcher.wire.errors import TflaunchError
from launcher.wire.roles import TaskId

_POLL_S = 0.02
_END_PATIENCE_S = 60.0


class ClusterRun:
    """A run of a cluster, live or over. ``run_dir``: its folder, with all that it leaves behind."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._folder = runs.RunFolder(run_dir)
        self._line: control.Control | None = None

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.run_dir.name

    @property
    def report(self) -> dict[str, Any]:
        """``report.json``; of a live run what is known so far."""
        live = self._is_live()
        return report.build_report(report.load_view(self._folder), self._folder, live=live)

    @property
    def outcome(self) -> str | None:
        """``succeeded``, ``failed``, ``timed_out``, ``interrupted`` or ``lost``; None while it runs."""
        outcome = self.report["outcome"]
        return None if outcome is None else str(outcome)

    @property
    def succeeded(self) -> bool:
        """Whether it has ended, and well."""
        return self.outcome == "succeeded"

    @property
    def cause(self) -> dict[str, Any] | None:
        """The first cause of a failure: task, host, kind, exit, message, advice."""
        cause = self.report["cause"]
        return None if cause is None else dict(cause)

    @property
    def summary(self) -> str:
        """What ``tflaunch`` says at the end of the run; of a live run where its tasks are."""
        if not self._is_live():
            return summary.summary(report.load_view(self._folder), self._folder)
        tasks = [f"  {task['task']:12} {task['state']}" for task in self.report["tasks"]]
        return "\n".join([f"live, global step {self.report['global_step']}", *tasks, ""])

    @property
    def model_dir(self) -> Path | None:
        """The folder of the checkpoints, metrics and exports."""
        folder = self.report["model_dir"]
        return None if folder is None else Path(folder)

    def task(self, name: str) -> dict[str, Any]:
        """What the report says of one task, such as ``worker:0``. Raises KeyError if the run has none of that name."""
        for task in self.report["tasks"]:
            if task["task"] == name:
                return dict(task)
        raise KeyError(name)

    def log(self, name: str) -> str:
        """Everything that a task has written, all attempts together. Raises KeyError as ``task`` does."""
        self.task(name)
        file = self._folder.log(TaskId.parse(name))
        return file.read_text(errors="replace") if file.exists() else ""

    def wait(self) -> ClusterRun:
        """Blocks until the run is over; gives the run."""
        while self._is_live():
            time.sleep(_POLL_S)
        self._let_go()
        return self

    def stop(self, *, now: bool = False) -> ClusterRun:
        """Ends it as ``tflaunch stop`` does, with a last save and evaluation, or at once; blocks until it is over."""
        self._ask(control.AskStop(how=(StopHow.KILL if now else StopHow.STOP).value, by="a test"))
        return self.wait()

    def restart(self, task: str) -> None:
        """Restarts one task in place."""
        self._ask(control.AskRestart(task=task))

    def close(self) -> None:
        """Sees to it that nothing of it is left. Blocks, at most a minute."""
        deadline = time.monotonic() + _END_PATIENCE_S
        if self._is_live():
            self.own()
            self._ask(control.AskStop(how=StopHow.KILL.value, by="the end of its test"))
        while self._is_live() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self._let_go()

    def own(self) -> None:
        """From now on the run ends with this process."""
        record = runs.read_supervisor(self._folder)
        if record is None or self._line is not None:
            return
        try:
            self._line = control.Control(record.socket)
            self._line.ask(control.Own())
        except OSError:
            return  # it has just ended

    def _is_live(self) -> bool:
        return runs.is_live(self._folder)

    def _ask(self, message: control.AskStop | control.AskRestart) -> None:
        if self._line is not None:
            try:
                self._line.ask(message)
            except OSError:
                return  # it has just ended

    def _let_go(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def __repr__(self) -> str:
        cause = self.cause
        return f"<run {self.name} {self.outcome or 'live'}{': ' + str(cause['message']) if cause else ''}>"


class Clusters:
    """Starts runs of tflaunch, each in a folder of its own below ``folder``, with ``cwd`` as the working folder."""

    def __init__(self, *, folder: Path, cwd: Path) -> None:
        self.runs: list[ClusterRun] = []
        self._folder = folder
        self._cwd = cwd

    def __call__(self, *command: str, **options: Any) -> ClusterRun:
        """``start``, then wait for the end."""
        __tracebackhide__ = True
        return self.start(*command, **options).wait()

    def start(
        self,
        *command: str,
        spec: str | Path | None = None,
        ps: int | None = None,
        workers: int | None = None,
        evaluator: bool = True,
        inject: Sequence[str] = (),
        timeout_s: float | None = 600.0,
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> ClusterRun:
        """Starts a cluster of ``command`` (``"train.py", "--lr", "0.1"``) and returns while it runs.

        ``options`` are more of ``tflaunch local``'s, such as ``["--restarts", "0"]``; ``env`` is set for tflaunch and
        its tasks. Raises TflaunchError, with what tflaunch said, if the run cannot be started.
        """
        __tracebackhide__ = True  # pytest shows the user's line
        run = ClusterRun(self._folder / f"tflaunch-{len(self.runs) + 1}")
        words = ["local", *([str(spec)] if spec is not None else [])]
        words += [f"--{name}={value}" for name, value in (("ps", ps), ("workers", workers)) if value is not None]
        words += [] if evaluator else ["--no-evaluator"]
        words += [f"--inject={fault}" for fault in inject]
        words += [] if timeout_s is None else [f"--timeout-s={timeout_s:g}"]
        words += [f"--env={name}" for name in env or ()]
        words += [*options, "--detach", f"--run-dir={run.run_dir}", *(["--", *command] if command else [])]
        self.runs.append(run)
        error = _launch(words, self._cwd, {**os.environ, **(env or {})})
        if error:
            self.runs.remove(run)
            raise TflaunchError(error)
        run.own()
        return run

    def close(self) -> None:
        """Ends every run that goes on."""
        for run in self.runs:
            run.close()


def _launch(words: Sequence[str], cwd: Path, env: Mapping[str, str]) -> str:
    """Starts a detached run; gives what tflaunch said if it could not. Ctrl-C comes after the run has a supervisor,
    which can be told to end it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "launcher", *words],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        said = process.communicate()[1]
    except BaseException:
        process.communicate(timeout=_END_PATIENCE_S)
        raise
    return (said.strip() or f"tflaunch ended with {process.returncode}") if process.returncode else ""
