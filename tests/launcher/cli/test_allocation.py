"""Which runs take the nodes of the Slurm job in which they are started. Needs no Slurm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.cli.main import run

SPEC = "roles: {ps: {count: 1}, chief: {}, worker: {count: 4}}\n"


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of three nodes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-3]")


def planned(capsys: pytest.CaptureFixture[str], more: str, *options: str) -> dict[str, list[str]]:
    """The tasks of each host."""
    Path("spec.yaml").write_text(SPEC + more)
    code = run(["plan", "spec.yaml", "--json", *options, "--", "ls"])
    said = capsys.readouterr()
    assert code == 0, said.err
    body = json.loads(said.out)
    tasks: dict[str, list[str]] = {host["name"]: [] for host in body["hosts"]}
    for task in body["tasks"]:
        tasks[task["host"]].append(task["task"])
    return tasks


@pytest.mark.parametrize("more", ["", "engine: {slurm: {}}", "engine: {slurm: }"])
def test_all_nodes_without_another_word(capsys: pytest.CaptureFixture[str], more: str) -> None:
    assert planned(capsys, more) == {
        "node-0": ["ps:0", "chief:0", "worker:0", "worker:3"],
        "node-1": ["worker:1"],
        "node-2": ["worker:2"],
    }


def test_spare_ones_have_no_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(planned(capsys, "engine: {slurm: {spare: 1}}").values())[2] == []
    said = planned(capsys, "", "--slurm", "nodes=1", "--slurm", "spare=2")
    assert [len(tasks) for tasks in said.values()] == [6, 0, 0]


def test_listed_hosts_stay_and_a_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    listed = "hosts: [{name: a, address: 10.0.0.1, ssh: {}}]\nmodel_dir: /m\n"
    assert list(planned(capsys, listed)) == ["a"]
    assert list(planned(capsys, listed, "--hosts-from", "slurm")) == ["node-0", "node-1", "node-2"]
    assert run(["plan", "spec.yaml", "--", "ls"]) == 0
    assert "--hosts-from slurm takes the job's nodes" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("more", "options", "words"),
    [
        ("engine: {slurm: {nodes: 3, spare: 1}}", [], "Slurm job 17 has 3 nodes, and the spec wants 4: lower"),
        ("engine: {slurm: {spare: 3}}", [], "Slurm job 17 has 3 nodes, and the spec wants 4: lower"),
        ("engine: {slurm: {node: 3}}", [], "engine.slurm.node: unknown key 'node'; did you mean 'nodes'?"),
        ("engine: {slurm: {nodes: 0}}", [], "engine.slurm.nodes: must be 1 or more, got 0"),
        ("engine: {slurm: {gres: 'gpu 2'}}", [], "engine.slurm.gres: is nothing that Slurm knows by name: 'gpu 2'"),
        ("", ["--slurm", "nodes"], "--slurm 'nodes': write KEY=VALUE, such as --slurm nodes=3"),
        ("", ["--slurm", "nodes=x"], "engine.slurm.nodes: must be a whole number"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str], more: str, options: list[str], words: str
) -> None:
    Path("spec.yaml").write_text(SPEC + more)
    assert run(["run", "spec.yaml", *options, "--", "ls"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1, said


def test_outside_of_a_job_nothing_starts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    Path("spec.yaml").write_text(SPEC + "engine: {slurm: {nodes: 2}}")
    assert run(["run", "spec.yaml", "--", "ls"]) == 2
    assert "this is no Slurm job" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_run_on_this_machine_takes_no_words_for_slurm(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["local", "--slurm", "nodes=2", "--", "python", "x.py"]) == 2
    assert "--slurm is nothing for tflaunch local" in capsys.readouterr().err
    assert not list(Path().glob("runs/*"))
