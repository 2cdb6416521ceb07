"""The Slurm that the other tests rely on."""

from __future__ import annotations

from tests.slurm.lab import NODES, Lab, until


def test_its_nodes_are_machines_of_their_own(slurm: Lab) -> None:
    said = slurm.run("srun", "-N3", "sh", "-c", "hostname; cat /proc/sys/kernel/hostname; ls /tmp").split()
    assert sorted(said) == sorted([*NODES, *NODES])


def test_a_node_that_is_gone_comes_back(slurm: Lab) -> None:
    slurm.end_node("n3")
    until(lambda: slurm.nodes()["n3"].startswith("down"), "n3 to be down", slurm.words)
    slurm.begin_node("n3")
    until(lambda: slurm.nodes()["n3"] == "idle", "n3 to be idle", slurm.words)


def test_nothing_of_a_step_outlives_it(slurm: Lab) -> None:
    """By control groups, where this machine has them; else the rest of these tests show less than they should."""
    slurm.run("srun", "-N1", "-w", "n2", "sh", "-c", "setsid sleep 977 >/dev/null 2>&1 & exit 0")
    until(lambda: not [words for words in slurm.processes("n2").values() if "977" in words], "the end of the step")
