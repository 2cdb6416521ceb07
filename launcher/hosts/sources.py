"""Names of hosts from where schedulers and people keep them: a file with a host on each line, or Slurm's environment.

Pure: text in, names out; each host once, in the order of its first mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from launcher.wire.errors import UsageError

SLURM = "slurm"
_SLURM_VARIABLES = ("SLURM_JOB_NODELIST", "SLURM_NODELIST")
_SLOTS = re.compile(r":\d+$")  # MPICH's host:4; Open MPI and others write slots=4 behind the name
_MAX_HOSTS = 20_000


def hosts_of_file(text: str) -> tuple[str, ...]:
    """The hosts of a hostfile as MPI programs take it; what follows a name on its line, and ``#``, is passed over."""
    words = (line.partition("#")[0].split() for line in text.splitlines())
    return tuple(dict.fromkeys(_SLOTS.sub("", line[0]) for line in words if line))


def hosts_of_slurm(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The nodes of the Slurm job in which we run; raises UsageError outside of one."""
    for name in _SLURM_VARIABLES:
        if environ.get(name):
            return tuple(dict.fromkeys(expand_nodes(environ[name])))
    raise UsageError("there is no SLURM_JOB_NODELIST in the environment; start tflaunch inside salloc or sbatch")


def expand_nodes(text: str) -> Iterator[str]:
    """``a[1-3,7],b`` as a1, a2, a3, a7, b; a name may have several brackets. Raises UsageError for what is no list."""
    for part in _split(text):
        yield from _expand(part)


def _split(text: str) -> Iterator[str]:
    """The parts between commas that stand outside of brackets."""
    for match in re.finditer(r"(?:[^,\[\]]|\[[^\]]*\])+|[\[\]]", text):
        if match[0] in "[]":
            raise UsageError(f"not a list of nodes: {text[:200]!r}")
        yield match[0].strip()


def _expand(name: str) -> Iterator[str]:
    head, bracket, rest = name.partition("[")
    if not bracket:
        yield name
        return
    inside, _, tail = rest.partition("]")
    for item in inside.split(","):
        for number in _numbers(item, name):
            for end in _expand(tail):
                yield f"{head}{number}{end}"


def _numbers(item: str, name: str) -> Iterator[str]:
    match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", item)
    if match is None or int(match[2] or match[1]) - int(match[1]) >= _MAX_HOSTS:
        raise UsageError(f"not a list of nodes: {name[:200]!r}")
    for number in range(int(match[1]), int(match[2] or match[1]) + 1):
        yield f"{number:0{len(match[1])}d}"
