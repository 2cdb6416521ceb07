"""What a spec wants deployed, and what becomes of a plan once it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.deploy.requirements import read_requirements
from launcher.deploy.scan import Folder, read_folder
from launcher.plan.model import Plan, PlannedTask
from launcher.spec.types import ClusterSpec
from launcher.wire import preload_env
from launcher.wire.errors import Problem, SpecError, UsageError


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment. ``folder`` is on the hosts; ``wheelhouse`` here, None to install from an index."""

    folder: str
    files: Mapping[str, str]
    wheelhouse: Path | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """``to``: the folder on the hosts below which trees are kept."""

    code: Folder | None
    to: str
    environment: Environment | None

    def __bool__(self) -> bool:
        return self.code is not None or self.environment is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Present:
    """Where trees and environments are on hosts, empty for what is not deployed, and which are those of now."""

    to: str
    digest: str
    folder: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Deployed:
    """Where things are on one host, None for what was not asked for."""

    tree: str | None
    environment: str | None


def wanted(spec: ClusterSpec, base: Path) -> Wanted:
    """What is to be deployed; reads the folder and the requirements. ``base``: the folder of the spec's file. Raises
    UsageError, or SpecError for an environment without requirements."""
    environment = _environment(spec, base)
    return Wanted(code=_code(spec, base, environment), to=_to(spec), environment=environment)


def present(spec: ClusterSpec, base: Path) -> tuple[Present, tuple[str, ...]]:
    """What of that which was deployed is what the spec means now, and why some of it is not known: its files may be
    gone from here."""
    unknown = []
    digest, files = "", {}
    environment = None
    try:
        environment = _environment(spec, base)
        files = dict(environment.files) if environment is not None else {}
    except UsageError as error:
        unknown.append(f"{error}; so no environment counts as the present one")
    try:
        code = _code(spec, base, environment)
        digest = code.manifest.digest if code is not None else ""
    except UsageError as error:
        unknown.append(f"{error}; so no code counts as the present one")
    folder = spec.python.venv if spec.python is not None and spec.python.venv is not None else ""
    to = _to(spec) if spec.sync is not None else ""
    return Present(to=to, digest=digest, folder=folder, files=files), tuple(unknown)


def _environment(spec: ClusterSpec, base: Path) -> Environment | None:
    python = spec.python
    if python is None or python.venv is None:
        return None
    if python.requirements is None:
        origin = spec.where(("python",))
        message = "is missing; name the requirements file to install into python.venv"
        raise SpecError([Problem(origin.file, origin.line, "python.requirements", message)])
    return Environment(
        folder=python.venv,
        files=read_requirements(_from(base, python.requirements)),
        wheelhouse=_from(base, python.wheelhouse) if python.wheelhouse is not None else None,
    )


def _code(spec: ClusterSpec, base: Path, environment: Environment | None) -> Folder | None:
    sync = spec.sync
    if sync is None:
        return None
    return read_folder(_from(base, sync.path), (*sync.exclude, *_own_places(base, environment)), sync.follow)


def _to(spec: ClusterSpec) -> str:
    return spec.sync.to if spec.sync else "~/.tflaunch/src"


def _from(base: Path, text: str) -> Path:
    return base / Path(text).expanduser()


def _own_places(base: Path, environment: Environment | None) -> tuple[str, ...]:
    """A wheelhouse inside of the folder travels by itself."""
    return () if environment is None or environment.wheelhouse is None else (f"{environment.wheelhouse.name}/*.whl",)


def with_deployed(plan: Plan, deployed: Mapping[str, Deployed], *, keeps_cwd: bool, venv: str | None) -> Plan:
    """The plan whose tasks work in the trees and with the environments that are now on their hosts. ``keeps_cwd``: the
    spec names a working folder itself; ``venv``: the folder of environments, as the spec has it."""
    planned = f"{(venv or '').rstrip('/')}/bin/python"
    found = tuple(
        _moved(task, deployed[task.host], keeps_cwd, planned) if task.host in deployed else task for task in plan.tasks
    )
    return replace(plan, tasks=found)


def _moved(task: PlannedTask, where: Deployed, keeps_cwd: bool, planned: str) -> PlannedTask:
    made = task if where.tree is None or keeps_cwd else replace(task, cwd=where.tree)
    if where.environment is None or task.python[:1] != (planned,):
        return made
    python = (f"{where.environment}/bin/python", *task.python[1:])
    key = preload_env.preload_key(python, task.env) if task.preload_key is not None else None
    return replace(made, python=python, argv=(*python, *task.argv[len(python) :]), preload_key=key)
