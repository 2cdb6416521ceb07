"""The nodes of the Slurm job in which tflaunch runs. They are there as long as the job is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from launcher.hosts.engine import Answers, Engine, Needs
from launcher.hosts.reach import Reach
from launcher.hosts.slurm import nodes
from launcher.hosts.slurm.keys import SlurmKeys
from launcher.hosts.slurm.nodes import Node, SlurmError
from launcher.hosts.slurm.reach import SlurmReach
from launcher.plan.model import PlannedHost
from launcher.spec.hosts import Traits

_NAME = "slurm"
_TRAITS = Traits(
    can_fall_silent=True, says_when_to_end=True
)  # a job's nodes share folders, and steps start from their job's environment


class Slurm(Engine):
    """Grants node after node in Slurm's order, those that are not up last."""

    keys = SlurmKeys

    def __init__(self, keys: SlurmKeys, answers: Answers) -> None:
        super().__init__(keys, answers)
        self._job = nodes.job_of(os.environ)
        self._names = [site.name for site in self.sites(keys)]
        self._asked: list[PlannedHost] = []
        self._granting: asyncio.Task[None] | None = None
        self._nodes: list[Node] | None = None

    @classmethod
    def sites(cls, keys: SlurmKeys) -> tuple[PlannedHost, ...]:
        """node-0, node-1 and so on; tasks go to spare ones only when others are lost."""
        count = keys.nodes or 1
        return tuple(
            PlannedHost(
                name=f"node-{index}",
                address="",
                transport=_NAME,
                traits=_TRAITS,
                gpus=keys.gpus,
                way="a node of a Slurm job",
                spare=index >= count,
            )
            for index in range(count + keys.spare)
        )

    @classmethod
    def reaches(cls, keys: SlurmKeys, environ: Mapping[str, str]) -> Mapping[str, Reach]:
        """Steps of the job."""
        return {_NAME: SlurmReach(environ, requeue=keys.requeue)}

    def ask(self, needs: Needs) -> None:
        """Asks Slurm, once, which nodes the job has."""
        self._asked.append(needs.host)
        if self._granting is None or self._granting.done():
            self._granting = asyncio.ensure_future(self._grant())

    async def _grant(self) -> None:
        try:
            self._nodes = self._nodes or await nodes.of_job(self._job, os.environ)
        except SlurmError as error:
            while self._asked:
                self.answers.refused(self._asked.pop(0).name, str(error), error.advice)
            return
        while self._asked:
            self._answer(self._asked.pop(0), self._nodes)

    def _answer(self, host: PlannedHost, given: list[Node]) -> None:
        index = self._names.index(host.name)
        if index >= len(given):
            message = f"Slurm job {self._job} has {len(given)} nodes, and the spec wants {len(self._names)}"
            self.answers.refused(host.name, message, "lower engine.slurm.nodes or spare, or ask Slurm for more nodes")
            return
        node = given[index]
        if not node.is_up:
            message = f"Slurm says that node {node.name} is {node.state}"
            self.answers.refused(host.name, message, "leave it out: salloc or sbatch with --exclude=" + node.name)
            return
        self.answers.granted(nodes.as_host(host, node, self._job))

    async def close(self) -> None:
        """The job ends with who started it; its nodes are Slurm's."""
        if self._granting is not None:
            self._granting.cancel()
