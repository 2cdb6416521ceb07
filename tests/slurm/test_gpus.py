"""What Slurm has granted is what tasks see."""

from __future__ import annotations

import json

from tests.hosts.running import GOOD
from tests.slurm.lab import Lab, until
from tests.slurm.running import Start, spec


def test_a_task_sees_the_gpu_that_was_granted(slurm: Lab, inside: Start) -> None:
    """Not the first of the node, which another job has."""
    slurm.run("sbatch", "-N1", "-w", "n2", "--gres=gpu:1", "--wrap", "sleep 600")
    until(lambda: slurm.run("squeue", "--noheader", "--format=%T").split() == ["RUNNING"], "the other job", slurm.words)
    roles = {
        "ps": {"count": 1, "on": ["node-0"]},
        "chief": {"on": ["node-0"], "gpus": 1},
        "worker": {"count": 1, "on": ["node-1"], "gpus": 1},
    }
    words = {role: f"env=CUDA_VISIBLE_DEVICES,{GOOD[role]}" for role in ("ps", "chief", "worker")}
    written = spec(words, engine={"slurm": {"nodes": 3, "gres": "gpu:1"}}, roles=roles)
    run = inside(written, salloc=("--gres=gpu:1",))
    assert run.end() == 0, run.said
    seen = {task: json.loads(run.log(task).splitlines()[0])[1] for task in ("ps:0", "chief:0", "worker:0")}
    assert seen == {"ps:0": "-1", "chief:0": "0", "worker:0": "1"}


def test_the_cores_that_were_granted_set_the_number_of_threads(slurm: Lab, inside: Start) -> None:
    """Not those of the node, which this machine's steps are free to use; a variable of the user's own stays."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    words = {**GOOD, "chief": f"{','.join(f'env={name}' for name in names)},{GOOD['chief']}"}
    run = inside(spec(words), salloc=("--ntasks-per-node=1", "--cpus-per-task=1"), OMP_NUM_THREADS="7")
    assert run.end() == 0, run.said
    seen = dict(json.loads(line) for line in run.log("chief:0").splitlines()[:3])
    assert seen == {names[0]: "1", names[1]: "1", names[2]: "7"}
    assert {host["facts"]["cores"] for host in run.report["hosts"]} == {1}
