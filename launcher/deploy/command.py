"""``tflaunch deploy``, and the same step before ``tflaunch run``."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from launcher.deploy.progress import Bars, Lines
from launcher.deploy.wanted import Wanted, wanted, with_deployed
from launcher.plan.model import Plan
from launcher.spec.types import ClusterSpec
from launcher.views.terminal import complain
from launcher.wire.errors import UsageError


def wanted_of(spec: ClusterSpec, spec_file: Path | None) -> Wanted:
    """What the spec wants deployed; its relative paths start from the spec file's folder."""
    return wanted(spec, (spec_file or Path("spec")).absolute().parent)


def deploy_plan(plan: Plan, spec: ClusterSpec, spec_file: Path | None, *, plain: bool) -> Plan:
    """Deploys what the spec wants to hosts that do not share our files; gives the plan that uses it."""
    hosts = tuple(host for host in plan.hosts if not host.traits.shares_files)
    if not hosts or (spec.sync is None and (spec.python is None or spec.python.venv is None)):
        return plan
    what = wanted_of(spec, spec_file)
    for note in what.code.notes if what.code is not None else ():
        complain(note)
    from launcher.deploy.hosts import deploy
    from launcher.hosts.known import reaches_of

    bars = sys.stderr.isatty() and not plain
    with Bars(sys.stderr, tuple(host.name for host in hosts)) if bars else Lines(sys.stderr) as progress:
        deployed = asyncio.run(deploy(hosts, what, reaches_of(plan, os.environ), progress))
    return with_deployed(
        plan, deployed, keeps_cwd=spec.cwd is not None, venv=spec.python.venv if spec.python is not None else None
    )


def deploy_only(plan: Plan, spec: ClusterSpec, spec_file: Path | None, *, plain: bool) -> int:
    """The command ``tflaunch deploy``."""
    if spec.sync is None and (spec.python is None or spec.python.venv is None):
        raise UsageError(f"{spec_file}: says nothing about deploying; write sync or python.venv there")
    if all(host.traits.shares_files for host in plan.hosts):
        raise UsageError(f"{spec_file}: has no host with ssh; on this machine nothing is deployed")
    deploy_plan(plan, spec, spec_file, plain=plain)
    return 0
