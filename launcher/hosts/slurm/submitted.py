"""Jobs that were submitted for a run: which one a run has, and what Slurm says of it. Blocks."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from launcher.hosts.slurm import nodes, steps
from launcher.hosts.slurm.nodes import SlurmError

FOLDER = "submit"  # of a run's folder
SCRIPT = f"{FOLDER}/job.sbatch"
_RECORD = f"{FOLDER}/job.json"
_ACTIVE = (
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "SUSPENDED",
    "COMPLETING",
    "REQUEUED",
    "REQUEUE_HOLD",
    "RESIZING",
    "UNKNOWN",
)
_NEVER = (
    *("AccountNotAllowed", "BadConstraints", "InvalidAccount", "InvalidQOS", "QOSNotAllowed"),
    *("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit"),
)
_AWAY = re.compile(r"configuration source|Unable to contact|Connection refused|timed out", re.IGNORECASE)
_SUBMIT_S = 120.0
_TELL_S = 60.0


def submit(run: Path) -> str:
    """Hands a run's script to Slurm; the job's number. Raises SlurmError, also for a job that could never start, which
    many sites have wait for ever."""
    test_only((run / SCRIPT).read_text(encoding="utf-8"))
    said = asyncio.run(nodes.asked("sbatch", "--parsable", str(run / SCRIPT), limit_s=_SUBMIT_S))
    job = said.strip().partition(";")[0]
    if (why := facts_of(job).get("Reason", "")) in _NEVER:
        cancel(job)
        raise SlurmError(f"the job would wait for ever ({why})", "see the partition's limits: scontrol show partition")
    (run / _RECORD).write_text(json.dumps({"job": job}), encoding="utf-8")
    return job


def test_only(script: str) -> str:
    """When Slurm would start such a job, and where, in its own words. Raises SlurmError where it never would."""
    try:
        done = subprocess.run(
            ["sbatch", "--test-only"],
            input=script,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SUBMIT_S,
            check=False,
        )
    except OSError as error:
        raise SlurmError(f"sbatch cannot be started: {error.strerror}", "is Slurm in your PATH here?") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"sbatch has not answered within {_SUBMIT_S:g} s", "is slurmctld up?") from error
    said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
    if done.returncode:
        why = said.removeprefix("sbatch: ").removeprefix("error: ").removeprefix("fatal: ")
        advice = "is slurmctld up, and is this a machine of its cluster?" if _AWAY.search(why) else ""
        raise SlurmError(f"sbatch: {why}", advice)
    return said.removeprefix("sbatch: ")


def job_of(run: Path) -> str:
    """The job that was submitted for a run; empty if none was."""
    try:
        return str(json.loads((run / _RECORD).read_text(encoding="utf-8"))["job"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def facts_of(job: str) -> Mapping[str, str]:
    """What Slurm says of a job, by the names of scontrol; nothing of one that it knows no more. Where it cannot be
    asked its state is UNKNOWN."""
    try:
        said = asyncio.run(nodes.asked("scontrol", "--oneliner", "show", "job", job, limit_s=10.0))
    except SlurmError as error:
        return {} if "nvalid job id" in str(error) else {"JobState": "UNKNOWN"}
    return nodes.parsed(said).get(("JobId", job), {})


def is_active(facts: Mapping[str, str]) -> bool:
    """Whether the job waits, runs, or is about to end."""
    return facts.get("JobState", "") in _ACTIVE


def expected(facts: Mapping[str, str]) -> str:
    """How a job stands, in words: for what it waits, and until when."""
    state, reason, start = (facts.get(key, "") for key in ("JobState", "Reason", "StartTime"))
    if state != "PENDING":
        return state.lower()
    why = f" ({reason})" if reason not in ("", "None") else ""
    return f"waits{why}" + (f", expected to start at {start}" if start not in ("", "Unknown", "N/A") else "")


def cancel(job: str) -> str:
    """Takes a job that waits out of the queue; an error text, empty if that is done."""
    try:
        asyncio.run(nodes.asked("scancel", job))
    except SlurmError as error:
        return str(error)
    return ""


def requeue(job: str) -> str:
    """Has a job that is about to end wait again; an error text, empty if that is done."""
    try:
        asyncio.run(nodes.asked("scontrol", "requeue", job))
    except SlurmError as error:
        return str(error)
    return ""


def is_taken_away(facts: Mapping[str, str]) -> bool:
    """Whether Slurm ends the job for others, or for its time, and nobody has asked for that."""
    is_late = facts.get("JobState") == "TIMEOUT" or facts.get("Reason") == "TimeLimit"
    return is_late or facts.get("PreemptTime", "None") not in ("", "None")


def tell(job: str, node: str, run: Path, message: str, environ: Mapping[str, str]) -> str:
    """Hands a request to the run's supervisor, by a step on its node; an error text, empty if it was taken."""
    argv = [*steps.command({"job": job, "node": node}), sys.executable, "-m", "launcher", "tell", str(run), message]
    try:
        done = subprocess.run(
            argv,
            env=steps.environment(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TELL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it runs on {node}, in Slurm job {job}, which cannot be asked: {error}"
    if done.returncode:
        return (done.stdout or done.stderr).strip() or f"srun has ended with {done.returncode}"
    return ""
