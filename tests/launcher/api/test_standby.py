"""The interpreter that stands by for the next run of one process: shared, kept apart, and gone with that process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import launcher
from launcher.wire.private import peers, registry
from tests.e2e import sharing
from tests.e2e.running import alive, environment

pytestmark = [pytest.mark.tensorflow, pytest.mark.e2e, pytest.mark.legacy]
ALONE: dict[str, Any] = {"ps": 0, "workers": 0, "evaluator": False, "restarts": 0}
TRAIN = """
import json, os, re, sys
import tensorflow as tf

def holds(text):
    found = 0
    for line in open("/proc/self/maps"):
        start, end, modes = re.match(r"(\\w+)-(\\w+) (\\S+)", line).groups()
        if modes.startswith("rw"):
            with open("/proc/self/mem", "rb") as memory:
                memory.seek(int(start, 16))
                try:
                    found += memory.read(int(end, 16) - int(start, 16)).count(text)
                except OSError:
                    pass
    return found

needle = bytes(letter ^ 1 for letter in bytes.fromhex(sys.argv[1]))
seen = {
    "marked": hasattr(tf, "marked"), "variable": os.environ.get("SECRET"), "shown": open("/proc/self/environ").read(),
    "fds": len(os.listdir("/proc/self/fd")), "held": holds(needle), "threads": os.environ.get("OMP_NUM_THREADS"),
    "umask": os.umask(0o77), "run": os.environ["TFLAUNCH_RUN"], "pid": os.getpid(), "cwd": os.getcwd(),
}
tf.marked, os.environ["SECRET"] = True, "left"
print("SEEN", json.dumps(seen))
"""
SECRET = "correct horse battery staple"
HIDDEN = bytes(letter ^ 1 for letter in SECRET.encode()).hex()


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("TF_", "TFLAUNCH_"))]:
        monkeypatch.delenv(name)
    yield tmp_path


@pytest.fixture(scope="module", autouse=True)
def nobody_stands_by_afterwards() -> Iterator[None]:
    """Between these tests somebody does: it is imported once, as for a user, and where a test has killed it."""
    yield
    sharing.end()


def mark(pid: int) -> str:
    return f"standby@{peers.identity(pid)}"


def standing(pid: int = 0) -> list[int]:
    """Who stands by for that process, or for this one."""
    return alive(mark(pid or os.getpid()))


def until(what: Callable[[], Any], limit_s: float = 60.0) -> Any:
    deadline = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def seen(**flags: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a run's program has seen, and the run's events."""
    result = launcher.run(["train.py", HIDDEN], **{**ALONE, **flags})  # which trains nothing, and so has failed
    log = (result.folder / "logs" / "chief-0.log").read_text()
    events = [json.loads(line) for line in (result.folder / "events.jsonl").read_text().splitlines()]
    return json.loads(log.partition("SEEN ")[2].splitlines()[0]), events


def preloaded(events: list[dict[str, Any]]) -> tuple[str, float]:
    """How the task was started, and how long the imports took."""
    ready = next(event for event in events if event["kind"] == "preload_changed" and event["state"] == "ready")
    start = next(event["start"] for event in events if event["kind"] == "task_changed" and event.get("start"))
    return start, ready["seconds"]


def test_runs_share_an_interpreter_and_nothing_else(cwd: Path) -> None:
    first, events = seen(env={"SECRET": SECRET})
    assert (first["variable"], preloaded(events)) == (SECRET, ("fork", 0.0))
    one = standing()
    assert len(one) == 1
    second, events = seen()
    assert preloaded(events) == ("fork", 0.0)
    assert standing() == one
    assert (second["marked"], second["variable"]) == (False, None)
    assert first["held"] > second["held"] == 1  # which is what it looks for
    assert SECRET not in second["shown"] and first["run"] not in second["shown"]
    assert first["fds"] == second["fds"]
    assert not alive(first["run"]) and not alive(second["run"])


def test_it_lives_in_a_private_folder(cwd: Path) -> None:
    seen()
    until(lambda: len(standing()) == len(list(registry.of_run(mark(os.getpid())))) == 1)  # a former one may be leaving
    homes = [(Path(home.path), Path(home.path, "standby.sock")) for home in registry.of_run(mark(os.getpid()))]
    assert [stat.S_IMODE(path.stat().st_mode) for path in homes[0]] == [0o700, 0o600]
    assert SECRET not in Path(f"/proc/{standing()[0]}/environ").read_text()


def test_another_kind_has_another_one_and_one_is_kept(cwd: Path) -> None:
    assert seen()[0]["threads"] is None
    former = standing()
    assert seen(env={"OMP_NUM_THREADS": "2"})[0]["threads"] == "2"
    until(lambda: len(standing()) == 1 and standing() != former)
    former, umask = standing(), os.umask(0o007)
    try:
        assert seen(env={"OMP_NUM_THREADS": "2"})[0]["umask"] == 0o007
    finally:
        os.umask(umask)
    until(lambda: len(standing()) == 1 and standing() != former)


def test_one_that_was_killed_is_started_again(cwd: Path) -> None:
    seen()
    former = standing()
    os.kill(former[0], signal.SIGKILL)
    assert preloaded(seen()[1])[0] == "fork"
    until(lambda: standing() and standing() != former)


def test_one_that_dies_when_it_is_asked_is_started_again(cwd: Path) -> None:
    """It is still there when the next run connects, and answers nothing."""
    seen()
    until(lambda: len(standing()) == 1)
    (former,) = standing()
    os.kill(former, signal.SIGSTOP)
    with launcher.start(["train.py", HIDDEN], **ALONE) as run:
        until(lambda: Path("/proc/net/unix").read_text().count("/standby.sock") > 1)  # its own, and one in its queue
        os.kill(former, signal.SIGKILL)
        run.wait(120)
        assert next(event["start"] for event in run.events() if event.get("start")) == "fork"
    until(lambda: standing() and standing() != [former])


def test_a_run_outlives_it_and_what_forks_its_tasks(cwd: Path) -> None:
    seen()
    Path("wait.py").write_text(f"{TRAIN}\nimport time\nwhile not os.path.exists('go'): time.sleep(0.01)")
    with launcher.start(["wait.py", HIDDEN], **ALONE) as run:
        kinds = (event for event in run.events())
        forks = next(
            event["pid"] for event in kinds if event["kind"] == "preload_changed" and event["state"] == "ready"
        )
        until(lambda: run.log("chief:0"))
        for pid in (*standing(), forks):
            os.kill(pid, signal.SIGKILL)
        run.restart("chief:0")
        until(lambda: run.task("chief:0")["restarts"] == 1 and run.log("chief:0").count("SEEN") == 2)
        Path("go").touch()
        assert run.task("chief:0")["state"] == "succeeded" or run.wait(120)


def test_a_run_goes_on_without_the_agent_that_it_was_given(cwd: Path) -> None:
    """Its successor has nothing of the interpreter in it, and imports as that of any run does."""
    seen()
    Path("wait.py").write_text(f"{TRAIN}\nimport time\nwhile not os.path.exists('go'): time.sleep(0.01)")
    with launcher.start(["wait.py", HIDDEN], **ALONE) as run:
        shown = until(lambda: run.log("chief:0").partition("SEEN ")[2].partition("\n")[0])
        name = json.loads(shown)["run"]
        os.kill(next(pid for pid in alive(name) if called(pid).startswith("tflaunch agent ")), signal.SIGKILL)
        run.restart("chief:0")
        until(lambda: run.log("chief:0").count("SEEN") == 2)
        Path("go").touch()
        run.wait(120)
        assert run.task("chief:0")["state"] == "succeeded"
    until(lambda: not alive(name))


def called(pid: int) -> str:
    """What a process shows as its command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except OSError:
        return ""


def test_what_cannot_be_imported_is_told_as_ever(cwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cwd / "broken" / "tensorflow").mkdir(parents=True)
    (cwd / "broken" / "tensorflow" / "__init__.py").write_text("raise RuntimeError('no such luck')")
    monkeypatch.setenv("PYTHONPATH", str(cwd / "broken"))
    result = launcher.run(["train.py", HIDDEN], **ALONE)
    assert result.outcome == "failed" and "no such luck" in str(result.cause)
    until(lambda: not standing())


OPEN = """
import sys, threading, asyncio
import tensorflow as tf
import launcher

graph = tf.Graph()
with graph.as_default():
    three = tf.constant(1) + 2
session = tf.compat.v1.Session(graph=graph)
assert float(tf.reduce_sum([1.0, 2.0])) == 3.0 and session.run(three) == 3

async def beside_a_loop():
    run = lambda: launcher.run([sys.argv[1], "--steps", "20"], workers=1, ps=1, check=True)
    return [await asyncio.to_thread(run), await asyncio.to_thread(run)]

for result in asyncio.run(beside_a_loop()):
    assert result.report["global_step"] >= 20 and result.metrics["loss"] > 0, result
assert session.run(three) == 3
print("right")
"""


def test_beside_a_session_and_a_loop(cwd: Path) -> None:
    """With TensorFlow imported and at work: the clusters' results are right, and so is what the process does then."""
    canned = Path(__file__).parents[2] / "e2e" / "canned.py"
    argv = [sys.executable, "-c", OPEN, str(canned)]
    done = subprocess.run(argv, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout == "right\n", done.stderr


@pytest.mark.parametrize("when", ["while it imports", "between runs"])
def test_it_ends_with_its_process(cwd: Path, when: str) -> None:
    run = f"launcher.run(['train.py', '00'], **{ALONE!r})"
    code = f"import launcher, time; {run}; print('done', flush=True); time.sleep(99)"
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, cwd=cwd, env=environment(), stdout=subprocess.PIPE, text=True) as caller:
        try:
            mine = mark(caller.pid)
            until(lambda: alive(mine))
            if when == "between runs":
                assert caller.stdout is not None and caller.stdout.readline() == "done\n"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(caller.pid, signal.SIGKILL)
        caller.wait()
        until(lambda: not alive(mine))
    until(lambda: not list(registry.of_run(mine)))
