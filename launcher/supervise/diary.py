"""What a run leaves behind while it goes on: its events, samples of steps, stacks; at the end its report."""

from __future__ import annotations

import os
import socket
import time
from datetime import datetime, timezone

from launcher import __version__, causes, lifecycle
from launcher.plan.model import Plan
from launcher.record import events, report, runs
from launcher.record.event_log import EventLog
from launcher.record.states import exit_code
from launcher.timeline import samples
from launcher.wire import protocol
from launcher.wire.roles import TaskId


class Diary:
    """Of one run, in its folder."""

    def __init__(self, folder: runs.RunFolder) -> None:
        self._folder = folder
        self._log = EventLog(folder.events)
        self._began = time.monotonic()

    def record(self, event: events.RunEvent) -> None:
        self._log.append(event, datetime.now(timezone.utc))

    def warn(self, message: str, task: TaskId | None = None) -> None:
        self.record(events.Noticed(severity="warning", message=message, task=task.name if task is not None else None))

    def began(self, plan: Plan, run_id: str) -> None:
        self.record(
            events.RunStarted(
                run=self._folder.run,
                name=plan.name,
                pid=os.getpid(),
                host=socket.gethostname(),
                command=plan.tasks[0].argv,
                model_dir=plan.model_dir,
                run_dir=str(self._folder.path),
                tasks=tuple({"task": item.task.name, "host": item.host} for item in plan.tasks),
                max_steps=plan.max_steps,
                version=__version__,
                run_id=run_id,
                inject=plan.inject,
            )
        )

    def ended(self, end: lifecycle.End, global_step: int | None) -> int:
        """Writes the report, too; gives the exit code."""
        cause = end.cause
        code = exit_code(end.outcome, cause.kind if cause else None, end.how)
        self.record(
            events.RunEnded(
                outcome=end.outcome.value,
                exit_code=code,
                duration_s=round(time.monotonic() - self._began, 3),
                global_step=global_step,
                cause=causes.to_json(cause, run=self._name_for_commands()) if cause else None,
            )
        )
        self._log.close()
        report.write_report(report.load_view(self._folder), self._folder)
        return code

    def _name_for_commands(self) -> str:
        """What ``tflaunch logs`` and the like find this run by."""
        return self._folder.run if self._folder.path.parent.name == "runs" else str(self._folder.path)

    def keep_sample(self, task: TaskId, attempt: int, sample: protocol.Profiled) -> None:
        """One traced step, for the timeline."""
        try:
            path = samples.keep(self._folder.timeline, task, attempt, sample, time.time())
        except (OSError, ValueError) as error:
            self.warn(f"a sample for the timeline could not be kept: {error}", task)
            return
        step = sample.global_step
        self.record(events.ProfileTaken(task=task.name, attempt=attempt, global_step=step, path=str(path)))

    def keep_stacks(self, body: protocol.Stacks) -> None:
        """What a task was doing, for people."""
        path = self._folder.stacks(TaskId.parse(body.task))
        path.parent.mkdir(mode=0o700, exist_ok=True)
        waits = "".join(f"\nwaits for the file {file}" for file in body.files)
        head = f"attempt {body.attempt}, process {body.pid}, state {body.state}{waits}"
        runs.write_private(path, f"{head}\n\n{body.text}\n")
