"""A training that is gone on with: its audit and its end are those of one that was never broken off."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.estimator.streaming.tools.audit import read_audit
from tests.e2e.running import environment, tflaunch_argv
from tests.e2e.test_streaming import ROOT, TRAINERS, Killer, make_data
from tests.launcher.record.disks import Disk, full_disk

pytestmark = [pytest.mark.tensorflow, pytest.mark.e2e, pytest.mark.timeout(900)]
EPOCHS, BATCH, SAVE_STEPS = 2, 8, 40


class Resumed(Killer):
    """The same training, gone on with again and again."""

    def resume(self) -> None:
        assert self.process.wait(240) != 0
        self.process = subprocess.Popen(
            tflaunch_argv("resume", self.run, "--plain"),
            cwd=self.folder,
            env=environment(PYTHONPATH=str(ROOT)),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def supervisor(self) -> int:
        return int(json.loads((self.folder / self.run / "supervisor.json").read_text())["pid"])


def interrupt(training: Resumed, disk: Disk | None) -> None:
    training.process.send_signal(signal.SIGINT)


def kill_supervisor(training: Resumed, disk: Disk | None) -> None:
    os.kill(training.supervisor(), signal.SIGKILL)


def fill(training: Resumed, disk: Disk | None) -> None:
    assert disk is not None
    disk.fill()


def broken(folder: Path, ends: list[Callable[[Resumed, Disk | None], None]], disk: Disk | None) -> dict[str, Any]:
    """Trains, broken off in each of these ways; checks the audit and gives the report."""
    data = make_data(folder / "data", shards=60, most_rows=60)
    place = {"model_dir": str(disk.path / "model")} if disk is not None else {}
    options: dict[str, Any] = {"epochs": EPOCHS, "batch": BATCH, "save_steps": SAVE_STEPS, "step_s": 0.05, **place}
    training = Resumed(folder, "run", random.Random(0), sources=[str(data.folder)], **options)
    try:
        for number, end in enumerate(ends, 1):
            part = number * EPOCHS * data.rows // (len(ends) + 1)
            training.wait_for(lambda part=part: training.examples() >= part)  # type: ignore[misc]
            end(training, disk)
            training.process.wait(240)
            if end is fill and disk is not None:
                disk.free()
            training.resume()
        report = training.finish()
    finally:
        training.close()
    audit, told = read_audit(folder / "audit"), report["input"]
    assert [len(audit.by_epoch[epoch]) for epoch in range(EPOCHS)] == [data.rows] * EPOCHS, training.output()[-4000:]
    assert told["duplicates"] == audit.counts["duplicates"]
    assert told["duplicates"] <= len(ends) * len(TRAINERS) * told["most_held"] * data.most_rows
    # What was trained after the last checkpoint, when all died at once, nobody is left to count.
    unseen = (SAVE_STEPS + len(TRAINERS)) * BATCH * (len(ends) - ends.count(interrupt))
    assert 0 <= audit.duplicates - told["duplicates"] <= unseen
    assert told["examples"] == EPOCHS * data.rows and told["progress"] == 1
    assert report["outcome"] == "succeeded"
    # As of one that was never broken off, but for what was trained again, and the batches that are smaller or were not
    # acknowledged where a part ended: of each trainer one of either kind.
    steps = EPOCHS * data.rows // BATCH
    most_more = (2 * len(ends) + 1) * len(TRAINERS) + audit.duplicates // BATCH
    assert steps <= report["global_step"] <= steps + most_more
    assert report["global_step"] == audit.global_step >= audit.steps
    return report


def test_a_training_in_four_parts_is_one(tmp_path: Path) -> None:
    with full_disk(tmp_path, 8 << 20) as disk:
        report = broken(tmp_path, [interrupt, kill_supervisor, fill], disk)
    assert [part["outcome"] for part in report["parts"]] == ["interrupted", "lost", "failed", "succeeded"]
    assert report["parts"][2]["cause"]["kind"] == "disk_full"
    steps = [part["global_step"] for part in report["parts"]]
    assert steps == sorted(steps) and steps[-1] == report["global_step"]
