"""Hosts out of hostfiles and of Slurm's environment."""

from __future__ import annotations

import pytest

from launcher.hosts.sources import expand_nodes, hosts_of_file, hosts_of_slurm
from launcher.wire.errors import UsageError


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a\nb\n", ("a", "b")),
        ("# nodes\na slots=4 max_slots=8\n\n  b:2   # the other\na slots=1\n", ("a", "b")),
        ("10.0.0.1\nnode-1.example.org", ("10.0.0.1", "node-1.example.org")),
        ("", ()),
    ],
)
def test_hostfiles(text: str, hosts: tuple[str, ...]) -> None:
    assert hosts_of_file(text) == hosts


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("n1", ["n1"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[08-10,12],gpu1", ["n08", "n09", "n10", "n12", "gpu1"]),
        ("r[1-2]n[1-2].x", ["r1n1.x", "r1n2.x", "r2n1.x", "r2n2.x"]),
    ],
)
def test_lists_of_nodes(text: str, nodes: list[str]) -> None:
    assert list(expand_nodes(text)) == nodes


@pytest.mark.parametrize("text", ["n[1-", "n]1[", "n[a-b]", "n[1-99999999]", "n[]"])
def test_what_is_no_list_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="not a list"):
        list(expand_nodes(text))


def test_slurm_is_asked_for_inside_a_job_only() -> None:
    assert hosts_of_slurm({"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NODELIST": "other"}) == ("n1", "n2")
    with pytest.raises(UsageError, match="salloc"):
        hosts_of_slurm({})
