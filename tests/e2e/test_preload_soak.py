"""The preloaded process killed at random instants, alone and together with tasks (``make soak``): each death is mended,
and no attempt starts twice.

Seeded by TFLAUNCH_SOAK_SEED; TFLAUNCH_SOAK_PRELOAD_RUNS says how many runs, of one to three kills each.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.fake_runs import Live, events, run_id
from tests.e2e.running import RUN_VARIABLE
from tests.soak.facts import note

SEED = int(os.environ.get("TFLAUNCH_SOAK_SEED", 1))
RUNS = int(os.environ.get("TFLAUNCH_SOAK_PRELOAD_RUNS", 200))
WORKERS = 10
FORKS_S, LASTS_S = 0.15, 2.0  # from the first fork to about the last of them, and to the end
TASKS = ("ps:0", "chief:0", "evaluator:0", *(f"worker:{index}" for index in range(WORKERS)))
SPEC = {
    "roles": {"ps": {}, "chief": {}, "worker": {"count": WORKERS}, "evaluator": {}},
    "preload": ["json"],
    "policy": {"restarts": 9, "backoff_s": 0.1, "grace_s": 5},
}

pytestmark = [pytest.mark.soak, pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.mark.parametrize("number", range(RUNS))
def test_a_preloaded_process_may_die_at_any_moment(number: int, tmp_path: Path) -> None:
    source = random.Random(f"{SEED}/preload/{number}")
    signed = tmp_path / "signed"
    (tmp_path / "spec.yaml").write_text(json.dumps(SPEC))
    roles = {
        "ps": f"sign={signed},listen,ready,hang",
        "chief": f"sign={signed},gate,ready,step=1,sleep=0.5,finished=10,barrier,saved=10",
        "worker": f"sign={signed},gate,ready,step=1,sleep=0.5,finished=10",
        "evaluator": f"sign={signed},ready,drain",
    }
    run = Live(tmp_path, roles, argv=("local", "spec.yaml", "--plain", "--run-dir", "run"))
    try:
        struck = disturb(run, source)
        code, out = run.end()
    finally:
        run.client.kill()  # if it is still there: then its run ends, too
    starts = Counter(signed.read_text().splitlines())
    assert code == 0, out[-6000:]
    assert max(starts.values()) == 1, f"{starts.most_common(3)}: {out[-6000:]}"
    run.wait_until_gone()
    print(f"{struck} kills")
    note(*["kill preload"] * struck)


def disturb(run: Live, source: random.Random) -> int:
    """Kills one to three times; gives how often the preloaded process was there to be killed."""
    moments = sorted(source.uniform(0.0, source.choice([FORKS_S, LASTS_S])) for _ in range(source.randint(1, 3)))
    victims = [("preload", source.choice(TASKS)) if source.random() < 0.5 else ("preload",) for _ in moments]
    run.wait_for("preload_changed", state="ready")
    began, struck = time.monotonic(), 0
    for moment, names in zip(moments, victims, strict=True):
        while time.monotonic() < began + moment and run.client.poll() is None:
            time.sleep(0.002)
        struck += kill(run, names)
    return struck


def kill(run: Live, names: tuple[str, ...]) -> int:
    """Kills those of them that are there, in one instant; whether the preloaded process was."""
    wanted = f"{RUN_VARIABLE}={run_id(run.folder)}".encode()
    pids = [pid for name in names if (pid := pid_of(run, name)) and belongs(pid, wanted)]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return int(bool(pids) and pids[0] == pid_of(run, "preload"))


def pid_of(run: Live, name: str) -> int:
    """The newest that the run has told; 0 if none."""
    key, value = ("kind", "preload_changed") if name == "preload" else ("task", name)
    found = [event.get("pid") for event in events(run.folder) if event.get(key) == value]
    return int(str(next((pid for pid in reversed(found) if pid), 0)))


def belongs(pid: int, wanted: bytes) -> bool:
    """Pids are given again."""
    try:
        return wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
