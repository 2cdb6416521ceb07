"""What Slurm says of a job's nodes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from launcher.hosts.sources import hosts_of_slurm
from launcher.plan.model import PlannedHost
from launcher.wire.errors import UsageError

_ANSWER_S = 60.0
_FIELD = re.compile(r"(\w+)=(\S*)")
_DOWN = re.compile(r"DOWN|FAIL|NOT_RESPONDING|POWERED_DOWN|POWERING_DOWN|\*")


class SlurmError(Exception):
    """Slurm does not do what it was asked for; the text says why, ``advice`` what to do."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A node. ``address``: what other nodes reach it by; ``state``: as Slurm has it, such as ALLOCATED."""

    name: str
    address: str
    state: str

    @property
    def is_up(self) -> bool:
        """Whether steps may start there."""
        return not _DOWN.search(self.state)


def as_host(host: PlannedHost, node: Node, job: str) -> PlannedHost:
    """A planned host that is this node."""
    details = {"job": job, "node": node.name}
    return replace(host, address=node.address, details=details, way=f"node {node.name} of Slurm job {job}")


def job_of(environ: Mapping[str, str]) -> str:
    """The Slurm job in which we are; empty outside of one."""
    return environ.get("SLURM_JOB_ID", "") if environ.get("SLURM_JOB_NODELIST") else ""


async def of_job(job: str, environ: Mapping[str, str]) -> list[Node]:
    """The nodes of the job in which we are, in Slurm's order, those that are not up last. Raises SlurmError."""
    if not job:
        raise SlurmError("this is no Slurm job", "submit one with tflaunch submit, or start tflaunch inside salloc")
    try:
        names = hosts_of_slurm(environ)
    except UsageError as error:
        raise SlurmError(str(error)) from error
    facts = parsed(await asked("scontrol", "--oneliner", "show", "job", job)).get(("JobId", job), {})
    state = facts.get("JobState", "")
    if state and state != "RUNNING":
        raise SlurmError(f"Slurm job {job} is {state}", "this environment is that of a job which is over: leave it")
    known = parsed(await asked("scontrol", "--oneliner", "show", "node", ",".join(names)))
    found = []
    for name in names:
        facts = known.get(("NodeName", name), {})
        found.append(Node(name=name, address=facts.get("NodeAddr") or name, state=facts.get("State", "unknown")))
    return sorted(found, key=lambda node: not node.is_up)


def parsed(text: str) -> Mapping[tuple[str, str], Mapping[str, str]]:
    """What scontrol says with ``--oneliner``: the fields of each line, by the first of them."""
    rows = [_FIELD.findall(line) for line in text.splitlines()]
    return {row[0]: dict(row) for row in rows if row}


async def asked(*argv: str, limit_s: float = _ANSWER_S) -> str:
    """What a command of Slurm's says on standard output. Raises SlurmError."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise SlurmError(f"{argv[0]} cannot be started: {error.strerror}", "is Slurm in your PATH here?") from error
    try:
        said, complained = await asyncio.wait_for(process.communicate(), limit_s)
    except asyncio.TimeoutError as error:
        process.kill()
        raise SlurmError(f"{argv[0]} has not answered within {limit_s:g} s", "is slurmctld up?") from error
    if process.returncode:
        last = complained.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise SlurmError(f"{argv[0]}: {last[0]}")
    return said.decode("utf-8", "replace")
