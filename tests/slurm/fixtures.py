"""What tests over Slurm share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slurm.lab import Lab, lab, missing, proctrack


@pytest.fixture(scope="session")
def whole_lab() -> Iterator[Lab]:
    """One Slurm for all tests."""
    if lacking := missing():
        pytest.skip(lacking)
    if proctrack() != "cgroup":
        print("proctrack/linuxproc: this machine has no freezer of control groups, version 1")
    with lab() as made:
        yield made


@pytest.fixture
def slurm(whole_lab: Lab) -> Iterator[Lab]:
    """Slurm, with nothing on its nodes; a node that a test has ended is there again for the next."""
    yield whole_lab
    for name in {"n1", "n2", "n3"} - set(whole_lab.inits):
        whole_lab.begin_node(name)
    whole_lab.until_idle()
