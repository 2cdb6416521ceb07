"""What a spec may say of Slurm: ``engine: {slurm: {…}}``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from launcher.spec.source import spelled
from launcher.spec.types import Section

_MOST_NODES = 20_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@,:+*=-]{0,250}")
_FEATURES = re.compile(r"[A-Za-z0-9_.,:+*=&|()\[\]-]{1,250}")
_CLOCK = re.compile(r"(?:(\d{1,4})-)?(\d{1,5}):(\d{1,2}):(\d{1,2})")
_SPAN = re.compile(r"(?=\d)(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?")
_GPUS = re.compile(r"gpu(?::[A-Za-z0-9_.-]*[A-Za-z_.-][A-Za-z0-9_.-]*)?(?::(\d{1,4}))?")
_OPTION = re.compile(r"--([a-z][a-z0-9-]*)(=[^\x00-\x1f\x7f]*)?")
_OURS = ("chdir", "error", "export", "export-file", "job-name", "nodes", "no-kill", "no-requeue", "output", "requeue")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"is nothing that Slurm knows by name: {text[:80]!r}")
    return text


def _features(text: str) -> str:
    if not _FEATURES.fullmatch(text):
        raise ValueError("is no list of features as Slurm takes it, such as a100&nvme")
    return text


def _option(text: str) -> str:
    option = _OPTION.fullmatch(text)
    if option is None:
        raise ValueError(f"is no option of sbatch in one word, as --exclusive or --reservation=night: {text[:80]!r}")
    if option[1] in _OURS:
        raise ValueError(f"has --{option[1]}, about which tflaunch decides; remove it")
    return text


def seconds(text: str) -> int:
    """``8h``, ``1d12h``, ``90m``, ``8:00:00`` or ``1-12:00:00`` in seconds; raises ValueError for anything else."""
    match = _CLOCK.fullmatch(text) or _SPAN.fullmatch(text)
    days, hours, minutes, rest = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    total = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    if not total:
        raise ValueError("must be a time such as 8h, 90m, 1d12h, 8:00:00 or 1-12:00:00")
    return total


def _time(text: str) -> str:
    seconds(text)
    return text


_SPELLED = BeforeValidator(spelled)
_NUMBER_OR_TEXT = WithJsonSchema({"type": ["string", "number"]})
_Name = Annotated[str, _SPELLED, _NUMBER_OR_TEXT, AfterValidator(_name)]


class SlurmKeys(Section):
    """A job of Slurm. Inside of one, ``nodes``, ``spare`` and ``gres`` count alone."""

    partition: _Name | None = None
    """Where the job waits; without it the site's default."""
    nodes: Annotated[int, Field(ge=1, le=_MOST_NODES)] | None = None
    """Nodes that tasks are planned on: node-0, node-1 and so on for ``on``; null: all those of the job in which
    tflaunch runs, 1 for one that is submitted."""
    spare: Annotated[int, Field(ge=0, le=_MOST_NODES)] = 0
    """Nodes besides, which take over from nodes that are lost."""
    time: Annotated[str, _SPELLED, _NUMBER_OR_TEXT, AfterValidator(_time)] | None = None
    """The job's time limit, as 8h, 90m or 8:00:00; without it the partition's."""
    account: _Name | None = None
    """Who is charged."""
    qos: _Name | None = None
    """Quality of service."""
    gres: _Name | None = None
    """What each node must have besides, such as gpu:2; GPUs are then shared out by roles.*.gpus."""
    constraint: Annotated[str, AfterValidator(_features)] | None = None
    """Features that nodes must have."""
    cpus_per_node: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Cores on each node."""
    memory_mib: Annotated[int, Field(ge=1, le=2**30)] | None = None
    """Memory on each node."""
    requeue: Annotated[int, Field(ge=0, le=1000)] = 0
    """How often a job that was preempted, or has reached its time limit, waits again and goes on where it was."""
    extra: tuple[Annotated[str, AfterValidator(_option)], ...] = ()
    """More options of sbatch, each in one word, such as --exclusive."""

    @property
    def gpus(self) -> int:
        """GPUs of each node."""
        found = (_GPUS.fullmatch(part) for part in (self.gres or "").split(","))
        return sum(int(match[1] or 1) for match in found if match)

    @property
    def all_nodes(self) -> int:
        """How many nodes the job has."""
        return (self.nodes or 1) + self.spare
