"""``tflaunch doctor`` for a run on Slurm's nodes: Slurm is asked what it thinks of the job, and the nodes are looked at
as other hosts are, in a job of a few minutes or in the one that there is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli.slurm.submitting import keys_of, script_of
from launcher.hosts.slurm import nodes, script, submitted
from launcher.hosts.slurm.nodes import SlurmError, job_of
from launcher.views.terminal import complain
from launcher.wire.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.plan.model import Plan

_WAIT_S = 30
_MINUTES = 10


def in_a_job(plan: Plan, environ: Mapping[str, str]) -> int:
    """Says what Slurm says of the run's job, and has this command done again in a job of such nodes; gives its exit
    code. Blocks."""
    job_script = script_of(plan, str(Path.cwd() / "runs" / "doctor"))
    try:
        complain(f"Slurm would take the run: {submitted.test_only(job_script)}")
    except SlurmError as error:
        raise _trouble(error) from error
    options = script.where(keys_of(plan))
    limits = (f"--immediate={_WAIT_S}", f"--time={_MINUTES}", "--no-kill", "--quiet", f"--job-name={plan.name}")
    argv = ["salloc", *limits, *options, sys.executable, "-m", "launcher", *sys.argv[1:]]
    done = subprocess.run(argv, env=dict(environ), stdin=subprocess.DEVNULL, check=False)
    if done.returncode == 1:  # salloc's own; this command has others
        raise HostError("Slurm", f"it gives no such nodes within {_WAIT_S} s, and so nobody has looked at them")
    return done.returncode


def with_nodes(plan: Plan, environ: Mapping[str, str]) -> Plan:
    """The plan with the nodes of the job in which we are. Blocks."""
    job = job_of(environ)
    try:
        found = asyncio.run(nodes.of_job(job, environ))
    except SlurmError as error:
        raise _trouble(error) from error
    if len(found) < len(plan.hosts):
        raise HostError("Slurm", f"job {job} has {len(found)} nodes, and the spec wants {len(plan.hosts)}")
    pairs = zip(plan.hosts, found, strict=False)
    return replace(plan, hosts=tuple(nodes.as_host(host, node, job) for host, node in pairs))


def _trouble(error: SlurmError) -> HostError:
    return HostError("Slurm", "; ".join(filter(None, (str(error), error.advice))))
