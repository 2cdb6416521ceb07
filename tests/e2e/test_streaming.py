"""Streaming input in real clusters: what an audit says was trained, whatever is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.tfrecord import encode_rows
from launcher.estimator.streaming.tools.audit import Audit, read_audit
from launcher.record.reading import load_view
from launcher.record.report import status_of
from launcher.record.runs import RunFolder
from launcher.record.view import RunView
from tests.e2e.running import Finished, environment, tflaunch, tflaunch_argv
from tests.launcher.estimator.streaming import newcomer

ROOT = Path(__file__).parents[2]
JOB = "tests.launcher.estimator.streaming.plain"
TRAINERS = ("chief:0", "worker:0", "worker:1")
PARQUET: dict[str, Any] = {"found": True, "slice_records": 10}
"""Read as it lies, in ranges that neither files nor row groups end at."""

pytestmark = [pytest.mark.tensorflow, pytest.mark.e2e, pytest.mark.timeout(420)]


@dataclass(frozen=True, kw_only=True)
class Data:
    folder: Path
    rows: int
    most_rows: int


def make_data(folder: Path, *, shards: int, most_rows: int, first: int = 0, name: str = "{:04}.tfrecord") -> Data:
    """Files of unequal sizes, TFRecord or Parquet by ``name``, whose rows are numbered from ``first`` on."""
    dice, at = random.Random(1), first
    for shard in range(shards):
        rows = dice.randint(1, most_rows)
        path = folder / name.format(shard, day=shard % 3)
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            pq.write_table(pa.table({"x": range(at, at + rows)}), path, row_group_size=7)
        else:
            path.write_bytes(encode_rows({"x": range(at, at + rows)}))
        at += rows
    return Data(folder=folder, rows=at - first, most_rows=most_rows)


def arguments(folder: Path, run: str, /, **options: Any) -> list[str]:
    given = {"model_dir": str(folder / "model"), "audit": str(folder / "audit"), **options}
    cluster = ["local", "--workers", "2", "--ps", "1", "--no-evaluator", "--restarts", "99", "--plain"]
    return [*cluster, "--run-dir", run, "--", "python", "-m", JOB, json.dumps(given)]


def train(folder: Path, run: str, /, **options: Any) -> Finished:
    done = tflaunch(*arguments(folder, run, **options), cwd=folder, run=run, PYTHONPATH=str(ROOT))
    assert done.code == 0, done.stdout[-6000:] + done.stderr
    return done


def rows_of(audit: Audit) -> dict[int, Counter[int]]:
    """By epoch, how many examples were trained how often."""
    return {epoch: Counter(counter.values()) for epoch, counter in audit.by_epoch.items()}


def test_three_epochs_train_each_example_three_times_and_a_finished_job_reads_nothing(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", shards=100, most_rows=40)
    options = {"sources": [str(data.folder)], "epochs": 3, "batch": 16, "save_steps": 50}
    done = train(tmp_path, "first", **options)
    audit = read_audit(tmp_path / "audit")
    assert rows_of(audit) == {0: {1: data.rows}, 1: {1: data.rows}, 2: {1: data.rows}}
    assert done.report is not None
    told = done.report["input"]
    assert (told["examples"], told["duplicates"], told["skipped"]) == (3 * data.rows, 0, 0)
    assert told["progress"] == 1 and told["epoch"] == 3 and told["pending"] == told["held"] == 0
    assert sum(done.task(name)["examples"] for name in TRAINERS) == 3 * data.rows
    assert all(0 <= done.task(name)["waiting"] <= 1 for name in TRAINERS if done.task(name)["waiting"] is not None)

    again = train(tmp_path, "second", **options)
    assert again.report is not None and again.report["global_step"] == done.report["global_step"]
    assert read_audit(tmp_path / "audit").trained == audit.trained


class Killer:
    """Runs a training and kills tasks of it at random moments, as a seed says."""

    def __init__(self, folder: Path, run: str, dice: random.Random, /, **options: Any) -> None:
        self.folder, self.run = folder, run
        self.dice = dice
        self.killed: list[str] = []
        self.log = (folder / f"{run}.log").open("wb")
        self.process = subprocess.Popen(
            tflaunch_argv(*arguments(folder, run, **options)),
            cwd=folder,
            env=environment(PYTHONPATH=str(ROOT)),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def kill(self, tasks: tuple[str, ...]) -> None:
        """Kill one of ``tasks`` a moment after everybody trains, if it comes to that."""
        if not self.wait_for_training():
            return
        sleep(self.dice.uniform(0.0, 2.0))
        task = self.dice.choice(tasks)
        pid = self.status().get(task, {}).get("pid")
        if pid is None or self.process.poll() is not None:
            return
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.killed.append(task)

    def wait_for_training(self) -> bool:
        ends_at = monotonic() + 120
        while monotonic() < ends_at and self.process.poll() is None:
            tasks = self.status()
            if tasks and all(tasks[name]["state"] == "training" for name in TRAINERS):
                return True
            sleep(0.1)
        return False

    def wait_for(self, test: Callable[[], bool]) -> None:
        ends_at = monotonic() + 120
        while not test():
            assert monotonic() < ends_at and self.process.poll() is None, self.output()[-8000:]
            sleep(0.1)

    def examples(self) -> int:
        """Acknowledged so far, as the run's events say."""
        counted = view_of(self.folder / self.run).input
        return counted.examples if counted is not None else 0

    def output(self) -> str:
        return (self.folder / f"{self.run}.log").read_text(errors="replace")

    def status(self) -> dict[str, dict[str, Any]]:
        path = self.folder / self.run
        if not (path / "events.jsonl").exists():
            return {}
        return {task["task"]: task for task in status_of(RunFolder(path))["tasks"]}  # type: ignore[union-attr, index]

    def finish(self) -> dict[str, Any]:
        code = self.process.wait(240)
        assert code == 0, self.output()[-8000:]
        report: dict[str, Any] = json.loads((self.folder / self.run / "report.json").read_text())
        return report

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        self.log.close()


def move_in(data: Data, folder: Path) -> None:
    """Let the files appear in the folder, each as a whole."""
    for file in data.folder.iterdir():
        file.rename(folder / f"{data.folder.name}-{file.name}")


def view_of(run: Path) -> RunView:
    folder = RunFolder(run)
    return load_view(folder) if folder.events.exists() else RunView()


@pytest.mark.parametrize("name", ["{:04}.parquet", pytest.param("{:04}.tfrecord", marks=pytest.mark.soak)])
def test_a_watched_folder_is_followed_until_tflaunch_stop_and_a_restart_goes_on(tmp_path: Path, name: str) -> None:
    incoming = tmp_path / "in"
    data = make_data(incoming, shards=20, most_rows=9, name=name)
    more = make_data(tmp_path / "more", shards=10, most_rows=9, first=10_000, name=name)
    last = make_data(tmp_path / "last", shards=10, most_rows=9, first=20_000, name=name)
    options = {"folder": str(incoming), "batch": 8, "save_steps": 30, "found": name.endswith(".parquet")}
    live = Killer(tmp_path, "first", random.Random(0), **options)
    try:
        live.wait_for(lambda: live.examples() == data.rows)
        move_in(more, incoming)
        live.wait_for(lambda: live.examples() == data.rows + more.rows)
        stopped = tflaunch("stop", str(tmp_path / "first"), cwd=tmp_path)
        assert stopped.code == 0, stopped.stderr
        report = live.finish()
    finally:
        live.close()
    assert report["outcome"] == "succeeded"
    assert report["input"]["duplicates"] == 0 and report["input"]["lag_s"] is not None

    move_in(last, incoming)
    done = train(tmp_path, "second", **options, idle_s=3)
    audit = read_audit(tmp_path / "audit")
    assert set(audit.trained.values()) == {1}
    assert len(audit.trained) == data.rows + more.rows + last.rows
    assert done.report is not None and done.report["input"]["examples"] == len(audit.trained)


def test_what_was_trained_before_a_stop_is_not_trained_again(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", shards=6, most_rows=600)
    options = {"sources": [str(data.folder)], "epochs": 3, "batch": 8, "found": True, "step_s": 0.02}
    killer = Killer(tmp_path, "first", random.Random(0), **options)
    killer.wait_for(lambda: killer.examples() > 0)
    killer.close()  # by SIGTERM
    train(tmp_path, "second", **options)
    audit = read_audit(tmp_path / "audit")
    assert rows_of(audit) == {epoch: {1: data.rows} for epoch in range(3)}
    assert audit.counts["returned"] and not audit.counts["duplicates"]


def train_under_kills(
    folder: Path, tasks: tuple[str, ...], *, seed: int, kills: int, step_s: float, parquet: bool = False
) -> Killer:
    """One training with up to so many kills; checks what must hold whatever is killed. ``parquet``: in ranges, in
    folders of days."""
    folder.mkdir(exist_ok=True)
    name = "day={day}/{:04}.parquet" if parquet else "{:04}.tfrecord"
    data = make_data(folder / "data", shards=60, most_rows=60, name=name)
    options = {"sources": [str(data.folder)], "epochs": 3, "batch": 8, "save_steps": 40, "step_s": step_s, "seed": seed}
    killer = Killer(folder, "run", random.Random(seed), **options, **(PARQUET if parquet else {}))
    try:
        while len(killer.killed) < kills and killer.process.poll() is None:
            killer.kill(tasks)
        report = killer.finish()
    finally:
        killer.close()
    audit = read_audit(folder / "audit")
    assert [len(audit.by_epoch[epoch]) for epoch in range(3)] == [data.rows] * 3, killer.killed
    told = report["input"]
    assert audit.duplicates == told["duplicates"] == audit.counts["duplicates"], (killer.killed, told)
    assert told["duplicates"] <= len(killer.killed) * len(TRAINERS) * told["most_held"] * data.most_rows
    assert told["examples"] == 3 * data.rows
    return killer


OF_TRAINERS, OF_PS = ("worker:1", "chief:0"), ("ps:0", "worker:0")


@pytest.mark.parametrize(
    ("tasks", "parquet"),
    [
        (OF_TRAINERS, False),
        (OF_PS, True),
        pytest.param(OF_TRAINERS, True, marks=pytest.mark.soak),
        pytest.param(OF_PS, False, marks=pytest.mark.soak),
    ],
    ids=["trainers", "ps and worker, Parquet", "trainers, Parquet", "ps and worker"],
)
def test_nothing_is_lost_whoever_is_killed(tmp_path: Path, tasks: tuple[str, ...], parquet: bool) -> None:
    killer = train_under_kills(tmp_path, tasks, seed=len(tasks[0]), kills=3, step_s=0.03, parquet=parquet)
    assert killer.killed


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("parquet", [False, True], ids=["TFRecord", "Parquet"])
def test_thirty_random_kills_over_several_runs(tmp_path: Path, parquet: bool) -> None:
    kills = 0
    for seed in range(40):
        folder, tasks = tmp_path / str(seed), ("ps:0", *TRAINERS)
        kills += len(train_under_kills(folder, tasks, seed=seed, kills=6, step_s=0.05, parquet=parquet).killed)
        if kills >= 30:
            return
    pytest.fail(f"only {kills} kills")


@pytest.mark.parametrize(
    ("twin", "rows"),
    [
        ("csv", 2000),
        pytest.param("csv", 200_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
        pytest.param("parquet", 200_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
    ],
)
def test_the_newcomers_file_trains_by_the_example_on_a_cluster(tmp_path: Path, twin: str, rows: int) -> None:
    newcomer.write(tmp_path / "train", newcomer.rows(rows))
    newcomer.write(tmp_path / "eval", newcomer.rows(rows // 10, seed=1))
    example = [str(ROOT / "examples" / "table.py"), f"train/{twin}", f"eval/{twin}"]
    cluster = ["local", "--workers", "1", "--plain", "--run-dir", "run"]
    done = tflaunch(*cluster, "--", "python", *example, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.code == 0, done.stdout[-6000:] + done.stderr
    assert done.report is not None and done.report["input"]["examples"] == 3 * rows
    learnt = 0.5 if rows > 100_000 else 0.0  # a few thousand rows are twelve steps
    assert done.report["metrics"]["accuracy"] > learnt
