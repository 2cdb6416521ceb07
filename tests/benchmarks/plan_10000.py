"""Seconds from the text of a spec to the start messages of 10,000 tasks. Run: python tests/benchmarks/plan_10000.py"""

from __future__ import annotations

import time

from launcher.plan.plan import Surroundings, bind, build_plan, start_message, with_run_dir
from launcher.spec import parse_spec

SPEC = """\
command: [train.py, --shard, "{index}"]
model_dir: /models/ctr
hosts: [{name: "node[0001-1000]", address: "node[0001-1000].example.org", ssh: {}}]
roles: {ps: {count: 50}, chief: {}, worker: {count: 9948}, evaluator: {}}
"""


def seconds() -> float:
    """How long it takes; prints the parts."""
    began = time.perf_counter()
    spec = parse_spec(SPEC)
    parsed = time.perf_counter()
    plan = with_run_dir(build_plan(spec, Surroundings(python="/usr/bin/python3", cwd="/w", env={})), "/runs/x")
    planned = time.perf_counter()
    bound = bind(plan, {item.task: 2000 + number for number, item in enumerate(plan.tasks)}, 1)
    size = sum(len(str(start_message(bound, item.task, 1, run="x").env["TF_CONFIG"])) for item in plan.tasks)
    ended = time.perf_counter()
    print(f"tasks {len(plan.tasks)}, TF_CONFIG {size / 2**20:.0f} MiB in all")
    print(f"spec {parsed - began:.3f} s, plan {planned - parsed:.3f} s, messages {ended - planned:.3f} s")
    return ended - began


if __name__ == "__main__":
    print(f"total {seconds():.3f} s")
