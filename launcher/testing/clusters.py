"""Clusters in tests: what the pytest fixture ``tflaunch`` gives. Also for other test frameworks.

Each run is one of ``launcher.start``: should this process die, the run is ended by its supervisor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.api import flags
from launcher.api.record import RunRecord
from launcher.api.run import Run
from launcher.api.starting import launch


class ClusterRun(RunRecord):
    """A run of a cluster, live or over. ``run_dir``: its folder, with all that it leaves behind."""

    def __init__(self, run: Run) -> None:
        super().__init__(run.folder)
        self.run_dir = run.folder
        self._run = run

    def wait(self) -> ClusterRun:
        """Blocks until the run is over; gives the run."""
        self._run.wait()
        return self

    def stop(self, *, now: bool = False) -> ClusterRun:
        """Ends it as ``tflaunch stop`` does, with a last save and evaluation, or at once; blocks until it is over."""
        self._run.stop(now=now)
        return self

    def restart(self, task: str) -> None:
        """Restarts one task in place."""
        self._run.restart(task)

    def close(self) -> None:
        """Sees to it that nothing of it is left. Blocks, at most a minute."""
        self._run.close()


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

        ``options`` are more of ``tflaunch local``'s, such as ``["--restarts", "0"]``; ``env`` is set for its tasks.
        Raises TflaunchError, with what tflaunch said, if the run cannot be started.
        """
        __tracebackhide__ = True  # pytest shows the user's line
        given = {"ps": ps, "workers": workers, "inject": inject, "timeout_s": timeout_s, "env": env}
        words = ["local", *([str(spec)] if spec is not None else []), *flags.words(given)]
        words += [] if evaluator else ["--no-evaluator"]
        words += [*options, f"--run-dir={self._folder / f'tflaunch-{len(self.runs) + 1}'}"]
        words += ["--", *command] if command else []
        run = ClusterRun(launch(words, self._cwd, env))
        self.runs.append(run)
        return run

    def close(self) -> None:
        """Ends every run that goes on."""
        for run in self.runs:
            run.close()
