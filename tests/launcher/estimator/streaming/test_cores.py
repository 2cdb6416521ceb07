"""How many cores the input takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.estimator.streaming.reading.cores import cgroup_quota, input_cores


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


@pytest.mark.parametrize(
    ("said", "cores"), [(None, 6), ("1", 6), ("3", 2), ("4", 1), ("50", 1), ("0", 6), ("-2", 6), ("many", 6)]
)
def test_cores_are_shared_with_the_other_trainers_of_the_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str | None, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    environ = {} if said is None else {"TFLAUNCH_TRAINERS_ON_HOST": said}
    assert input_cores(environ, cgroups=tmp_path) == cores


def test_cores_are_those_that_this_process_may_use(tmp_path: Path) -> None:
    assert input_cores({}, cgroups=tmp_path) == len(os.sched_getaffinity(0))
