"""How many cores this task may use for its input."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from launcher.wire.protocol import TRAINERS_VARIABLE


def input_cores(environ: Mapping[str, str] | None = None, cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """The smaller of affinity and cgroup quota, shared with the other trainers of the host; at least 1."""
    usable = float(len(os.sched_getaffinity(0)))
    quota = cgroup_quota(cgroups, Path("/proc/self/cgroup"))
    if quota is not None:
        usable = min(usable, quota)
    return max(1, math.floor(usable / _tasks(os.environ if environ is None else environ)))


def cgroup_quota(cgroups: Path, membership: Path) -> float | None:
    """Cores that the control groups of this process allow, the least of all levels; None where there is no limit."""
    limits = [limit for folder in _own_groups(cgroups, membership) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _tasks(environ: Mapping[str, str]) -> int:
    text = environ.get(TRAINERS_VARIABLE, "")
    return max(1, int(text)) if text.isdigit() else 1


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
