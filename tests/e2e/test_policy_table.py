"""Every cell of docs/policy.md, run by tasks that do what it says."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.fake_runs import SCRIPT, Live, run_id
from tests.e2e.running import alive
from tests.e2e.sharing import tflaunch

TABLE = Path(__file__).parents[2] / "docs" / "policy.md"
ENDINGS = {
    "exits with 0": "exit=0",
    "exits with 1": "print=something broke,exit=1",
    "exits with 2": "print=unknown flag,exit=2",
    "dies of signal 9": "crash=SIGKILL",
    "dies of signal 11": "crash=SIGSEGV",
    "hangs": "hang",
    "ignores TERM": "hang",
}
GOOD = {
    "ps": "listen,ready,touch=ps,hang",
    "chief": "gate,ready,step=1,finished=10,touch=finished,barrier,saved=10",
    "worker": "gate,ready,step=1,finished=10",
    "evaluator": "ready,drain",
}
# Until the end that the table names: a ps must be in use, a worker that hangs must have trained.
BEFORE = {"ps": "listen,ready,alive", "chief": "gate,ready,step=1", "worker": "gate,ready,step=1", "evaluator": "ready"}
OUTCOMES = {0: "succeeded", 1: "failed", 4: "timed_out", 143: "interrupted"}

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("shared")]


@dataclass(frozen=True, kw_only=True)
class Cell:
    role: str
    does: str
    success: str
    restarts: str
    code: int
    attempts: int

    def __str__(self) -> str:
        return f"{self.role} {self.does}, {self.success}, {self.restarts}"


def cells() -> Iterator[Cell]:
    rows = [line.strip("|").split("|") for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    head, *body = [[cell.strip() for cell in row] for row in rows]
    for role, does, *results in body:
        for title, result in zip(head[2:], results, strict=True):
            success, restarts = title.split(", ")
            match = re.fullmatch(r"(\d+) \((\d+)\)", result)
            assert match, result
            code, attempts = int(match[1]), int(match[2])
            yield Cell(role=role, does=does, success=success, restarts=restarts, code=code, attempts=attempts)


def words_of(cell: Cell) -> dict[str, str]:
    """What each task does; a pattern with ``#1`` is for the first attempt alone."""
    ending = ENDINGS[cell.does]
    before = BEFORE[cell.role]
    others = dict(GOOD)
    if cell.role == "ps":
        if cell.does == "hangs":
            before = "sleep=0"
        elif cell.restarts == "mended" and cell.code == 0:
            others["chief"] = "gate,ready,step=1,wait-file=ps,finished=10,barrier,saved=10"
        else:
            others["chief"] = "gate,ready,step=1,hang"
    if cell.role == "worker" and cell.does == "hangs":
        before = "gate,ready,wait-file=finished,step=1"
    if cell.does == "ignores TERM":
        others.update(chief="gate,ready,step=1,stop", worker="gate,ready,step=1,stop")
        before = f"ignore-term,{before}"
    own = f"{cell.role}#1" if cell.restarts == "mended" else cell.role
    if cell.role == "ps" and cell.restarts == "used up":  # the chief of this table does not come back to a new ps
        own, others["ps"] = "ps#1", f"listen,ready,{ending}"
    return {own: f"{before},{ending}", **{role: text for role, text in others.items() if role != own}}


def spec_of(cell: Cell) -> str:
    restarts = {"restarts: 0": 0, "mended": 2, "used up": 1}[cell.restarts]
    policy: dict[str, object] = {"success": cell.success, "restarts": restarts, "backoff_s": 0.01, "grace_s": 2}
    if cell.does == "hangs":
        key = {"ps": "start_timeout_s", "evaluator": "evaluator_drain_s"}.get(cell.role, "hang_timeout_s")
        policy[key] = 3
    return json.dumps({"roles": {"ps": {}, "chief": {}, "worker": {}, "evaluator": {}}, "policy": policy})


@pytest.mark.parametrize("cell", [*cells()], ids=str)
def test_each_end_is_as_the_table_says(cell: Cell, tmp_path: Path, live: Callable[..., Live]) -> None:
    (tmp_path / "spec.yaml").write_text(spec_of(cell))
    options = ("local", "spec.yaml", "--no-preload", "--plain", "--run-dir", "run")
    if cell.does == "ignores TERM":
        run = live(words_of(cell), argv=options)
        run.until_training("chief:0", "worker:0")
        run.client.send_signal(signal.SIGTERM)
        code, output = run.end()
    else:
        command = [f"{pattern}={text}" for pattern, text in words_of(cell).items()]
        done = tflaunch(*options, "--", "python", SCRIPT, *command, cwd=tmp_path)
        code, output = done.code, done.stdout + done.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    attempts = {task["task"]: len(task["attempts"]) for task in report["tasks"]}
    assert (code, attempts[f"{cell.role}:0"]) == (cell.code, cell.attempts), output
    assert report["outcome"] == OUTCOMES[cell.code]
    if cell.code in (1, 4) and not (cell.role == "chief" and cell.does == "hangs"):
        assert report["cause"]["task"] == f"{cell.role}:0", report["cause"]
    assert alive(run_id(tmp_path / "run")) == []
