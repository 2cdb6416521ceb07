"""``tflaunch doctor``: looks at every host of a spec, says what is wrong there, and starts nothing."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli.resolve import resolve
from launcher.deploy.command import as_deployed, lacks
from launcher.doctor import view
from launcher.doctor.checks import judge
from launcher.doctor.examine import examine
from launcher.doctor.facts import HostFacts
from launcher.doctor.findings import exit_code
from launcher.doctor.wanted import Wanted, wanted
from launcher.hosts.known import reaches_of
from launcher.hosts.slurm.nodes import job_of
from launcher.hosts.sources import SLURM
from launcher.views.terminal import console, put_drawn, say_json
from launcher.wire.errors import UsageError

if TYPE_CHECKING:
    from launcher.cli.resolve import Request
    from launcher.plan.model import Plan


def doctor(request: Request, *, timeout_s: float, as_json: bool) -> int:
    """Looks, prints, and gives the exit code. Blocks for little more than ``timeout_s``."""
    resolved = resolve(request)
    plan = resolved.plan
    if plan.engine == SLURM:
        from launcher.cli.slurm import doctoring

        if not job_of(request.environ):
            return doctoring.in_a_job(plan, request.environ)
        plan = doctoring.with_nodes(plan, request.environ)
    if away := [host.name for host in plan.hosts if not host.address]:
        raise UsageError(
            f"engine {plan.engine!r} gives {away[0]} when a run asks for it: the doctor has nothing to see yet"
        )
    missing = lacks(resolved.spec, request.spec) if any(not host.traits.shares_files for host in plan.hosts) else ""
    plan = as_deployed(plan, resolved.spec, request.spec)
    pairs = zip(plan.tasks, resolved.plan.tasks, strict=True)
    deployed = {task.python[0] for task, planned in pairs if task.python and task.python != planned.python}
    needs = wanted(
        plan,
        run_dirs=str(Path.cwd() / "runs"),
        deployed=deployed,
        lacks=missing,
        shares_runs=plan.engine == SLURM,
    )
    facts = _examine(plan, needs, request.environ, timeout_s)
    findings = judge(needs, facts)
    if as_json:
        say_json(view.as_json(needs, facts, findings))
    else:
        put_drawn(view.as_text(needs, findings, sys.stdout), sys.stdout)
    return exit_code(findings)


def _examine(plan: Plan, needs: Wanted, environ: Mapping[str, str], timeout_s: float) -> dict[str, HostFacts]:
    reach_of = reaches_of(plan, environ)
    with console(sys.stderr).status("connecting") as status:
        doing: dict[str, str] = {}

        def say(host: str, what: str) -> None:
            doing[host] = what
            counted = Counter(each for each in doing.values() if each)
            status.update(", ".join(f"{each} ({n} of {len(needs.needs)} hosts)" for each, n in counted.items()))

        return asyncio.run(examine(needs, reach_of, timeout_s=timeout_s, say=say))
