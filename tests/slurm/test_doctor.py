"""``tflaunch doctor`` asks Slurm, and looks at the nodes that it gives."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.running import Finished, tflaunch
from tests.slurm.lab import Lab, until
from tests.slurm.running import spec


def doctor(slurm: Lab, place: Path, *options: str, **keys: object) -> Finished:
    (place / "spec.yaml").write_text(yaml.safe_dump(spec(**keys)))
    return tflaunch("doctor", "spec.yaml", *options, cwd=place, **slurm.environ)


def findings(said: Finished) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["check"], each["host"]): each for each in json.loads(said.stdout)["checks"]}


def test_nodes_in_order(slurm: Lab, place: Path) -> None:
    said = doctor(slurm, place, "--json")
    assert "Slurm would take the run: Job" in said.stderr
    found = findings(said)
    for check in ("reachable", "network", "run folder", "ports"):
        assert [found[check, f"node-{n}"]["level"] for n in range(3)] == ["ok"] * 3, found
    assert [each["address"] for each in json.loads(said.stdout)["hosts"]] == [
        slurm.address(n) for n in ("n1", "n2", "n3")
    ]
    assert not list(place.glob("runs/.tflaunch-doctor-*"))
    until(lambda: not slurm.jobs(), "the end of its job")


def test_a_folder_that_nodes_do_not_share(slurm: Lab, place: Path, tmp_path: Path) -> None:
    """Each node has a /tmp of its own."""
    (place / "runs").symlink_to(tmp_path)
    found = findings(doctor(slurm, place, "--json"))
    assert {found["run folder", f"node-{n}"]["level"] for n in range(3)} == {"failed"}


def test_inside_a_job_it_looks_at_that(slurm: Lab, place: Path) -> None:
    (place / "spec.yaml").write_text(yaml.safe_dump(spec()))
    words = ("salloc", "--quiet", "-N3", "sh", "-c", "tflaunch doctor spec.yaml")
    said = slurm.run(*words, cwd=place, check=False, PATH=f"{Path(sys.executable).parent}:{slurm.environ['PATH']}")
    assert "node-2" in said and "run folder" in said


@pytest.mark.parametrize(
    ("keys", "words"),
    [({"partition": "none"}, "nvalid partition"), ({"nodes": 4}, "node configuration is not available")],
)
def test_what_slurm_would_refuse(keys: dict[str, object], words: str, slurm: Lab, place: Path) -> None:
    said = doctor(slurm, place, engine={"slurm": {"nodes": 3, **keys}})
    assert (said.code, len(said.stderr.splitlines())) == (3, 1), said.stderr
    assert words in said.stderr


def test_no_node_is_free(slurm: Lab, place: Path) -> None:
    slurm.run("sbatch", "-N3", "--exclusive", "--wrap", "sleep 600")
    until(lambda: slurm.run("squeue", "--noheader", "--format=%T").split() == ["RUNNING"], "the other job", slurm.words)
    said = doctor(slurm, place)
    assert said.code == 3
    assert "it gives no such nodes within 30 s, and so nobody has looked at them" in said.stderr
