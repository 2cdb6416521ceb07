"""How many cores this process may use: by its affinity, its control groups, and what a scheduler has granted, which
often keeps nobody from seeing all of the machine's."""

from __future__ import annotations

import os
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_CGROUPS = Path("/sys/fs/cgroup")
_JOB_VARIABLE = "SLURM_JOB_ID"
_GRANT_VARIABLE = "SLURM_CPUS_ON_NODE"  # of a step
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def usable(environ: Mapping[str, str], cgroups: Path = _CGROUPS) -> float:
    """The least of affinity, grant and cgroup quota."""
    quota = cgroup_quota(cgroups, Path("/proc/self/cgroup"))
    count = float(granted(environ))
    return count if quota is None else min(count, quota)


def granted(environ: Mapping[str, str]) -> int:
    """Those of this process's affinity, and no more than Slurm has granted on this node; at least 1."""
    count, grant = len(os.sched_getaffinity(0)), environ.get(_GRANT_VARIABLE, "")
    return max(1, min(count, int(grant))) if environ.get(_JOB_VARIABLE) and grant.isdecimal() else count


def thread_counts(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables for those who would count the machine's cores, TensorFlow among them, where it was granted a part of
    them. What the environment has of them stays."""
    count = granted(environ)
    if count == len(os.sched_getaffinity(0)):
        return {}
    return {name: str(count) for name in _THREADS if name not in environ}


def cgroup_quota(cgroups: Path, membership: Path) -> float | None:
    """Cores that the control groups of this process allow, the least of all levels; None where there is no limit."""
    limits = [limit for folder in _own_groups(cgroups, membership) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _own_groups(cgroups: Path, membership: Path) -> list[Path]:
    """The group's folder and those above it, version 2 and version 1."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / "cpu" if controllers else cgroups
        group = root / path.lstrip("/")
        folders += [group, *(parent for parent in group.parents if parent.is_relative_to(root))]
    return folders


def _limit(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
    except (OSError, ValueError):
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)
