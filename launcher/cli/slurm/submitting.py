"""``tflaunch submit``: a run in a batch job of its own, and what that job does."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli import client, commands
from launcher.cli.resolve import Request, resolve
from launcher.hosts.slurm import submitted
from launcher.hosts.slurm.keys import SlurmKeys
from launcher.hosts.slurm.nodes import SlurmError, job_of
from launcher.hosts.slurm.script import batch_script
from launcher.hosts.sources import SLURM
from launcher.plan.plan import plan_from_json, plan_to_json, with_run_dir
from launcher.record import runs
from launcher.spec.load import to_tree
from launcher.views.terminal import complain, say
from launcher.wire.errors import HostError, UsageError

if TYPE_CHECKING:
    from launcher.plan.model import Plan

_TERMINATED = 143
_LOGIN = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TZ", "USER")  # what a job has, too


def submit(request: Request, runs_dir: Path, *, as_json: bool) -> int:
    """Plans, writes the job's script into the run's folder, and submits it."""
    plan = plan_of(request)
    if plan.engine != SLURM:
        raise UsageError("the spec has no engine: {slurm: …}: write one, or --slurm nodes=N")
    for note in plan.notes:
        complain(note)
    folder = commands.run_folder(request, runs_dir, plan.name)
    plan = with_run_dir(plan, str(folder.path))
    (folder.path / submitted.FOLDER).mkdir(mode=0o700)
    (folder.path / submitted.SCRIPT).write_text(script_of(plan, str(folder.path)), encoding="utf-8")
    body = {**plan_to_json(plan), client.INHERITS: []}
    runs.write_private(folder.plan, json.dumps(body, indent=1) + "\n")
    try:
        job = submitted.submit(folder.path)
    except SlurmError as error:
        shutil.rmtree(folder.path)  # made a moment ago, and nothing will come of it
        raise HostError("Slurm", "; ".join(filter(None, (str(error), error.advice)))) from error
    how = submitted.expected(submitted.facts_of(job))
    words = f"tflaunch: {folder.run} is Slurm job {job}: {how}; see it with: tflaunch status {folder.run}"
    say(json.dumps({"run": folder.run, "job": job}) if as_json else words)
    return 0


def plan_of(request: Request) -> Plan:
    """The plan of a run in a job of its own, which gets nothing of the environment here but what every login has."""
    environ = {name: request.environ[name] for name in _LOGIN if name in request.environ}
    return resolve(replace(request, environ=environ)).plan


def judged(script: str) -> str:
    """What Slurm says of such a job, in a line."""
    try:
        return f"Slurm says: {submitted.test_only(script)}"
    except SlurmError as error:
        return f"Slurm cannot be asked: {error}; {error.advice}" if error.advice else f"Slurm would refuse it: {error}"


def script_of(plan: Plan, folder: str) -> str:
    """The script of the job that carries out a plan."""
    argv = (sys.executable, "-m", "launcher", "carry-out", folder)
    return batch_script(keys_of(plan), name=plan.name, folder=folder, argv=argv)


def keys_of(plan: Plan) -> SlurmKeys:
    """What the plan's spec says of Slurm."""
    return SlurmKeys.model_validate(to_tree(plan.engine_keys))


def carry_out(path: Path) -> int:
    """In the job: starts the run that it was submitted for, or its next part, and shows it to its end."""
    folder, job = runs.RunFolder.open(path), job_of(os.environ)
    if not job or job != submitted.job_of(folder.path):
        raise UsageError(f"{folder.run} was submitted as Slurm job {submitted.job_of(folder.path)}, and this is not it")
    plan = plan_from_json(json.loads(folder.plan.read_text(encoding="utf-8")))
    most, before = keys_of(plan).requeue, int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    if folder.events.exists():
        if before > most:
            raise UsageError(f"Slurm job {job} was requeued {before} times, and engine.slurm.requeue is {most}")
        plan = replace(plan, inject=())  # drills were for the first part
    client.start_again(folder, plan, os.environ)
    code = commands.show_run(folder, own=True, as_json=False, plain=True)
    if code == _TERMINATED and before < most and submitted.is_taken_away(submitted.facts_of(job)):
        said = submitted.requeue(job) or f"Slurm job {job} waits again, and goes on where the run was saved"
        complain(said)
    return code
