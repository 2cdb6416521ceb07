"""A task without TensorFlow that roams as a program with an Estimator does: ``roaming_task.py FOLDER GO``.

Trainers wait at the gate, train, open another session where a parameter server has gone elsewhere, hold still when they
are told to, and end when the file GO is there, or when they are to leave. Each attempt keeps in FOLDER when it first
worked, and when it last did.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import fake_task

BEAT_S = 0.05
FOLDER, GO = Path(sys.argv[1]), Path(sys.argv[2])
TASK, ATTEMPT = os.environ["TFLAUNCH_TASK"], os.environ["TFLAUNCH_ATTEMPT"]


class Line(fake_task.Channel):
    """The task socket, for who does something else meanwhile. ``gate``: the newest; ``kinds``: what else was told."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: dict[str, Any] = {"open": False}
        self.kinds: list[str] = []
        self._rest = b""

    def hear(self, seconds: float = BEAT_S) -> None:
        """Takes in what comes, and waits that long if nothing does."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return
        data = self._socket.recv(65536)
        if not data:
            sys.exit(70)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["kind"] == "gate":
                self.gate = message
            else:
                self.kinds.append(message["kind"])

    def told(self, kind: str) -> bool:
        """Whether that was told; each time counts once."""
        if kind in self.kinds:
            self.kinds.remove(kind)
            return True
        return False


class Beat:
    """When this attempt worked."""

    def __init__(self) -> None:
        self._fd = os.open(FOLDER / f"{TASK}.{ATTEMPT}", os.O_RDWR | os.O_CREAT, 0o600)
        self._first = 0.0

    def now(self) -> None:
        self._first = self._first or time.time()
        os.pwrite(self._fd, f"{self._first:.3f} {time.time():.3f}".encode(), 0)


def step() -> int:
    """The global step, which nobody rolls back: time goes on."""
    return int((time.time() - float((FOLDER / "began").read_text())) * 20)


def train(line: Line, beat: Beat, is_chief: bool) -> None:
    line.say(kind="roaming", possible=True)
    local = 0
    while True:
        line.say(kind="waiting", what="gate")
        while not line.gate["open"]:
            line.hear()
        line.say(kind="waiting", what="")
        where = line.gate.get("ps")
        line.say(kind="ready", global_step=step(), kept=bool(line.gate.get("variables_alive")))
        while line.gate.get("ps") == where:
            line.hear()
            if line.gate.get("hold"):
                hold(line, where)
                continue
            local += 1
            beat.now()
            line.say(kind="step", global_step=step(), local_steps=local)
            if line.told("save_now") and is_chief:
                line.say(kind="checkpoint_saved", global_step=step(), path=f"model.ckpt-{step()}")
            if GO.exists() or line.told("stop_training"):
                return finish(line, local, is_chief)


def hold(line: Line, where: object) -> None:
    line.say(kind="waiting", what="hold")
    while line.gate.get("hold") and line.gate.get("ps") == where:
        line.hear()
        if line.told("save_now"):
            line.say(kind="checkpoint_saved", global_step=step(), path=f"model.ckpt-{step()}")
            line.say(kind="waiting", what="saved")
    line.say(kind="waiting", what="")


def finish(line: Line, local: int, is_chief: bool) -> None:
    line.say(kind="finished", global_step=step(), local_steps=local)
    while is_chief and not line.told("barrier"):
        line.hear()
    if is_chief:
        line.say(kind="checkpoint_saved", global_step=step(), path=f"model.ckpt-{step()}")


def main() -> None:
    line, beat = Line(), Beat()
    role = TASK.partition(":")[0]
    if role == "ps":
        fake_task.listen()
        line.say(kind="ready")
        while True:
            line.hear()
            beat.now()
    elif role == "evaluator":
        line.say(kind="ready")
        while not line.told("drain"):
            line.hear()
            beat.now()
        line.say(kind="evaluated", global_step=step(), metrics={"auc": 0.5})
    else:
        signal.signal(signal.SIGTERM, lambda *_: line.kinds.append("stop_training"))
        train(line, beat, role == "chief")


if __name__ == "__main__":
    main()
