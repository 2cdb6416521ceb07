"""What a run leaves behind while it goes on: its events, samples of steps, stacks; at the end its report."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from launcher import __version__, causes, lifecycle
from launcher.plan.model import Plan
from launcher.record import events, reading, report, runs, snapshot
from launcher.record.course.parts import Former, former_of
from launcher.record.event_log import EventLog
from launcher.record.sampling.sampler import SAMPLED, Sampler
from launcher.record.sampling.samples import AnySample
from launcher.record.states import TaskState, exit_code
from launcher.record.view import RunView
from launcher.timeline import samples
from launcher.wire import protocol
from launcher.wire.roles import TaskId

SNAPSHOT_S = 30.0
_RESERVE_BYTES = 256 * 1024


class Diary:
    """Of one run, in its folder, wherever that is moved."""

    def __init__(self, folder: runs.RunFolder) -> None:
        self._folder = folder
        self._files = folder.held()
        self._log = EventLog(self._files.events)
        self._sampler = Sampler(self._files.samples)
        self._view = reading.load_view(folder) if folder.events.exists() else RunView()
        self._began = time.monotonic()
        self._saved_at = self._began
        self._full_since: datetime | None = None
        self._trouble = ""
        self._lost_rows = 0
        self._reserve()

    @property
    def former(self) -> Former:
        """From where the run counts on, if it has been started before."""
        return former_of(self._view.started, self._view.generation, self._view.tasks.values())

    def log_of(self, task: TaskId) -> Path:
        """Where its output goes."""
        return self._files.log(task)

    def record(self, event: events.RunEvent) -> None:
        """Writes down what happened, and of what is sampled as much as is kept. Never raises: what a full disk has no
        room for waits in memory, and it is said when there is room again."""
        now = datetime.now(timezone.utc)
        self._look_after_disk(now)
        if isinstance(event, SAMPLED):
            if isinstance(event, events.Progressed) and self._sampler.is_first(event):
                self._write(event, now)
            self._take(self._sampler.take(event, now.timestamp()))
        else:
            if isinstance(event, events.TaskChanged):
                self._attempt(event, now)
            self._write(event, now)
        if time.monotonic() - self._saved_at >= SNAPSHOT_S:
            self._save()

    def _attempt(self, event: events.TaskChanged, now: datetime) -> None:
        task, state = TaskId.parse(event.task), TaskState(event.state)
        self._sampler.begun(task, event.attempt)
        if state.final or state is TaskState.BACKOFF:
            samples, whole = self._sampler.over(task, now.timestamp())
            self._take(samples)
            if whole is not None:
                self._write(whole, now)

    def _look_after_disk(self, now: datetime) -> None:
        """Writes what waits, once there is room, and says what a full disk has cost."""
        if self._full_since is None:
            if not (self._log.waiting or self._sampler.lost):
                return
            self._full_since, self._trouble = now, self._log.trouble or self._sampler.trouble
        lost, self._sampler.lost = self._sampler.lost, 0
        self._lost_rows += lost
        if self._log.flush() and not lost:
            self._tell_of_disk(now)

    def _tell_of_disk(self, now: datetime) -> None:
        if self._full_since is None:
            return
        seconds = max(0.0, (now - self._full_since).total_seconds())
        words = [f"the run's folder could not be written for {seconds:.0f} s ({self._trouble})"]
        words += [f"{self._log.lost:,} events are lost"] if self._log.lost else []
        words += [f"{self._lost_rows:,} samples are lost"] if self._lost_rows else []
        self._full_since, self._lost_rows, self._log.lost = None, 0, 0
        self._write(events.Noticed(severity="warning", message="; ".join(words)), now)

    def _write(self, event: events.RunEvent, now: datetime) -> None:
        self._view.apply(self._log.append(event, now))

    def _take(self, samples: Iterable[AnySample]) -> None:
        for sample in samples:
            self._view.take(sample)

    def _save(self) -> None:
        """So that whoever looks at the run need not read all of it."""
        self._saved_at = time.monotonic()
        if self._log.waiting:
            return
        found = snapshot.Snapshot(view=self._view, offset=self._log.size, places=self._sampler.places)
        with contextlib.suppress(OSError):  # they read all of it then
            snapshot.save(self._files.snapshot, found)

    def warn(self, message: str, task: TaskId | None = None) -> None:
        self.record(events.Noticed(severity="warning", message=message, task=task.name if task is not None else None))

    def began(self, plan: Plan, run_id: str) -> None:
        with contextlib.suppress(OSError):  # of the part before
            self._files.report.unlink()
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
                part=self.former.part + 1,
            )
        )

    def ended(self, end: lifecycle.End, global_step: int | None) -> int:
        """Writes the report, too; gives the exit code."""
        with contextlib.suppress(OSError):
            self._files.reserve.unlink()
        now = datetime.now(timezone.utc)
        self._look_after_disk(now)
        self._tell_of_disk(now)
        if (counted := self._sampler.input_over()) is not None:
            self._write(counted, now)
        cause = end.cause
        code = exit_code(end.outcome, cause.kind if cause else None, end.how)
        self.record(
            events.RunEnded(
                outcome=end.outcome.value,
                exit_code=code,
                duration_s=round(time.monotonic() - self._began, 3),
                global_step=global_step,
                cause=causes.to_json(cause, run=report.name_for_commands(self._folder.path)) if cause else None,
            )
        )
        self._save()
        self._log.close()
        self._sampler.close()
        try:
            report.write_report(self._view, self._folder, self._files.report)
        except OSError as error:
            sys.excepthook(type(error), error, error.__traceback__)  # into supervisor.log
        return code

    def _reserve(self) -> None:
        """Room for the last words, which a disk that is full in the end would have none for."""
        with contextlib.suppress(OSError):
            fd = os.open(self._files.reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, _RESERVE_BYTES)
            finally:
                os.close(fd)

    def keep_sample(self, task: TaskId, attempt: int, sample: protocol.Profiled) -> None:
        """One traced step, for the timeline."""
        try:
            path = samples.keep(self._files.timeline, task, attempt, sample, time.time())
        except (OSError, ValueError) as error:
            self.warn(f"a sample for the timeline could not be kept: {error}", task)
            return
        step = sample.global_step
        named = self._folder.timeline / path.name
        self.record(events.ProfileTaken(task=task.name, attempt=attempt, global_step=step, path=str(named)))

    def keep_stacks(self, body: protocol.Stacks) -> None:
        """What a task was doing, for people."""
        path = self._files.stacks(TaskId.parse(body.task))
        waits = "".join(f"\nwaits for the file {file}" for file in body.files)
        head = f"attempt {body.attempt}, process {body.pid}, state {body.state}{waits}"
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            runs.write_private(path, f"{head}\n\n{body.text}\n")
        except OSError as error:
            self.warn(f"the stacks of a task could not be kept: {error}", TaskId.parse(body.task))
