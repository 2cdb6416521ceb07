"""Random faults in a training with real TensorFlow on this machine: any process killed or paused at any instant, a full
disk, a log at its limit. Whatever came, the outcome is the policy's, a training that was ended is gone on with, every
example is in what was saved, the report has what the tasks have signed, and nothing is left.

``TFLAUNCH_SOAK_SEED`` and ``TFLAUNCH_SOAK_NUMBER`` say which drill.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.record.files.log_file import parts_of
from launcher.record.runs import RunFolder
from launcher.wire.roles import TaskId
from tests.e2e.fake_runs import events, wait_until
from tests.e2e.running import REPORT, alive, environment, tflaunch, tflaunch_argv
from tests.e2e.test_soak import DECISIVE
from tests.e2e.test_streaming import ROOT, Data, make_data
from tests.launcher.record.disks import Disk, full_disk
from tests.soak import checks
from tests.soak.facts import note
from tests.soak.victims import pid_of, run_ids, send

pytestmark = [pytest.mark.soak, pytest.mark.e2e, pytest.mark.tensorflow, pytest.mark.timeout(1500)]

SEED = os.environ.get("TFLAUNCH_SOAK_SEED", "1")
NUMBER = os.environ.get("TFLAUNCH_SOAK_NUMBER", "0")
PATIENCE_S = 600.0
TASKS = ("ps:0", "chief:0", "worker:0", "worker:1")
KILLED = (*TASKS, *TASKS, "agent", "preload")
PAUSED = (*TASKS, "agent", "keeper", "guard", "supervisor", "client", "preload")
ENDS = ("supervisor", "keeper", "client")
MOST_LOG_BYTES = 5 << 18  # the limit of 1 MiB, and the line that says what is missing


@dataclass(frozen=True, kw_only=True)
class Fault:
    """``after_s``: since the last one. ``for_s``: how long it lasts."""

    verb: str
    victim: str
    after_s: float
    for_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Drill:
    faults: tuple[Fault, ...]
    noise_mib: int
    resumes: bool


def drawn(dice: random.Random) -> Drill:
    faults = [_mended(dice) for _ in range(dice.randint(3, 8))]
    if dice.random() < 0.15:
        faults.append(Fault(verb="fill", victim="disk", after_s=dice.uniform(0, 3), for_s=dice.uniform(0.5, 4)))
    if dice.random() < 0.35:
        faults.append(Fault(verb="kill", victim=dice.choice(ENDS), after_s=dice.uniform(0, 6)))
    return Drill(faults=tuple(faults), noise_mib=dice.choice([0, 0, 3]), resumes=dice.random() < 0.5)


def _mended(dice: random.Random) -> Fault:
    after_s = dice.choice([0.0, dice.uniform(0, 1), dice.uniform(0, 4)])
    if dice.random() < 0.25:
        return Fault(verb="pause", victim=dice.choice(PAUSED), after_s=after_s, for_s=dice.uniform(0.2, 2.0))
    return Fault(verb="kill", victim=dice.choice(KILLED), after_s=after_s)


class Training:
    """One run after the other in the same model_dir."""

    def __init__(self, cwd: Path, drill: Drill, disk: Disk) -> None:
        self.cwd, self.drill, self.disk = cwd, drill, disk
        self.data = make_data(cwd / "data", shards=60, most_rows=60)
        self.temporary = cwd / "tmp"
        self.temporary.mkdir()
        self.folder = disk.path / "run"
        self.signed = cwd / "signed"
        self.runs: set[str] = set()
        self._log = (cwd / "said").open("w+")
        self.client = self._start("local", str(self._spec()))

    def _spec(self) -> Path:
        options = {
            "model_dir": str(self.cwd / "model"), "audit": str(self.cwd / "audit"), "sources": [str(self.data.folder)],
            "epochs": checks.EPOCHS, "batch": 8, "save_steps": 40, "step_s": 0.05, "signed": str(self.signed),
            "noise_mib": self.drill.noise_mib,
        }  # fmt: skip
        policy = {"restarts": 99, "backoff_s": 0.1, "grace_s": 5, "lease_s": 3, "log_limit_mib": 1}
        written = {
            "command": ["python", "-m", "tests.soak.job", json.dumps(options)],
            "roles": {"ps": {}, "chief": {}, "worker": {"count": 2}},
            "policy": policy,
        }
        path = self.cwd / f"{self.folder.name}.json"
        path.write_text(json.dumps(written))
        return path

    def _start(self, *argv: str) -> subprocess.Popen[bytes]:
        place = ["--run-dir", str(self.folder)] if argv[0] == "local" else []
        return subprocess.Popen(
            tflaunch_argv(*argv, "--plain", *place),
            cwd=self.cwd, env=environment(PYTHONPATH=str(ROOT), TMPDIR=str(self.temporary), PYTHONDONTWRITEBYTECODE=""),
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip

    @property
    def said(self) -> str:
        self._log.seek(0)
        return self._log.read()[-6000:]

    def until_over(self) -> int:
        wait_until(lambda: self.client.poll() is not None, PATIENCE_S)
        self.runs |= set(run_ids(self.folder))
        wait_until(lambda: not any(map(alive, self.runs)), 120.0)
        return int(self.client.returncode)

    def go_on(self) -> None:
        """As the same run, or as another in the same model_dir."""
        if self.drill.resumes:
            self.client = self._start("resume", str(self.folder))
        else:
            self.folder, self.signed = self.folder.with_name("again"), self.cwd / "signed-again"
            self.client = self._start("local", str(self._spec()))

    def outcome(self) -> str:
        tflaunch("ls", str(self.folder.parent), cwd=self.cwd)  # a run whose supervisor was killed is written up
        return str(json.loads(tflaunch("status", str(self.folder), "--json", cwd=self.cwd).stdout)["outcome"])

    def close(self) -> None:
        if self.client.poll() is None:
            self.client.kill()
            self.client.wait()
        for run in {*self.runs, *run_ids(self.folder)}:
            for pid in alive(run):
                send(pid, signal.SIGKILL)
        self._log.close()


def strike(training: Training, faults: tuple[Fault, ...]) -> list[Fault]:
    """Does what can be done; gives that."""
    done = []
    wait_until(lambda: events(training.folder) or training.client.poll() is not None, PATIENCE_S)
    with ExitStack() as mending:
        for fault in faults:
            time.sleep(fault.after_s)
            if training.client.poll() is None and _carry_out(training, fault, mending):
                done.append(fault)
                note(f"{fault.verb} {fault.victim}" + (f" for {fault.for_s:.1f} s" if fault.for_s else ""))
    return done


def _carry_out(training: Training, fault: Fault, mending: ExitStack) -> bool:
    if fault.verb == "fill":
        training.disk.fill()
        time.sleep(fault.for_s)
        training.disk.free()
        return True
    pid = _wait_for(training, fault.victim)
    if pid is None:
        return False
    if fault.verb == "kill":
        return send(pid, signal.SIGKILL)
    mending.callback(send, pid, signal.SIGCONT)
    there = send(pid, signal.SIGSTOP)
    time.sleep(fault.for_s)
    send(pid, signal.SIGCONT)
    return there


def _wait_for(training: Training, victim: str) -> int | None:
    """Its process as soon as the run has told of one; None if the run ends before."""
    found: list[int | None] = [None]

    def there() -> bool:
        found[0] = pid_of(training.folder, victim, training.client.pid)
        return found[0] is not None or training.client.poll() is not None

    wait_until(there, PATIENCE_S)
    return found[0]


@contextmanager
def begun(cwd: Path, drill: Drill) -> Iterator[Training]:
    with full_disk(cwd, 24 << 20) as disk:
        training = Training(cwd, drill, disk)
        try:
            yield training
        finally:
            training.close()


def look(training: Training, data: Data) -> None:
    """At what the last run has left."""
    report = json.loads((training.folder / REPORT).read_text())
    assert report["outcome"] == "succeeded"
    checks.every_example_was_trained(training.cwd / "audit", data.rows, report)
    checks.the_report_knows_every_attempt(training.signed, report)
    for task in TASKS:
        size = sum(part.stat().st_size for _, part in parts_of(RunFolder(training.folder).log(TaskId.parse(task))))
        assert size <= MOST_LOG_BYTES, f"the log of {task} has {size:,} bytes"
    wait_until(lambda: not checks.private_folders(training.runs), 60.0)
    assert sorted(training.temporary.iterdir()) == []


def test_drill(tmp_path: Path) -> None:
    drill = drawn(random.Random(f"{SEED}/local/{NUMBER}"))
    with begun(tmp_path, drill) as training:
        done = strike(training, drill.faults)
        code = training.until_over()
        ended_by = {DECISIVE[fault.victim] for fault in done if fault.verb == "kill" and fault.victim in DECISIVE}
        outcome = training.outcome()
        assert outcome in ({*ended_by, "succeeded"} if ended_by else {"succeeded"}), (done, code, training.said)
        if outcome != "succeeded":
            training.go_on()
            assert training.until_over() == 0, (done, training.said)
        look(training, training.data)
