"""The same unmodified Estimator script, started by hand and by ``tflaunch local``.

By hand: five ``python script.py &`` with TF_CONFIGs made by hand; with ``mended`` the script mends the 30 s poll
itself, as people do. Each sample: wall seconds to the end of training and evaluation, CPU seconds of everything,
seconds until every trainer has done a step, and the sum of PSS at that time.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.processes import Meter, descendants, pss_mib, spawn

SCRIPT = Path(__file__).parents[1] / "e2e" / "canned.py"
WITH_ESTIMATOR = Path(__file__).parent / "with_estimator.py"
TRAINERS = ("chief-0", "worker-0", "worker-1")
TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One run of the script."""

    wall_s: float
    cpu_s: float
    first_steps_s: float
    pss_mib: float


def clean_env(python: Path) -> dict[str, str]:
    """Our environment without anything that is about TensorFlow or launchers."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TF", "TFLAUNCH"))}
    return env | {"PATH": f"{python.parent}:{env['PATH']}"}


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def tf_configs() -> dict[str, str]:
    """A TF_CONFIG for each of the five tasks, by slug."""
    ports = iter(free_ports(4))
    cluster = {
        role: [f"127.0.0.1:{next(ports)}" for _ in range(n)] for role, n in (("ps", 1), ("chief", 1), ("worker", 2))
    }
    tasks = [("ps", 0), ("chief", 0), ("worker", 0), ("worker", 1), ("evaluator", 0)]
    return {
        f"{role}-{index}": json.dumps({"cluster": cluster, "task": {"type": role, "index": index}})
        for role, index in tasks
    }


def all_have_stepped(logs: Sequence[Path]) -> bool:
    return all(log.exists() and b"loss = " in log.read_bytes() for log in logs)


def by_hand(python: Path, folder: Path, args: Sequence[str]) -> Sample:
    """Five processes, as a folder of bash scripts would start them."""
    meter = Meter(began=time.monotonic())
    command = [str(python), str(WITH_ESTIMATOR), str(SCRIPT), "--model_dir", str(folder / "model"), *args]
    tasks = {
        slug: spawn(command, clean_env(python) | {"TF_CONFIG": config}, folder / f"{slug}.log", folder)
        for slug, config in tf_configs().items()
    }
    waited_for = {task.pid: slug for slug, task in tasks.items() if slug != "ps-0"}

    def ended() -> bool:
        for pid in waited_for.keys() & meter.ended.keys():
            if meter.ended[pid] != 0:
                raise RuntimeError(f"{waited_for[pid]} ended with {meter.ended[pid]}: see {folder}")
        return waited_for.keys() <= meter.ended.keys()

    logs = [folder / f"{slug}.log" for slug in TRAINERS]
    first_s = meter.wait_for(lambda: all_have_stepped(logs) or ended(), TIMEOUT_S)  # a late worker may find no work
    memory = pss_mib(descendants())
    wall_s = meter.wait_for(ended, TIMEOUT_S)
    meter.end()
    return Sample(wall_s=wall_s, cpu_s=meter.cpu_s, first_steps_s=first_s, pss_mib=memory)


def by_tflaunch(python: Path, folder: Path, args: Sequence[str]) -> Sample:
    """One command."""
    meter = Meter(began=time.monotonic())
    run_dir = folder / "run"
    command = [
        str(python.parent / "tflaunch"),
        "local",
        "--workers",
        "2",
        "--ps",
        "1",
        "--plain",
        "--run-dir",
        str(run_dir),
    ]
    client = spawn(
        [*command, "--", "python", str(SCRIPT), "--model_dir", str(folder / "model"), *args],
        clean_env(python),
        folder / "tflaunch.log",
        folder,
    )
    logs = [run_dir / "logs" / f"{slug}.log" for slug in TRAINERS]
    first_s = meter.wait_for(lambda: all_have_stepped(logs), TIMEOUT_S)
    memory = pss_mib(descendants())
    wall_s = meter.wait_for(lambda: client.pid in meter.ended, TIMEOUT_S)
    if meter.ended[client.pid] != 0:
        raise RuntimeError(f"tflaunch ended with {meter.ended[client.pid]}: see {folder}")
    meter.wait_for(lambda: not descendants(), 30.0 + wall_s)
    meter.reap()
    return Sample(wall_s=wall_s, cpu_s=meter.cpu_s, first_steps_s=first_s, pss_mib=memory)


def measure(python: Path, rounds: int, steps: int) -> dict[str, list[dict[str, float]]]:
    """``rounds`` samples of each way, alternating."""
    samples: dict[str, list[dict[str, float]]] = {"by_hand": [], "mended": [], "tflaunch": []}
    for _ in range(rounds):
        for name, way, args in (
            ("by_hand", by_hand, []),
            ("tflaunch", by_tflaunch, []),
            ("mended", by_hand, ["--mend-poll"]),
        ):
            folder = Path(tempfile.mkdtemp(prefix="tflaunch-bench-"))
            sample = way(python, folder, ["--steps", str(steps), *args])
            shutil.rmtree(folder)
            samples[name].append(asdict(sample))
            print(f"  {name:9} " + "  ".join(f"{key} {value:.2f}" for key, value in asdict(sample).items()), flush=True)
    return samples
