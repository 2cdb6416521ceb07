"""Programs of ours on the nodes of a Slurm job, by its steps: no sshd, no keys, and Slurm accounts for, limits and ends
all that runs there.

A step ends with its first process, with all that this has started. So the agent of a run lives in a step of its own,
whose first process holds it (``launcher.agent.host.hold``); the pipes to it are steps that may be lost and opened
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from launcher.agent.host.options import Options
from launcher.agent.host.relay import EXIT_GONE
from launcher.hosts.reach import HOLD, RELAY, Program, ReachError, skip_to_ready
from launcher.hosts.slurm import steps
from launcher.hosts.slurm.steps import Step
from launcher.plan.model import PlannedHost
from launcher.wire.variables import ENDING_MARKER

_MAIN_FILE = Path(__file__).parents[2] / "agent" / "__main__.py"
_STEP_TIMEOUT_S = 60.0  # a prolog may have much to do
_END_TIMEOUT_S = 5.0
_LEAVE_TIMEOUT_S = 2.0
_JOB_IS_OVER = re.compile(r"srun: .*(has expired|Invalid job id|already complet)")


class SlurmReach:
    """Steps of the job that a host's details name. ``environ`` is what they, and with an agent every task, start from;
    ``python`` an interpreter that nodes have at the same place; ``requeue``: how often the job may wait again."""

    def __init__(self, environ: Mapping[str, str], python: str = sys.executable, *, requeue: int = 0) -> None:
        self._requeue = requeue
        self._environ = steps.environment(environ)
        self._python = python
        self._open: dict[str, set[Step]] = {}
        self._holds: dict[str, Step] = {}
        self._listening: set[asyncio.Task[None]] = set()

    async def ensure_agent(self, host: PlannedHost, options: Options, *, limit_s: float = math.inf) -> Program:
        """A relay to the agent, which is started in a step of its own, if there is none; raises ReachError."""
        hold = self._holds.get(host.name)
        if options.start and (hold is None or hold.is_over):
            hold = await self._begin(host, HOLD, {**options._asdict(), "requeue": self._requeue}, limit_s, set())
            self._holds[host.name] = hold
            listening = asyncio.ensure_future(self._listen(hold))
            self._listening.add(listening)
            listening.add_done_callback(self._listening.discard)
        return await self.start(host, RELAY, options._replace(start=False)._asdict(), limit_s=limit_s)

    async def start(
        self, host: PlannedHost, program: str, options: Mapping[str, object], *, limit_s: float = math.inf
    ) -> Program:
        """Starts it in a step. Raises ReachError."""
        return await self._begin(host, program, options, limit_s, self._open.setdefault(host.name, set()))

    async def _begin(
        self, host: PlannedHost, program: str, options: Mapping[str, object], limit_s: float, among: set[Step]
    ) -> Step:
        argv = (self._python, "-I", "-S", str(_MAIN_FILE), program, json.dumps(options))
        try:
            step = await steps.begin(host.details, argv, self._environ, among, holds=program == HOLD)
        except OSError as error:
            message = f"srun cannot be started: {error.strerror}"
            raise ReachError(message, advice="are Slurm's commands in your PATH here?", final=True) from error
        limit_s = min(limit_s, _STEP_TIMEOUT_S)
        try:
            await asyncio.wait_for(skip_to_ready(step.reader), limit_s)
        except asyncio.TimeoutError as error:
            await step.close()
            advice = f"see what Slurm says of it: scontrol show node {host.details['node']}"
            raise ReachError(f"no step has started there within {limit_s:g} s", advice=advice) from error
        except ReachError as error:
            code, said = await step.ended(_END_TIMEOUT_S)
            await step.close()
            gone = code == EXIT_GONE or bool(_JOB_IS_OVER.search(said))
            raise ReachError(f"{error}: {said}" if said else str(error), gone=gone) from error
        except asyncio.CancelledError:
            await step.close()
            raise
        return step

    async def _listen(self, hold: Step) -> None:
        """Slurm tells the first process of each step that it is about to end it: before a time limit, a preemption, or
        because the job was cancelled. That is meant for the whole run, and heard here as if it had been said here."""
        with contextlib.suppress(ValueError, ConnectionError):
            while line := await hold.reader.readline():
                if line == ENDING_MARKER:
                    signal.raise_signal(signal.SIGTERM)

    async def close(self, host: PlannedHost) -> None:
        """Closes the pipes that are left there. The step that holds the agent ends when that does."""
        for step in [*self._open.get(host.name, ())]:
            await step.close()
        if hold := self._holds.get(host.name):
            await hold.ended(_LEAVE_TIMEOUT_S)
