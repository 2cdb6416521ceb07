"""The contract of every reach, for steps of a Slurm job; and what only those have."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator

import pytest

from launcher.hosts.reach import DOCTOR, Reach, ReachError
from launcher.hosts.slurm.reach import SlurmReach
from launcher.plan.model import PlannedHost
from launcher.spec.hosts import FAR
from tests.launcher.hosts.contract import *  # noqa: F403 - its tests are collected here
from tests.launcher.hosts.contract import agents_by, run, welcome
from tests.slurm.lab import Lab, until


@pytest.fixture
def job(slurm: Lab) -> Iterator[str]:
    """A job that has all nodes, and does nothing."""
    words = slurm.run("sbatch", "--parsable", "--no-kill", "-N3", "--wrap", "sleep 600")
    job = words.strip()
    until(lambda: slurm.job(job)["JobState"] == "RUNNING", "the job", slurm.words)
    yield job
    slurm.run("scancel", job, check=False)


@pytest.fixture
def host(job: str, slurm: Lab) -> PlannedHost:
    details = {"job": job, "node": "n2"}
    return PlannedHost(name="two", address=slurm.address("n2"), transport="slurm", traits=FAR, details=details)


@pytest.fixture
def reach(slurm: Lab) -> Reach:
    return SlurmReach(slurm.environ)


@pytest.fixture
def programs(reach: Reach) -> Reach:
    return reach


@pytest.fixture
def nothing_left(slurm: Lab) -> Callable[[], None]:
    def look() -> None:
        until(lambda: not slurm.processes("n2"), f"the end of {slurm.processes('n2')}")
        assert "tflaunch" not in slurm.inside("n2", "ls", "/tmp")

    return look


def test_killing_every_pipe_ends_nothing(reach: Reach, host: PlannedHost, slurm: Lab) -> None:
    """Only the step that holds the agent counts."""

    async def work() -> None:
        agents = agents_by(reach)
        reader, writer = await agents.open(host)
        before = await welcome((reader, writer))
        for pid, words in slurm.processes("n2").items():
            if " relay " in words:
                slurm.inside("n2", "kill", "-KILL", str(pid), check=False)
        assert await reader.read() == b""
        assert await welcome(await agents.open(host)) == before
        await agents.close(host)

    run(work())


def test_a_node_that_is_cut_off_is_not_waited_for(reach: Reach, host: PlannedHost, slurm: Lab) -> None:
    async def work() -> None:
        slurm.cut("n2")
        with pytest.raises(ReachError):
            await reach.start(host, DOCTOR, {"limit_s": 30}, limit_s=2.0)

    try:
        run(work())
    finally:
        slurm.mend("n2")


def test_a_job_that_is_over_has_no_steps(reach: Reach, host: PlannedHost, slurm: Lab) -> None:
    slurm.run("scancel", host.details["job"])
    until(lambda: not slurm.jobs(), "the end of the job")
    with pytest.raises(ReachError, match=r"has expired|already complet|nvalid job id") as caught:
        asyncio.run(reach.start(host, DOCTOR, {"limit_s": 30}))
    assert caught.value.gone


def test_without_slurm_it_says_so(host: PlannedHost) -> None:
    with pytest.raises(ReachError, match="srun cannot be started: No such file"):
        asyncio.run(SlurmReach({**os.environ, "PATH": "/nowhere"}).start(host, DOCTOR, {"limit_s": 30}))
