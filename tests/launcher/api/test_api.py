"""Runs from Python, as a user's program starts them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import launcher
from launcher import RunFailedError, TflaunchError, arun, run, start
from launcher.api.flags import Flags, words
from launcher.cli.main import cli
from launcher.wire.errors import HostError, UsageError
from tests.e2e.fake_runs import run_id, wait_until
from tests.e2e.running import alive, environment

ROOT = Path(__file__).parents[3]
FAKE = str(ROOT / "tests" / "e2e" / "fake_cluster.py")
GOOD = [
    FAKE,
    "ps=listen,ready,hang",
    "chief=gate,ready,step=10,finished=10,barrier,saved=10",
    "worker=gate,ready,step=9,finished=9",
    "evaluator=ready,drain",
]
# They hear the word to stop: who does not has 30 s before the signal.
TRAINER = "gate,ready,step=1,stop"
ENDLESS = [FAKE, "ps=listen,ready,hang", f"chief={TRAINER}", f"worker={TRAINER}", "evaluator=ready,drain"]
BAD = [FAKE, "ps=listen,ready,hang", "chief=gate,ready,exit=3", "worker=gate,ready,hang", "evaluator=hang"]


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_from_python() -> None:
    result = run(GOOD, workers=2, ps=1, timeout_s=60, name="mine")
    assert (result.outcome, result.exit_code, result.cause) == ("succeeded", 0, None)
    assert result.succeeded and result.check() is result
    assert result.report["name"] == "mine"
    assert {task["task"] for task in result.report["tasks"]} >= {"ps:0", "chief:0", "worker:1", "evaluator:0"}
    assert result.folder.parent == Path.cwd() / "runs"


@pytest.mark.parametrize("name", ["two\nlines", "red\x1b[31m", " end ", "tab\t"])
def test_a_folder_of_any_name_is_found_again(name: str) -> None:
    result = run(GOOD, workers=1, run_dir=name)
    assert (result.outcome, result.folder) == ("succeeded", Path.cwd() / name)


def test_a_failed_run_raises_when_asked_to() -> None:
    result = run(BAD, restarts=0, evaluator=False)
    assert (result.outcome, result.succeeded) == ("failed", False)
    with pytest.raises(RunFailedError) as caught:
        run(BAD, restarts={"chief": 0}, check=True)
    assert caught.value.result.cause is not None
    assert str(caught.value.result.cause["message"]) in str(caught.value)


@pytest.mark.parametrize(
    ("command", "flags", "words_of_it"),
    [
        ("train.py", {}, r"a list of words, as in \['train.py'\]"),
        (["nowhere.py"], {}, "there is no script nowhere.py"),
        (GOOD, {"wokers": 2}, "there is no flag 'wokers'; did you mean 'workers'"),
        (GOOD, {"workers": -1}, "^Invalid value for '--workers': -1"),
        (GOOD, {"tune": ["no-such"]}, "no-such"),
        ([FAKE, 5], {}, "5 in the command is no text; write '5'"),
        (["\0"], {}, "cannot start tflaunch"),
        (Path("train.py"), {}, "a list of words"),
        (GOOD, {"workers": True}, "workers=True: neither True nor False"),
        (GOOD, {"evaluator": 0}, "evaluator=0: True or False"),
        (GOOD, {"env": {"A": 1}}, "env: a mapping of texts"),
        (GOOD, {"env": {"A=B": "1"}}, "env: a mapping of texts"),
        (GOOD, {"cwd": "/nowhere"}, "cannot start tflaunch in /nowhere"),
        (GOOD, {"spec": {"roles": print}}, "spec: .*only what a YAML file can hold"),
        (GOOD, {"spec": {}, "workers": 1}, "workers: where there is a spec"),
        (GOOD, {"spec": "nowhere.yaml"}, "nowhere.yaml"),
        (GOOD, {"spec": {"roles": {"wroker": {}}}}, "wroker"),
    ],
)
def test_bad_input_raises_what_the_command_line_prints(
    command: object, flags: dict[str, object], words_of_it: str
) -> None:
    with pytest.raises(UsageError, match=words_of_it):
        start(command, **flags)  # type: ignore[arg-type]
    assert not list(Path.cwd().glob(".tflaunch-*")) and not list(Path.cwd().glob("runs/*/events.jsonl"))


def test_a_problem_of_a_mapping_is_one_of_the_spec() -> None:
    with pytest.raises(UsageError) as caught:
        start(GOOD, spec={"roles": {"wroker": {}}})
    assert str(caught.value).startswith("spec: roles"), str(caught.value)


def test_variables_are_the_tasks_and_not_the_launchers(cwd: Path) -> None:
    (cwd / "broken").mkdir()
    (cwd / "broken" / "click.py").write_text("raise RuntimeError('not for the launcher')")
    env = {"PYTHONPATH": str(cwd / "broken"), "TOKEN": "correct horse"}
    result = run([FAKE, "chief=env=TOKEN,gate,ready,step=1,finished=1"], env=env, ps=0, workers=0, evaluator=False)
    assert result.succeeded
    assert '"correct horse"' in launcher.Run(result.folder, os.dup(0)).log("chief:0")


def test_the_whole_of_a_long_log(cwd: Path) -> None:
    """Its first part and its newest, and what is missing between."""
    result = run([FAKE, "chief=gate,ready,step=1,finished=1"], ps=0, workers=0, evaluator=False)
    log = result.folder / "logs" / "chief-0.log"
    log.write_text("first\n")
    log.with_name(f"{log.name}.{6:019}").write_text("[tflaunch] 9 bytes\n")
    log.with_name(f"{log.name}.{15:019}").write_text("last\n")
    assert launcher.Run(result.folder, os.dup(0)).log("chief:0") == "first\n[tflaunch] 9 bytes\nlast\n"


def test_a_host_that_stands_in_the_way_is_an_error_of_its_own() -> None:
    hosts = [{"name": "a"}]
    spec = {"command": GOOD, "hosts": hosts, "engine": {"listed": {}}, "sync": {"path": "nowhere"}}
    with contextlib.suppress(UsageError), pytest.raises(HostError):
        start(spec=spec)


def test_a_run_is_watched_and_ended() -> None:
    with start(ENDLESS, evaluator=False) as started:
        kinds = []
        for event in started.events():
            kinds.append(event["kind"])
            if event["kind"] == "task_changed" and (event["task"], event["state"]) == ("chief:0", "training"):
                break
        assert started.live
        assert started.report["outcome"] is None
        with pytest.raises(TimeoutError):
            started.wait(timeout_s=0.01)
        started.restart("worker:0")
        with pytest.raises(UsageError):
            started.restart("worker:7")
        assert started.stop(now=True).outcome == "interrupted"
    assert kinds[0] == "run_started"
    with pytest.raises(UsageError, match="has ended"):
        started.restart("worker:0")


def test_a_block_that_is_left_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError), start(ENDLESS) as started:
        _until_trains(started)
        raise ZeroDivisionError
    assert not started.live
    assert not alive(run_id(started.folder))


def _until_trains(started: launcher.Run) -> None:
    next(event for event in started.events() if event["kind"] == "task_changed" and event["state"] == "training")


def test_from_threads_and_beside_a_loop() -> None:
    async def several() -> list[launcher.Result]:
        in_thread: list[launcher.Result] = []
        thread = threading.Thread(target=lambda: in_thread.append(run(GOOD, run_dir="thread")))
        thread.start()
        first = await arun(GOOD, run_dir="first")
        await asyncio.to_thread(thread.join)
        return [first, *in_thread]

    assert [result.outcome for result in asyncio.run(several())] == ["succeeded"] * 2


def test_a_cancelled_run_is_over_before_that_is_told() -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(arun(ENDLESS, run_dir="mine"))
        while not Path("mine", "supervisor.json").exists():
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert not launcher.Run(Path("mine"), os.dup(0)).live


SCRIPT = """
import os, sys, time
from launcher import start
run = start({command!r}, evaluator=False, run_dir="mine")
next(e for e in run.events() if e["kind"] == "task_changed" and e["state"] == "training")
{more}
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("more", ["", "if os.fork() == 0: time.sleep(600)"])
def test_a_run_ends_with_the_process_that_started_it(cwd: Path, more: str) -> None:
    """Also where a fork of it lives on."""
    script = SCRIPT.format(command=ENDLESS, more=more)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=cwd,
        env=environment(TFLAUNCH_NO_PRELOAD="1"),
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        started = launcher.Run(cwd / "mine", os.dup(0))
        assert started.wait(timeout_s=60).outcome == "interrupted"
        wait_until(lambda: not alive(run_id(cwd / "mine")))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


def test_a_detached_run_goes_on(cwd: Path) -> None:
    script = SCRIPT.format(command=ENDLESS, more="run.detach(); sys.exit()")
    subprocess.run([sys.executable, "-c", script], cwd=cwd, env=environment(TFLAUNCH_NO_PRELOAD="1"), check=True)
    started = launcher.Run(cwd / "mine", os.dup(0))
    try:
        assert started.live
    finally:
        started.close()


def test_every_flag_is_a_keyword() -> None:
    shown = {"spec", "detach", "owned", "as_json", "plain", "metric"}
    flags = {option.name for option in cli.commands["local"].params if getattr(option, "expose_value", True)}
    assert flags - shown == set(Flags.__annotations__)


def test_keywords_are_words_of_the_command_line() -> None:
    given = {"workers": 2, "evaluator": False, "no_chief": True, "restarts": {"worker": 1}, "inject": ["a", "b"]}
    assert words({**given, "env": {"K": "secret"}, "name": None, "tune": "none", "run_dir": Path("x")}) == [
        *("--workers=2", "--no-evaluator", "--no-chief", "--restarts=worker=1", "--inject=a", "--inject=b"),
        *("--env=K", "--tune=none", "--run-dir=x"),
    ]


def test_a_users_script_is_typed(tmp_path: Path) -> None:
    script = tmp_path / "train_all.py"
    script.write_text(
        """from pathlib import Path
from launcher import Result, run, start

def train(rate: float) -> Result:
    return run(["train.py", "--lr", rate_text(rate)], workers=2, ps=1, run_dir=Path("x"), check=True)

def rate_text(rate: float) -> str:
    return f"{rate:g}"

with start(["train.py"], spec={"roles": {}}) as started:
    for metrics in started.metrics():
        print(metrics["auc"] + 1)
"""
    )
    mypy = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(script)]
    env = environment(MYPYPATH=str(ROOT))
    assert subprocess.run(mypy, capture_output=True, text=True, env=env).stdout == ""
    script.write_text(script.read_text().replace("workers=2", "workers='2'").replace("ps=1", "p=1"))
    said = subprocess.run(mypy, capture_output=True, text=True, env=env).stdout
    assert "workers" in said and '"p"' in said


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    code = "import launcher, sys; print([n for n in sys.modules if n.startswith('launcher.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError):
        launcher.nothing  # noqa: B018
    assert issubclass(RunFailedError, TflaunchError)
