"""The run folder: what a run leaves behind, and how a later command finds a live run.

``RunFolder`` alone knows the names of the files. A run is live while the process that ``supervisor.json`` names is
alive; since process ids are reused, its start time and the machine's boot id must match, too.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import socket
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from itertools import count
from pathlib import Path

from launcher.record.processes import boot_id, pid_namespace, start_time_ticks
from launcher.wire.errors import UsageError
from launcher.wire.roles import TaskId

_RUN_NAME = re.compile(r"(?P<name>.+)-(?P<time>\d{8}T\d{6}Z)(?:-(?P<nth>\d+))?")


class RunNotFoundError(UsageError):
    """No run, or more than one, answers to the name; the text says which ones there are."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder. Every path below it is named here and nowhere else."""

    path: Path

    @classmethod
    def create(cls, runs_dir: Path, name: str, now: datetime) -> RunFolder:
        """Makes ``<name>-<utc time>`` in ``runs_dir`` (0700), with ``-2``, ``-3``… if that second is taken."""
        runs_dir.mkdir(parents=True, exist_ok=True)
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"
        stem = f"{slug[:80]}-{now.astimezone(timezone.utc):%Y%m%dT%H%M%SZ}"
        for nth in count(1):
            path = runs_dir.absolute() / (stem if nth == 1 else f"{stem}-{nth}")
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            return cls(path)._filled()
        raise AssertionError("unreachable")

    @classmethod
    def create_at(cls, path: Path) -> RunFolder:
        """Makes ``path`` itself the run's folder (0700); raises FileExistsError if anything is in it."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise FileExistsError(f"{path} is not empty; a run needs a folder of its own")
        path.chmod(0o700)
        return cls(path.absolute())._filled()

    def _filled(self) -> RunFolder:
        self.logs.mkdir(mode=0o700)
        self.timeline.mkdir(mode=0o700)
        return self

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run folder at ``path``; raises RunNotFoundError if there is none."""
        folder = cls(Path(os.path.normpath(path.absolute())))  # without .., and a link stays a link
        if path.is_dir() and not os.access(path, os.X_OK):
            raise RunNotFoundError(f"{path} is a folder of another user, closed to you")
        if not folder.exists:
            raise RunNotFoundError(f"no run folder at {path}: it has no file events.jsonl or plan.json")
        return folder

    def held(self) -> RunFolder:
        """The same by a descriptor of this process, by which it is found wherever it is moved. Raises OSError."""
        return RunFolder(Path(f"/proc/self/fd/{os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)}"))

    @property
    def exists(self) -> bool:
        """Whether it is one; not where something else than a file, which could hold up its reader, has such a name."""
        files = (self.events, self.plan, self.snapshot, self.supervisor)
        try:
            there = [path for path in files if path.exists()]
            return bool({self.events, self.plan}.intersection(there)) and all(map(Path.is_file, there))
        except OSError:  # another user's
            return False

    @property
    def run(self) -> str:
        """The run's name among all runs: that of its folder."""
        return self.path.name

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def samples(self) -> Path:
        """The rings of what is sampled."""
        return self.path / "samples"

    @property
    def snapshot(self) -> Path:
        """Where the fold of events and samples was a while ago."""
        return self.path / "snapshot.json"

    @property
    def reserve(self) -> Path:
        """Room on the disk for the end of the run."""
        return self.path / ".reserve"

    @property
    def report(self) -> Path:
        return self.path / "report.json"

    @property
    def supervisor(self) -> Path:
        return self.path / "supervisor.json"

    @property
    def listeners_log(self) -> Path:
        return self.path / "listeners.log"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def timeline(self) -> Path:
        return self.path / "timeline"

    def log(self, task: TaskId) -> Path:
        """The full output of every attempt of the task."""
        return self.logs / f"{task.slug}.log"

    def stacks(self, task: TaskId) -> Path:
        """Where the task's threads were when the run hung."""
        return self.path / "stacks" / f"{task.slug}.txt"

    def logged_tasks(self) -> tuple[TaskId, ...]:
        """The tasks that have a log file, in order."""
        try:
            stems = [entry.stem for entry in self.logs.iterdir() if entry.suffix == ".log"]
        except OSError:
            return ()
        return tuple(sorted(task for task in map(_task_of, stems) if task is not None))


def _task_of(slug: str) -> TaskId | None:
    try:
        return TaskId.parse(slug)
    except ValueError:
        return None


# --- which run ---------------------------------------------------------------------------------------------------


def list_runs(runs_dir: Path) -> tuple[RunFolder, ...]:
    """Every run folder in ``runs_dir``, newest first; none if the folder does not exist."""
    try:
        folders = [RunFolder(entry.absolute()) for entry in runs_dir.iterdir() if entry.is_dir()]
    except OSError:
        return ()
    return tuple(sorted((folder for folder in folders if folder.exists), key=_age_key, reverse=True))


def _age_key(folder: RunFolder) -> tuple[str, int, str]:
    match = _RUN_NAME.fullmatch(folder.run)
    if match:
        return match["time"], int(match["nth"] or 1), folder.run
    started = datetime.fromtimestamp(folder.path.stat().st_mtime, timezone.utc)
    return f"{started:%Y%m%dT%H%M%SZ}", 0, folder.run


def find(runs_dir: Path, run: str | None = None) -> RunFolder:
    """The run of that name, unique prefix or path; without one the newest live run, else the newest.

    Raises RunNotFoundError, which names near misses.
    """
    runs = list_runs(runs_dir)
    if run is None:
        if not runs:
            raise RunNotFoundError(f"no runs in {runs_dir}; start one with `tflaunch local` or `tflaunch run SPEC`")
        return next((folder for folder in runs if is_live(folder)), runs[0])
    names = {folder.run: folder for folder in runs}
    if run.rstrip("/") in names:  # as a shell completes it
        return names[run.rstrip("/")]
    if "/" in run or run in (".", "..") or (run and RunFolder(Path(run)).exists):
        return RunFolder.open(Path(run))
    matches = [name for name in names if name.startswith(run)] if run else []
    if len(matches) == 1:
        return names[matches[0]]
    raise RunNotFoundError(_miss(run, runs_dir, matches, list(names)))


def _miss(run: str, runs_dir: Path, matches: list[str], names: list[str]) -> str:
    if matches:
        more = f" and {len(matches) - 5} more" if len(matches) > 5 else ""
        return f"{run!r} names {len(matches)} runs: {', '.join(matches[:5])}{more}; write more of the name"
    near = difflib.get_close_matches(run, names, n=3, cutoff=0.4) or names[:3]
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return f"no run {run!r} in {runs_dir}{hint}"


# --- live or not -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisorRecord:
    """Which process supervises the run. ``start_time_ticks``: field 22 of ``/proc/<pid>/stat``, see proc(5)."""

    pid: int
    start_time_ticks: int
    boot_id: str
    socket: str
    host: str
    pid_namespace: str = ""


def this_supervisor(socket_path: Path) -> SupervisorRecord:
    """The record of the calling process."""
    pid = os.getpid()
    ticks = start_time_ticks(pid)
    return SupervisorRecord(
        pid=pid,
        start_time_ticks=ticks or 0,
        boot_id=boot_id(),
        socket=str(socket_path),
        host=socket.gethostname(),
        pid_namespace=pid_namespace(),
    )


def write_supervisor(folder: RunFolder, record: SupervisorRecord) -> None:
    """Makes the run findable as live."""
    write_private(folder.supervisor, json.dumps(asdict(record), indent=2) + "\n")


def read_supervisor(folder: RunFolder) -> SupervisorRecord | None:
    """Who supervises the run; None if nobody has said so."""
    try:
        body = json.loads(folder.supervisor.read_text(encoding="utf-8"))
        read = SupervisorRecord(**{key: body[key] for key in SupervisorRecord.__slots__ if key in body})
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    numbers, texts = (read.pid, read.start_time_ticks), (read.boot_id, read.socket, read.host, read.pid_namespace)
    is_one = all(type(number) is int for number in numbers) and all(isinstance(text, str) for text in texts)
    return read if is_one else None


def is_live(folder: RunFolder) -> bool:
    """Whether the run's supervisor is alive on this machine: the same process, not one that has its number now."""
    record = read_supervisor(folder)
    return record is not None and is_of_here(record) and start_time_ticks(record.pid) == record.start_time_ticks


def is_of_here(record: SupervisorRecord) -> bool:
    """Whether it names a process, alive or dead, that this one could see: of this boot of this machine, and of this PID
    namespace."""
    is_seen = record.pid_namespace in ("", pid_namespace())
    return record.host == socket.gethostname() and record.boot_id == boot_id() and is_seen


def elsewhere(folder: RunFolder) -> str:
    """Where its supervisor lives, or has lived, if that cannot be seen from here; empty if it can."""
    record = read_supervisor(folder)
    if record is None or is_of_here(record):
        return ""
    if record.host != socket.gethostname():
        return record.host
    return f"{record.host} (in another PID namespace)" if record.boot_id == boot_id() else ""


# --- files -----------------------------------------------------------------------------------------------------


def write_private(path: Path, text: str) -> None:
    """Writes a file as a whole or not at all (0600): a reader sees the old text or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
