"""``tflaunch deploy``, and the same step before ``tflaunch run``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from launcher.deploy.progress import Bars, Lines
from launcher.deploy.requirements import missing_beside_tensorflow
from launcher.deploy.wanted import Deployed, Wanted, present, wanted, with_deployed
from launcher.plan.model import Plan
from launcher.spec.types import ClusterSpec
from launcher.views.terminal import complain, console
from launcher.wire.errors import UsageError


def wanted_of(spec: ClusterSpec, spec_file: Path | None) -> Wanted:
    """What the spec wants deployed; its relative paths start from the spec file's folder."""
    return wanted(spec, _base(spec_file))


def _base(spec_file: Path | None) -> Path:
    return (spec_file or Path("spec")).absolute().parent


def deploy_plan(plan: Plan, spec: ClusterSpec, spec_file: Path | None, *, plain: bool) -> Plan:
    """Deploys what the spec wants to hosts that do not share our files; gives the plan that uses it."""
    hosts = tuple(host for host in plan.hosts if not host.traits.shares_files)
    if not hosts or not _deploys(spec):
        return plan
    what = wanted_of(spec, spec_file)
    for note in what.code.notes if what.code is not None else ():
        complain(note)
    if what.environment is not None and (note := missing_beside_tensorflow(what.environment.files)):
        complain(note)
    from launcher.deploy.hosts import deploy
    from launcher.hosts.known import reaches_of

    bars = sys.stderr.isatty() and not plain
    with Bars(sys.stderr, tuple(host.name for host in hosts)) if bars else Lines(sys.stderr) as progress:
        deployed = asyncio.run(deploy(hosts, what, reaches_of(plan, os.environ), progress))
    return _with(plan, spec, deployed)


def as_deployed(plan: Plan, spec: ClusterSpec, spec_file: Path | None) -> Plan:
    """The plan with what was deployed before, where it is there: nothing is brought."""
    hosts = tuple(host for host in plan.hosts if not host.traits.shares_files)
    if not hosts or not _deploys(spec):
        return plan
    from launcher.deploy.hosts import look
    from launcher.hosts.known import reaches_of

    found = asyncio.run(look(hosts, wanted_of(spec, spec_file), reaches_of(plan, os.environ)))
    return _with(plan, spec, found)


def lacks(spec: ClusterSpec, spec_file: Path | None) -> str:
    """What the requirements of an environment that is to be deployed leave out; empty where nothing is missing."""
    if spec.python is None or spec.python.venv is None:
        return ""
    environment = wanted_of(spec, spec_file).environment
    return missing_beside_tensorflow(environment.files) if environment is not None else ""


def _deploys(spec: ClusterSpec) -> bool:
    return spec.sync is not None or (spec.python is not None and spec.python.venv is not None)


def _with(plan: Plan, spec: ClusterSpec, deployed: Mapping[str, Deployed]) -> Plan:
    venv = spec.python.venv if spec.python is not None else None
    return with_deployed(plan, deployed, keeps_cwd=spec.cwd is not None, venv=venv)


def show_remains(plan: Plan, spec: ClusterSpec, spec_file: Path | None, *, remove: bool) -> None:
    """The table of what was deployed before; with ``remove`` what may go is gone. Raises DeployError."""
    from launcher.deploy.hosts import remains
    from launcher.hosts.known import reaches_of
    from launcher.views.inspect_text import size, table
    from launcher.views.spans import duration

    hosts = tuple(host for host in plan.hosts if not host.traits.shares_files)
    now, unknown = present(spec, _base(spec_file))
    for note in unknown:
        complain(note)
    found = asyncio.run(remains(hosts, now, reaches_of(plan, os.environ), remove=remove))
    rows = [
        (host, item["kind"], item["name"][:16], size(item["bytes"]), duration(item["age_s"]), item["state"])
        for host, items in found.items()
        for item in items
    ]
    table(console(sys.stdout), "", ("host", "what", "name", "size", "age", "state"), rows)


def deploy_only(plan: Plan, spec: ClusterSpec, spec_file: Path | None, *, plain: bool, remains: str = "") -> int:
    """The command ``tflaunch deploy``. ``remains``: ``list`` or ``prune`` what was deployed before, and deploy
    nothing."""
    if not _deploys(spec):
        raise UsageError(f"{spec_file}: says nothing about deploying; write sync or python.venv there")
    if all(host.traits.shares_files for host in plan.hosts):
        raise UsageError(f"{spec_file}: has no host with ssh; on this machine nothing is deployed")
    if remains:
        show_remains(plan, spec, spec_file, remove=remains == "prune")
    else:
        deploy_plan(plan, spec, spec_file, plain=plain)
    return 0
