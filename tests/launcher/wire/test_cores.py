"""How many cores a process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.wire.private.cores import cgroup_quota, thread_counts, usable


def groups(folder: Path, files: dict[str, str], membership: str) -> tuple[Path, Path]:
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "membership").write_text(membership)
    return folder / "cgroup", folder / "membership"


@pytest.mark.parametrize(
    ("files", "membership", "cores"),
    [
        ({"a/b/cpu.max": "150000 100000\n"}, "0::/a/b\n", 1.5),
        ({"a/b/cpu.max": "max 100000\n"}, "0::/a/b\n", None),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, "0::/a/b\n", 3.0),
        ({"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}, "0::/a/b\n", 3.0),
        ({"other/cpu.max": "100000 100000"}, "0::/a/b\n", None),
        (
            {"cpu/a/cpu.cfs_quota_us": "250000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            "4:memory:/a\n3:cpu,cpuacct:/a\n",
            2.5,
        ),
        ({"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, "3:cpu,cpuacct:/a\n", None),
        ({"a/cpu.max": "garbage"}, "0::/a\n", None),
        ({}, "0::/\n", None),
    ],
)
def test_the_least_quota_of_all_levels(
    tmp_path: Path, files: dict[str, str], membership: str, cores: float | None
) -> None:
    assert cgroup_quota(*groups(tmp_path, files, membership)) == cores


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path / "none", tmp_path / "nothing") is None


def test_no_more_than_slurm_has_granted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    job = {"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "2"}
    assert usable(job, tmp_path) == 2
    assert usable({**job, "SLURM_CPUS_ON_NODE": "64"}, tmp_path) == 6
    assert usable({"SLURM_CPUS_ON_NODE": "2"}, tmp_path) == 6  # of a job that this process has left
    two = {"TF_NUM_INTRAOP_THREADS": "2", "TF_NUM_INTEROP_THREADS": "2"}
    assert thread_counts({**job, "OMP_NUM_THREADS": "5"}) == two
    assert thread_counts({}) == {}
