"""What it costs that tasks roam: ``python -m tests.benchmarks.roaming [canned] joins hosts rates``.

On the shared job, or with ``canned`` on a canned Estimator. A newcomer shares the processors with all who train.
``joins``: from ``scale`` until who was asked for trains, locally: one worker more, then five more, then all but two
leave. ``hosts`` (root): five hosts of namespaces; that of a parameter server is drained, those of a worker and the
evaluator, of the chief, and of a parameter server are cut off. ``rates``: steps a second with and without roaming, in
alternating pairs. Each prints where the time goes, and what it is to be at most.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import launcher
from tests.benchmarks import guarding
from tests.hosts.namespaces import SHARED, Network, network
from tests.hosts.running import Live, spec

PATIENCE_S = 900.0
LEASE_S, GRACE_S = 20.0, 10.0
CANNED = Path(__file__).parents[1] / "e2e" / "canned.py"
WAYS = {"roaming": (), "fixed": ("--tune", "-roaming")}
ROLES: dict[str, Any] = {
    "ps": {"count": 2, "on": ["b", "e", "c"]},
    "chief": {"on": ["a", "c"]},
    "worker": {"count": 2, "on": ["c", "d"]},
    "evaluator": {"on": ["d", "c"]},
}


def at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(str(event["at"]).replace("Z", "+00:00")).timestamp()


def wait_for(what: Callable[[], object], why: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain for {why}")
        time.sleep(0.02)


class Story:
    """The events of a run."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "events.jsonl"

    def of(self, kind: str, **values: object) -> list[dict[str, Any]]:
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [
            event
            for event in found
            if event["kind"] == kind and all(event.get(name) == v for name, v in values.items())
        ]

    def show(self, since: float) -> None:
        """What has happened since, in seconds."""
        for kind in ("host_changed", "tasks_moved", "task_changed", "checkpoint_written", "generation_bound"):
            for event in self.of(kind):
                if at(event) >= since:
                    words = (event.get(name) for name in ("task", "attempt", "state", "host", "start", "reason"))
                    lines.append((at(event) - since, f"{kind} {' '.join(str(word) for word in words if word)}"))
        for seconds, text in sorted(lines):
            print(f"      {seconds:7.2f}  {text}")
        lines.clear()


lines: list[tuple[float, str]] = []


def shared_job(data: str) -> list[str]:
    command = ["python", "-m", "jobs.esmm", "train", "--data", data, "--model-dir", "{model_dir}"]
    return [*command, "--epochs", "100000", "--save-checkpoints-steps", "200"]


def canned_job(script: str) -> list[str]:
    return ["python", script, "--model_dir", "{model_dir}", "--steps", "100000000", "--save_steps", "500"]


def joins(command: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="tflaunch-bench-") as folder:
        run = launcher.start(command, cwd=folder, ps=1, workers=1, evaluator=False)
        story = Story(run.folder)
        try:
            wait_for(lambda: story.of("task_changed", task="worker:0", state="training"), "the first worker")
            for count, bar_s in ((2, 2.0), (7, 6.0), (2, None)):
                done, since = len(story.of("scaled")), time.time()
                run.scale(count)
                wait_for(lambda: len(story.of("scaled")) > done, f"{count} workers")  # noqa: B023
                over = story.of("scaled")[-1]
                bar = "" if bar_s is None else f" (bar {bar_s:g})"
                sizes = f"{over['before']} to {over['after']} workers"
                print(f"  {sizes}: {over['lasted_s']:.2f} s{bar}; idle {over['idle_s']}")
                story.show(since)
        finally:
            run.stop(now=True)


@contextmanager
def five_hosts(data_examples: int = 300_000) -> Iterator[Network]:
    with tempfile.TemporaryDirectory(prefix="tflaunch-bench-") as folder, network(Path(folder), list("abcde")) as made:
        generate(made.shared / "data", data_examples)
        shutil.copy(CANNED, made.shared)
        yield made


def generate(folder: Path, examples: int = 300_000) -> None:
    argv = ["-m", "jobs.esmm", "generate", "--out", str(folder), "--train-examples", str(examples)]
    subprocess.run([sys.executable, *argv, "--eval-examples", "20000"], check=True, capture_output=True)


def hosts(command: list[str]) -> None:
    with five_hosts() as made, tempfile.TemporaryDirectory(prefix="tflaunch-bench-") as folder:
        written = spec(
            made,
            command=command,
            model_dir=f"{SHARED}/model",
            preload=["tensorflow"],
            roles=ROLES,
            policy={"lease_s": LEASE_S, "grace_s": GRACE_S, "lost_hosts": 3},
        )
        run = Live(made, Path(folder), written)
        story = Story(run.folder)
        try:
            for task in ("chief:0", "worker:0", "worker:1"):
                wait_for(lambda: story.of("task_changed", task=task, state="training"), task)  # noqa: B023
            wait_for(lambda: len(story.of("checkpoint_written")) >= 2, "checkpoints")
            _move(story, "drain of ps:0's host", 3.0, lambda: _drain(made, run, "b"))
            _move(story, "loss of worker:1's and the evaluator's host", LEASE_S + 5, lambda: made.host("d").cut())
            _move(story, "loss of the chief's host", LEASE_S + 6, lambda: made.host("a").cut())
            _move(story, "loss of ps:1's host", LEASE_S + 6, lambda: made.host("e").cut())
        finally:
            run.close()


def _drain(made: Network, run: Live, host: str) -> None:
    from launcher.cli import client
    from launcher.record.runs import RunFolder
    from launcher.supervise import control

    if error := client.ask(RunFolder(run.folder), control.AskDrain(host=host)):
        raise RuntimeError(error)


def _move(story: Story, what: str, bar_s: float, begin: Callable[[], object]) -> None:
    done, since = len(story.of("move_over")), time.time()
    begin()
    wait_for(lambda: len(story.of("move_over")) > done, what)
    over = story.of("move_over")[-1]
    idle_s = max(over["idle_s"].values(), default=0.0)
    print(f"  {what}: all train again after {over['recovered_s']:.2f} s, idle {over['idle_s']} (longest {idle_s:.2f})")
    print(f"    bar {bar_s:g}; {over['steps_rolled_back']} steps rolled back, {over['examples_again']} examples again")
    story.show(since)


def rates(rounds: int = 10, steps: int = 6000) -> None:
    """Both jobs; a ratio of 0.98 is the bar."""
    for name, samples in guarding.measure(Path(sys.executable), rounds, steps, WAYS).items():
        ratios = [mine / other for mine, other in zip(samples["roaming"], samples["fixed"], strict=True)]
        middle = statistics.median(ratios)
        print(f"  {name}: roaming / fixed {middle:.3f} (bar 0.98), from {min(ratios):.3f} to {max(ratios):.3f}")


def main(wanted: list[str]) -> None:
    is_canned = "canned" in wanted
    with tempfile.TemporaryDirectory(prefix="tflaunch-bench-") as folder:
        if "joins" in wanted:
            generate(Path(folder) / "data")
            joins(canned_job(str(CANNED)) if is_canned else shared_job(f"{folder}/data"))
    if "hosts" in wanted:
        hosts(canned_job(f"{SHARED}/{CANNED.name}") if is_canned else shared_job(f"{SHARED}/data"))
    if "rates" in wanted:
        rates()


if __name__ == "__main__":
    main(sys.argv[1:] or ["joins"])
