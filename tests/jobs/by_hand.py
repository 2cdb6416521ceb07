"""A cluster started by hand: one process a task, each with a TF_CONFIG of its own and nobody to watch over them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TASKS = (("ps", 0), ("chief", 0), ("worker", 0), ("worker", 1), ("evaluator", 0))


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the tasks that end by themselves have ended; ``logs`` has everybody's output."""

    exit_codes: dict[str, int]
    logs: dict[str, str]


def run_by_hand(command: Sequence[str], *, log_dir: Path, timeout_s: float) -> Ended:
    """Runs chief, two workers, ps and evaluator to the end; then ends the ps, which never does so itself."""
    log_dir.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    with _started(command, log_dir) as processes:
        waited_for = {name: process for name, process in processes.items() if not name.startswith("ps")}
        try:
            codes = {name: p.wait(max(0.0, deadline - time.monotonic())) for name, p in waited_for.items()}
        except subprocess.TimeoutExpired as error:
            tails = "\n".join(f"== {path.name}\n{path.read_text()[-2000:]}" for path in sorted(log_dir.iterdir()))
            raise TimeoutError(f"not over after {timeout_s} s\n{tails}") from error
    return Ended(exit_codes=codes, logs={path.stem: path.read_text() for path in log_dir.glob("*.log")})


def tf_configs(addresses: dict[str, list[str]]) -> dict[str, str]:
    """TF_CONFIG by task. The evaluator is in its own cluster only: the form that is safe for every strategy."""
    configs = {}
    for role, index in TASKS:
        cluster = addresses if role != "evaluator" else addresses | {"evaluator": ["localhost:0"]}
        configs[f"{role}-{index}"] = json.dumps({"cluster": cluster, "task": {"type": role, "index": index}})
    return configs


@contextmanager
def _started(command: Sequence[str], log_dir: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    ports = _free_ports(sum(role != "evaluator" for role, _ in TASKS))
    addresses: dict[str, list[str]] = {}
    for (role, _), port in zip((task for task in TASKS if task[0] != "evaluator"), ports, strict=True):
        addresses.setdefault(role, []).append(f"localhost:{port}")
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, config in tf_configs(addresses).items():
            with (log_dir / f"{name}.log").open("wb") as log:
                processes[name] = subprocess.Popen(
                    [sys.executable, *command],
                    env=os.environ | {"TF_CONFIG": config},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    """Free a moment ago; nobody holds them for us, as by hand nobody does."""
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
