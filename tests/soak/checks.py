"""What must hold after a drill, whatever has happened in it."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from launcher.estimator.streaming.tools.audit import read_audit

EPOCHS = 2


def every_example_was_trained(audit_folder: Path, rows: int, report: dict[str, Any]) -> None:
    """In each epoch, in what was saved last; and the report knows of it."""
    audit = read_audit(audit_folder)
    assert [len(audit.by_epoch.get(epoch, ())) for epoch in range(EPOCHS)] == [rows] * EPOCHS, "examples were lost"
    told = report["input"]
    assert told["examples"] == EPOCHS * rows, told
    assert told["duplicates"] == audit.counts["duplicates"], (told, audit.counts)
    assert report["global_step"] == audit.global_step == report["checkpoints"][-1]["global_step"]


def the_report_knows_every_attempt(signed: Path, report: dict[str, Any]) -> None:
    """Each that signed is in it, with the process that it was, and none has begun twice. Who was killed before his
    program began has not signed; what process it was cannot be known of a host that was cut off before it could tell,
    and lost."""
    lines = [line.split() for line in signed.read_text().splitlines()]
    assert max(Counter((task, number) for task, number, _ in lines).values()) == 1, "an attempt began twice"
    lost = {host["host"] for host in report["hosts"] if host["state"] == "lost"}
    told = {
        (task["task"], str(number)): (str(attempt["pid"]), attempt["host"])
        for task in report["tasks"]
        for number, attempt in enumerate(task["attempts"], 1)
    }
    for task, number, pid in lines:
        known, host = told.get((task, number), ("never begun", ""))
        assert known == pid or (known == "None" and host in lost), (task, number, pid, told)


def private_folders(runs: set[str], place: Path = Path("/tmp")) -> list[Path]:
    """Those that are left of these runs."""
    left = []
    for folder in place.glob(f"tflaunch-{os.getuid()}-*"):
        try:
            run = json.loads((folder / "run.json").read_text())["run"]
        except (OSError, ValueError, KeyError):
            continue
        left += [folder] if run in runs else []
    return left
