"""What becomes of programs of every shape: ended, interrupted, and with a task of each role killed.

Run: python -m tests.shapes.table [--out TABLE.md] [--only WORD] [--programs FOLDER]. Each case is a run of its own; the
table says its outcome, exit code, and the seconds from the last work of a trainer to the end. ``--programs``: another
folder with programs; it has to hold the files that ``CASES`` names.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.e2e.running import alive

HERE = Path(__file__).parent
TIMEOUT_S = 240.0
MOST_WAITING_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A program and its cluster. ``short``: its arguments to end soon, ``long``: to be disturbed; ``{dir}`` is a folder
    of the case's own; ``is_silent``: it says of no step; ``kill_at``: the step at which a task is killed."""

    program: str
    cluster: tuple[str, ...]
    short: tuple[str, ...]
    long: tuple[str, ...]
    roles: tuple[str, ...]
    is_silent: bool = False
    kill_at: int = 60


PS_CLUSTER = ("--ps", "1", "--workers", "2", "--no-evaluator")
NO_PS = ("--ps", "0", "--workers", "2", "--no-evaluator")
WORKERS = ("--ps", "0", "--no-chief", "--workers", "3", "--no-evaluator")
PS_WORKERS = ("--ps", "1", "--no-chief", "--workers", "2", "--no-evaluator")
FOUR = ("--ps", "1", "--workers", "2", "--evaluator")
PS_ROLES, NO_PS_ROLES = ("worker:1", "ps:0", "chief:0"), ("worker:1", "chief:0")
WORKER_ROLES, PS_WORKER_ROLES = ("worker:1", "worker:0"), ("worker:1", "ps:0", "worker:0")

OWN: tuple[Shape, ...] = (
    Shape(program="coordinated.py", cluster=FOUR, short=("200", "{dir}"), long=("1200", "{dir}"), roles=PS_ROLES),
    Shape(program="coordinated_fit.py", cluster=PS_CLUSTER, short=("3", "{dir}"), long=("20", "{dir}"), roles=PS_ROLES),
    Shape(
        program="collective.py",
        cluster=WORKERS,
        short=("100", "{dir}"),
        long=("400", "{dir}"),
        roles=WORKER_ROLES,
        kill_at=8,
    ),
    Shape(program="collective_fit.py", cluster=NO_PS, short=("3", "{dir}"), long=("20", "{dir}"), roles=NO_PS_ROLES),
    Shape(
        program="monitored.py",
        cluster=PS_WORKERS,
        short=("200", "{dir}"),
        long=("3000", "{dir}"),
        roles=PS_WORKER_ROLES,
    ),
    Shape(
        program="monitored.py",
        cluster=PS_WORKERS,
        short=("100", "{dir}", "--sync"),
        long=("1500", "{dir}", "--sync"),
        roles=PS_WORKER_ROLES,
    ),
    Shape(program="plain.py", cluster=FOUR, short=("30",), long=("120",), roles=PS_ROLES, is_silent=True),
)
OTHERS: tuple[Shape, ...] = (
    Shape(program="psv2_ctl.py", cluster=FOUR, short=("200", "{dir}"), long=("600", "{dir}", "0.02"), roles=PS_ROLES),
    Shape(program="psv2_fit.py", cluster=FOUR, short=("2", "{dir}"), long=("40", "{dir}"), roles=PS_ROLES),
    Shape(program="mwms_ctl.py", cluster=NO_PS, short=("100", "{dir}"), long=("1000", "{dir}"), roles=NO_PS_ROLES),
    Shape(program="mwms_fit.py", cluster=NO_PS, short=("2", "{dir}"), long=("60", "{dir}"), roles=NO_PS_ROLES),
    Shape(program="mts.py", cluster=FOUR, short=("600", "{dir}"), long=("6000", "{dir}"), roles=PS_ROLES),
    Shape(
        program="mts.py",
        cluster=FOUR,
        short=("300", "{dir}", "--sync"),
        long=("3000", "{dir}", "--sync"),
        roles=PS_ROLES,
    ),
    Shape(program="nontf.py", cluster=FOUR, short=("3",), long=("12",), roles=PS_ROLES, is_silent=True),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One row. ``waited_s``: from the last work of a trainer to the end; ``drained``: of these the seconds in which the
    last checkpoint was evaluated; ``left``: processes that are still there."""

    case: str
    fault: str
    outcome: str
    code: int
    waited_s: float
    restarts: int
    left: int

    def row(self) -> str:
        late = " **late**" if self.waited_s > MOST_WAITING_S else ""
        left = f"{self.left} left" if self.left else "none"
        return (
            f"| {self.case} | {self.fault} | {self.outcome} | {self.code} | {self.restarts} | {self.waited_s:.1f}{late}"
            f" | {left} |"
        )


def outcomes(shape: Shape, folder: Path, only: str | None = None) -> Iterator[Outcome]:
    """Each case of a program, one after the other; ``only`` those whose fault has that word."""
    for fault in ("", "Ctrl-C", *(f"kill {task}" for task in shape.roles)):
        if only is not None and (only not in fault or bool(only) != bool(fault)):
            continue
        with tempfile.TemporaryDirectory(prefix="tflaunch-shapes-") as name:
            yield _run(shape, folder, fault, Path(name))


def _run(shape: Shape, folder: Path, fault: str, cwd: Path) -> Outcome:
    arguments = [word.replace("{dir}", str(cwd / "model")) for word in (shape.long if fault else shape.short)]
    options = (
        ["--inject", f"{fault} {'after 3s' if shape.is_silent else f'at step {shape.kill_at}'}"]
        if fault.startswith("kill")
        else []
    )
    argv = ["local", *shape.cluster, "--plain", "--run-dir", "run", *options, "--", str(folder / shape.program)]
    run = subprocess.Popen(
        [sys.executable, "-m", "launcher", *argv, *arguments],
        cwd=cwd,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=(cwd / "out").open("w"),
        stderr=subprocess.STDOUT,
    )
    if fault == "Ctrl-C":
        _await_work(cwd / "run", is_silent=shape.is_silent)
        run.send_signal(signal.SIGINT)
    try:
        code = run.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGINT)
        run.send_signal(signal.SIGINT)
        code = run.wait(60)
    return _outcome(shape, fault, cwd, code)


def _environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TF_CONFIG", "TFLAUNCH_"))}
    return {**env, "PYTHONUNBUFFERED": "1"}


def _await_work(run_dir: Path, *, is_silent: bool) -> None:
    """Until a trainer has done a step, or runs for a while where it never says so."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        told = _events(run_dir)
        started = [_seconds(event["at"]) for event in told if event["kind"] == "task_changed" and event["pid"]]
        if any(event["kind"] == "progressed" for event in told):
            return
        if is_silent and started and time.time() - max(started) > 3:
            return
        time.sleep(0.2)


def _events(run_dir: Path) -> list[dict[str, Any]]:
    path = run_dir / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def _trainer_logs(run_dir: Path) -> list[Path]:
    return [path for role in ("chief", "worker") for path in (run_dir / "logs").glob(f"{role}-*.log")]


def _outcome(shape: Shape, fault: str, cwd: Path, code: int) -> Outcome:
    report = json.loads((cwd / "run" / "report.json").read_text())
    events = _events(cwd / "run")
    ended = _seconds(events[-1]["at"])
    asked = next((_seconds(event["at"]) for event in events if event["kind"] == "stop_requested"), 0.0)
    worked = [_seconds(event["at"]) for event in events if event["kind"] in ("progressed", "checkpoint_written")]
    printed = [path.stat().st_mtime for path in _trainer_logs(cwd / "run")]
    return Outcome(
        case=" ".join([shape.program, *(word for word in shape.short if word.startswith("--"))]),
        fault=fault or "to its end",
        outcome=report["outcome"],
        code=code,
        waited_s=max(0.0, ended - max(asked, *worked, *printed, 0.0)),
        restarts=sum(task["restarts"] for task in report["tasks"]),
        left=len(alive(report["run"])),
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table. 1 if any case waits too long, or leaves a process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--fault")
    parser.add_argument("--programs", type=Path)
    options = parser.parse_args(argv)
    rows = [
        f"TensorFlow {version('tensorflow')}",
        "",
        "| program | what happens | outcome | exit | restarts | s from the last work to the end | processes left |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(rows), flush=True)
    bad = 0
    for shape in OTHERS if options.programs else OWN:
        if options.only not in shape.program:
            continue
        for outcome in outcomes(shape, options.programs or HERE, options.fault):
            rows.append(outcome.row())
            print(rows[-1], flush=True)
            bad += outcome.waited_s > MOST_WAITING_S or bool(outcome.left)
    if options.out:
        options.out.write_text("\n".join(rows) + "\n")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
