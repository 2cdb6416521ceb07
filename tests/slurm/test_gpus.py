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
