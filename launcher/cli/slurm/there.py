"""A run in a Slurm job, seen from the login node: by its files, and by what Slurm says of the job."""

from __future__ import annotations

import os
import time

from launcher.record import reading, report, runs
from launcher.record.states import Outcome
from launcher.wire.protocol import JsonValue, Message, encode

_LOOK_AGAIN_S = 2.0  # slurmctld has others to answer
_seen: dict[str, tuple[float, bool]] = {}


def _job_of(folder: runs.RunFolder) -> str:
    """The job that was submitted for the run; empty if none was. What asks Slurm is imported only if there is one."""
    if not (folder.path / "submit" / "job.json").exists():
        return ""
    from launcher.hosts.slurm import submitted

    return submitted.job_of(folder.path)


def goes_on(folder: runs.RunFolder) -> bool:
    """Whether the run is live here, or is, or will be, or will be again, in a Slurm job."""
    if runs.is_live(folder):
        return True
    job = _job_of(folder)
    return bool(job) and _is_active(job)


def _is_active(job: str) -> bool:
    from launcher.hosts.slurm import submitted

    at, was = _seen.get(job, (0.0, False))
    if not at or time.monotonic() > at + _LOOK_AGAIN_S:
        was = submitted.is_active(submitted.facts_of(job))
        _seen[job] = (time.monotonic(), was)
    return was


def ask(folder: runs.RunFolder, message: Message) -> str | None:
    """Sends a request to a run in a Slurm job: an error text, empty if it was taken; None if it is in none."""
    job = _job_of(folder)
    if not job:
        return None
    from launcher.hosts.slurm import submitted

    facts = submitted.facts_of(job)
    if facts.get("JobState") != "RUNNING":
        return f"{folder.run} is Slurm job {job}, which {submitted.expected(facts) or 'Slurm knows no more'}"
    return submitted.tell(job, facts.get("BatchHost", ""), folder.path, encode(message).decode().strip(), os.environ)


def stop_waiting(folder: runs.RunFolder) -> str | None:
    """Takes a job that waits, or waits again, out of the queue: what is to be said of it; None if there is none."""
    job = _job_of(folder)
    if not job:
        return None
    from launcher.hosts.slurm import submitted

    if submitted.facts_of(job).get("JobState") != "PENDING":
        return None
    return submitted.cancel(job) or f"{folder.run} waits no more: Slurm job {job} is cancelled"


def status(folder: runs.RunFolder) -> dict[str, JsonValue] | None:
    """The status of a run that was submitted and has not ended, or goes on later; None of any other."""
    job = _job_of(folder)
    if not job:
        return None
    view = reading.load_view(folder)
    if view.ended and view.outcome is not Outcome.INTERRUPTED:
        return None
    from launcher.hosts.slurm import submitted

    facts = submitted.facts_of(job)
    is_active = submitted.is_active(facts)
    if view.ended and not is_active:
        return None
    note = f"Slurm job {job}: {submitted.expected(facts) or 'not known to Slurm any more'}"
    state = report.status_json(view, live=is_active or runs.is_live(folder))
    return {**state, "run": view.run or folder.run, "note": note}
