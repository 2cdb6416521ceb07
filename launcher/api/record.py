"""What a run's folder tells, while the run goes on and after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launcher.api.result import Result
from launcher.record import reading, report, runs
from launcher.record.files import log_file
from launcher.views import summary
from launcher.wire.roles import TaskId


class RunRecord:
    """A run, live or over, as its folder shows it. ``folder``: with all that it leaves behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = runs.RunFolder(folder)

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.folder.name

    @property
    def live(self) -> bool:
        """Whether it goes on."""
        return runs.is_live(self._files)

    @property
    def report(self) -> dict[str, Any]:
        """``report.json``; of a live run what is known so far."""
        live = self.live
        return report.build_report(reading.load_view(self._files), self._files, live=live)

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

    def result(self) -> Result:
        """How it went; of a live run, how it stands, with ``live`` as its outcome and exit code 0."""
        found = self.report
        return Result(
            outcome=str(found["outcome"] or "live"),
            exit_code=found["exit_code"] if found["exit_code"] is not None else int(found["outcome"] is not None),
            cause=found["cause"],
            metrics={name: value for name, value in (found["metrics"] or {}).items() if name != "global_step"},
            report=found,
            folder=self.folder,
        )

    @property
    def summary(self) -> str:
        """What ``tflaunch`` says at the end of the run; of a live run where its tasks are."""
        if not self.live:
            return summary.summary(reading.load_view(self._files), self._files)
        found = self.report
        tasks = [f"  {task['task']:12} {task['state']}" for task in found["tasks"]]
        return "\n".join([f"live, global step {found['global_step']}", *tasks, ""])

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
        """Everything that a task has written, all attempts together; where ``policy.log_limit_mib`` has left something
        out, a line says how much. Raises KeyError as ``task`` does."""
        self.task(name)
        parts = [part for _, part in log_file.parts_of(self._files.log(TaskId.parse(name)))]
        return b"".join(part.read_bytes() for part in parts if part.exists()).decode(errors="replace")

    def __repr__(self) -> str:
        cause = self.cause
        return f"<run {self.name} {self.outcome or 'live'}{': ' + str(cause['message']) if cause else ''}>"
