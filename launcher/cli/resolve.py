"""From what was said on the command line to a plan: spec file or defaults, then environment, then flags."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli.programs import check_program
from launcher.cli.slurm import allocation
from launcher.hosts import sources as host_sources
from launcher.plan import plan as plans
from launcher.plan.model import Plan, PlannedHost
from launcher.spec import Override, apply_overrides, local_spec, on_this_machine, parse_tune, read_spec
from launcher.spec.hosts import ACCEPT_NEW_HOST_KEYS
from launcher.wire.errors import UsageError
from launcher.wire.roles import ROLES

if TYPE_CHECKING:
    from launcher.spec.types import ClusterSpec

SAMPLE_JOB = ("-m", "jobs.esmm", "train")  # without --data it reads the sample data of the user's cache folder
_LONGEST_SOURCE_BYTES = 2_000_000
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user said. ``given``: options that were set, each with its value and the flag or variable that set it;
    ``command``: what stood behind ``--``, None without it; ``env_values``: of the variables that may be named alone."""

    spec: Path | None
    command: tuple[str, ...] | None
    given: Mapping[str, tuple[object, str]]
    environ: Mapping[str, str]
    env_values: Mapping[str, str]
    cwd: Path
    local_only: bool = False

    def value(self, name: str) -> object:
        """The option's value, None if it was not set."""
        return self.given.get(name, (None, ""))[0]


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A plan that is ready to run. ``spec``: what it was made of; ``sample_data``: the command that makes the sample
    job's data, if it is the job."""

    plan: Plan
    spec: ClusterSpec
    sample_data: tuple[str, ...] = ()


def resolve(request: Request, *, is_program_needed: bool = True) -> Resolved:
    """The plan. Raises UsageError or SpecError for anything wrong with what the user said. ``is_program_needed``: what
    tasks are to run has to be there."""
    _check_text(request)
    spec = read_spec(request.spec) if request.spec is not None else local_spec()
    overrides = {**dict(_overrides(request)), **dict(allocation.nodes_of_job(request, spec))}
    sample: tuple[str, ...] = ()
    if request.command == ():
        raise UsageError("nothing follows --; write the command there: -- python train.py")
    if request.command is None and spec.command is None and (request.spec is None or request.local_only):
        command = ["python", "-m", "jobs.esmm", "train", "--model-dir", "{model_dir}"]
        overrides["command"] = Override(command, "the sample job")
    spec = apply_overrides(spec, overrides) if overrides else spec
    if spec.command is not None and spec.command[1:4] == SAMPLE_JOB and "--data" not in spec.command:
        sample = (sys.executable, "-m", "jobs.esmm", "generate", "--if-missing")
    if request.local_only and (spec.engine is not None or any(host.ssh is not None for host in spec.hosts or ())):
        spec = on_this_machine(spec)
    around = plans.Surroundings(
        python=sys.executable, cwd=str(request.cwd), env=request.environ, read=_read, path=tuple(sys.path)
    )
    plan = plans.build_plan(spec, around)
    if request.value("accept_new_host_keys"):
        plan = replace(plan, hosts=tuple(map(_accepting_new_host_keys, plan.hosts)))
    plan = replace(plan, notes=(*plan.notes, *allocation.notes(request, plan)))
    if is_program_needed:
        check_program(plan, request.environ)
    return Resolved(plan=plan, spec=spec, sample_data=sample)


def _read(path: str) -> str | None:
    """The text of a file that may be a program."""
    try:
        file = Path(path)
        if not file.is_file() or file.stat().st_size > _LONGEST_SOURCE_BYTES:
            return None
        return file.read_bytes().decode("utf-8", "replace")
    except (OSError, ValueError):
        return None


def _check_text(request: Request) -> None:
    """Names travel in JSON, to hosts and to TensorFlow, which takes UTF-8 alone."""
    said = {"the folder in which you are": [str(request.cwd)], "the interpreter": [sys.executable]}
    said |= {origin: [value] if isinstance(value, str) else [] for value, origin in request.given.values()}
    said |= {f"--{option}": _words(request, option)[0] for option in ("inject", "tune", "restarts")}
    said |= {"after --": list(request.command or ()), "the spec": [str(request.spec or "")]}
    for origin, texts in said.items():
        for text in texts:
            if not _is_utf8(text):
                shown = os.fsencode(text).decode("utf-8", "backslashreplace")
                raise UsageError(f"{origin}: {shown} is not UTF-8; give it another name")


def _is_utf8(text: str) -> bool:
    """Bytes that are none came in as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _accepting_new_host_keys(host: PlannedHost) -> PlannedHost:
    return host if host.transport != "ssh" else replace(host, details={**host.details, ACCEPT_NEW_HOST_KEYS: "True"})


def _overrides(request: Request) -> Iterator[tuple[str, Override]]:
    """What flags and environment put over the spec, by its path there."""
    for option, path in _PATHS.items():
        if option in request.given:
            value, origin = request.given[option]
            yield path, Override(value, origin)
    if request.command:
        yield "command", Override(list(request.command), "after --")
    if "evaluator" in request.given:
        wanted, _ = request.given["evaluator"]
        yield "roles.evaluator.count", Override(int(bool(wanted)), "--evaluator" if wanted else "--no-evaluator")
    if request.value("no_chief"):
        yield "roles.chief.count", Override(0, request.given["no_chief"][1])
    if request.value("no_preload"):
        yield "preload", Override([], request.given["no_preload"][1])
    yield from _hosts(request)
    yield from allocation.said_keys(request)
    yield from _env(request)
    yield from _restarts(request)
    yield from _tune(request)
    yield from _listeners(request)


_PATHS = {
    "ps": "roles.ps.count",
    "workers": "roles.worker.count",
    "model_dir": "model_dir",
    "name": "name",
    "timeout_s": "policy.timeout_s",
    "inject": "inject",
    "profile_steps": "profile_steps",
    "tensorboard": "tensorboard",
    "log_level": "log_level",
}


def _hosts(request: Request) -> Iterator[tuple[str, Override]]:
    """The hosts that a file names, each to be reached by SSH under its name."""
    if request.value("hosts_from") in (None, host_sources.SLURM):
        return
    source, origin = str(request.value("hosts_from")), request.given["hosts_from"][1]
    try:
        names = host_sources.hosts_of_file(Path(source).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{origin} {source}: {getattr(error, 'strerror', None) or error}") from error
    if not names:
        raise UsageError(f"{origin} {source}: it names no host")
    yield "hosts", Override([{"name": name, "ssh": {}} for name in names], origin)


def _words(request: Request, option: str) -> tuple[list[str], str]:
    value, origin = request.given.get(option, ((), ""))
    return [str(word) for word in value] if isinstance(value, Iterable) else [], origin


def _env(request: Request) -> Iterator[tuple[str, Override]]:
    values: dict[str, str] = {}
    files, _ = _words(request, "env_file")
    for file in files:
        values.update(_read_env_file(Path(file)))
    items, _ = _words(request, "env")
    for item in items:
        name, equals, value = item.partition("=")
        if not _ENV_NAME.fullmatch(name):
            raise UsageError(f"--env {name!r} is no name of a variable; write --env NAME=VALUE, or --env NAME")
        if not equals and name not in request.env_values:
            raise UsageError(f"--env {name}: there is no {name} in your environment; write --env {name}=VALUE")
        values[name] = value if equals else request.env_values[name]
        if not _is_utf8(values[name]):
            raise UsageError(f"--env {name}: its value is not UTF-8; give it another one")
    if values:
        yield "env", Override(values, "--env" if items else "--env-file")


def _read_env_file(path: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"--env-file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--env-file {path}: not UTF-8 text (byte {error.start})") from error
    for number, line in enumerate(lines, 1):
        name, equals, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not equals or not _ENV_NAME.fullmatch(name.strip()):
            raise UsageError(f"{path}:{number}: not a line NAME=VALUE")
        yield name.strip(), value.strip()


def _restarts(request: Request) -> Iterator[tuple[str, Override]]:
    words, origin = _words(request, "restarts")
    for word in words:
        role, equals, text = word.rpartition("=")
        roles = [each.value for each in ROLES] if not equals else [role]
        if not text.isdigit() or roles[0] not in {each.value for each in ROLES}:
            raise UsageError(f"--restarts {word!r}: write a number for all roles, or ROLE=N such as worker=2")
        for name in roles:
            yield f"policy.restarts.{name}", Override(int(text), origin)


def _tune(request: Request) -> Iterator[tuple[str, Override]]:
    words, origin = _words(request, "tune")
    for name, on in parse_tune(words).items():
        yield f"tune.{name}", Override(on, origin)


def _listeners(request: Request) -> Iterator[tuple[str, Override]]:
    words, origin = _words(request, "listen")
    for word in words:
        name, _, where = word.partition("=")
        yield f"listeners.{name}", Override(where, origin)
    if "notify" in request.given:
        target, origin = request.given["notify"]
        yield "listeners.notify", Override(str(target), origin)
