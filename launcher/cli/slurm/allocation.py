"""Inside a Slurm job: which of a spec's runs take its nodes, and how many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from launcher.hosts.slurm.nodes import job_of
from launcher.hosts.sources import SLURM, hosts_of_slurm
from launcher.spec import Override
from launcher.spec.engines import chosen
from launcher.wire.errors import UsageError

if TYPE_CHECKING:
    from launcher.plan.model import Plan
    from launcher.spec.types import ClusterSpec

_VARIABLE = "SLURM_JOB_NODELIST"
_NUMBERS = ("nodes", "spare", "cpus_per_node", "memory_mib", "requeue")


class Asked(Protocol):
    """What is to be known of what the user said; ``launcher.cli.resolve.Request`` has it."""

    @property
    def spec(self) -> Path | None: ...
    @property
    def given(self) -> Mapping[str, tuple[object, str]]: ...
    @property
    def environ(self) -> Mapping[str, str]: ...
    @property
    def local_only(self) -> bool: ...


def said_keys(request: Asked) -> Iterator[tuple[str, Override]]:
    """What ``--slurm KEY=VALUE`` puts over the spec."""
    words, origin = request.given.get("slurm", ((), ""))
    if words and request.local_only:
        raise UsageError("--slurm is nothing for tflaunch local, which stays on this machine: see tflaunch submit")
    extra = []
    for word in map(str, words) if isinstance(words, (tuple, list)) else ():
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--slurm {word!r}: write KEY=VALUE, such as --slurm nodes=3")
        if key == "extra":
            extra.append(value)
            continue
        is_number = key in _NUMBERS and value.isdecimal()
        yield f"engine.slurm.{key}", Override(int(value) if is_number else value, origin)
    if extra:
        yield "engine.slurm.extra", Override(extra, origin)


def nodes_of_job(request: Asked, spec: ClusterSpec) -> Iterator[tuple[str, Override]]:
    """The nodes of the job in which we are, for a spec of Slurm's, one without hosts, or where ``--hosts-from slurm``
    says so. Raises UsageError where the job has too few."""
    value, origin = request.given.get("hosts_from", (None, _VARIABLE))
    asked = value == SLURM
    if not asked and not _takes_them(request, spec):
        return
    names = hosts_of_slurm(request.environ)
    engine, keys = chosen(spec.engine)
    if asked:
        yield "hosts", Override(None, origin)
        if engine != SLURM:
            yield "engine", Override(None, origin)
            keys = {}
    said = {path.rpartition(".")[2]: override.value for path, override in said_keys(request)}
    written = {**(keys if isinstance(keys, Mapping) else {}), **said}
    nodes, spare = written.get("nodes"), written.get("spare") or 0
    if not isinstance(spare, int) or (nodes is not None and not isinstance(nodes, int)):
        return  # the spec's own checks say so
    wanted = (nodes or 1) + spare
    if wanted > len(names):
        job = request.environ.get("SLURM_JOB_ID", "")
        more = "lower engine.slurm.nodes or spare, or ask Slurm for more nodes"
        raise UsageError(f"Slurm job {job} has {len(names)} nodes, and the spec wants {wanted}: {more}")
    if nodes is None:
        yield "engine.slurm.nodes", Override(len(names) - spare, origin)


def _takes_them(request: Asked, spec: ClusterSpec) -> bool:
    if request.local_only or request.spec is None or not job_of(request.environ) or "hosts_from" in request.given:
        return False
    return spec.hosts is None and (spec.engine is None or chosen(spec.engine)[0] == SLURM)


def notes(request: Asked, plan: Plan) -> tuple[str, ...]:
    """What the user should know of a run that leaves the job's nodes alone."""
    job = job_of(request.environ)
    if not job or request.local_only or request.spec is None or plan.engine == SLURM:
        return ()
    return (f"this is Slurm job {job}, and the run is on the spec's hosts; --hosts-from slurm takes the job's nodes",)


def check(plan: Plan, environ: Mapping[str, str]) -> None:
    """Raises UsageError for a plan of Slurm's outside of a job."""
    if plan.engine == SLURM and not job_of(environ):
        raise UsageError("this is no Slurm job: submit one with tflaunch submit, or start it inside salloc or sbatch")
