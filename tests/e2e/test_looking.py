"""Looking at runs ends nothing, and what is left of a run whose supervisor is gone is ended, or said."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.wire.private import registry
from tests.e2e.fake_runs import ENDLESS, OPTIONS, Live, run_id, wait_until
from tests.e2e.running import Finished, alive, environment, tflaunch, tflaunch_argv

pytestmark = pytest.mark.e2e

StartLive = Callable[..., Live]
SPEC = "roles: {ps: {count: 1}, chief: {}, worker: {count: 2}, evaluator: {}}\npolicy: {lease_s: 600, grace_s: 2}\n"


@pytest.fixture
def run(live: StartLive, tmp_path: Path) -> Live:
    """A run in training, whose tasks live on for long without a supervisor."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    started = live(ENDLESS, argv=("local", "spec.yaml", *OPTIONS))
    started.until_training()
    return started


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A run whose supervisor is stopped, as by SIGSTOP."""
    cwd = tmp_path_factory.mktemp("stopped")
    (cwd / "spec.yaml").write_text(SPEC)
    run = Live(cwd, ENDLESS, argv=("local", "spec.yaml", *OPTIONS))
    try:
        run.until_training()
        os.kill(run.supervisor(), signal.SIGSTOP)
        yield run
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(run.supervisor(), signal.SIGCONT)
        run.client.kill()
        run.client.communicate()
        run.wait_until_gone()


def copied(run: Live, cwd: Path, name: str, **supervisor: Any) -> Path:
    """A copy of the run folder in ``runs/`` of ``cwd``, with other words of its supervisor."""
    copy = cwd / "runs" / name
    shutil.copytree(run.folder, copy)
    if supervisor:
        path = copy / "supervisor.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **supervisor}))
    return copy


def say(*words: str, cwd: Path) -> Finished:
    return tflaunch(*words, cwd=cwd)


def dead_pid() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_nothing_is_ended_on_the_word_of_a_file(run: Live, tmp_path: Path) -> None:
    """Of a copy without a supervisor, of one line that names the run, and of one whose supervisor is gone."""
    before = set(alive(run_id(run.folder)))
    (copied(run, tmp_path, "backup") / "supervisor.json").unlink()
    line = (run.folder / "events.jsonl").read_text().splitlines()[0]
    hostile = tmp_path / "runs" / "hostile"
    hostile.mkdir()
    (hostile / "events.jsonl").write_text(f"{line}\n")
    copied(run, tmp_path, "gone", pid=dead_pid())
    for name in ("backup", "hostile", "gone"):
        assert say("status", name, cwd=tmp_path).code == 0
        done = say("stop", name, cwd=tmp_path)
        if name == "gone":
            assert (
                done.code == 3
                and "host local: its supervisor is connected; what runs there ends by itself" in done.stderr
            )
    assert say("ls", cwd=tmp_path).code == 0
    assert set(alive(run_id(run.folder))) == before
    assert run.client.poll() is None


def test_a_run_of_another_machine_is_seen_by_its_files_only(run: Live, tmp_path: Path) -> None:
    copied(run, tmp_path, "far", host="far-away", boot_id="another")
    copied(run, tmp_path, "boxed", pid_namespace="pid:[1]", pid=dead_pid())
    listed = say("ls", cwd=tmp_path).stdout
    assert "on far-away, seen from here only by its files" in listed
    assert "(in another PID namespace), seen from here only by its files" in listed and "lost" not in listed
    attached = say("attach", "far", cwd=tmp_path)
    assert attached.code == 0 and "seen from here only by its files; attach to it there" in attached.stderr
    status = json.loads(say("status", "far", "--json", cwd=tmp_path).stdout)
    assert status["outcome"] is None and "far-away" in status["note"]
    done = say("stop", "far", cwd=tmp_path)
    assert (
        done.code == 2 and "far is live on far-away, seen from here only by its files; ask for it there" in done.stderr
    )
    assert run.client.poll() is None


def test_a_socket_that_is_gone_is_said(run: Live, tmp_path: Path) -> None:
    record = json.loads((run.folder / "supervisor.json").read_text())
    Path(record["socket"]).unlink()
    status = say("status", "run", cwd=tmp_path)
    assert "live" in status.stdout and "is gone (what cleans /tmp here?)" in status.stdout
    done = say("stop", "run", cwd=tmp_path)
    assert done.code == 2 and f"kill -TERM {record['pid']}" in done.stderr
    os.kill(record["pid"], signal.SIGTERM)
    assert run.end()[0] == 143


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("status", "run"), 0),
        (("ls", "."), 0),
        (("logs", "run"), 0),
        (("stop", "run"), 3),
        (("scale", "run", "worker=3"), 3),
        (("drain", "run", "local"), 3),
        (("restart", "run", "worker:0"), 3),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_supervisor_that_is_stopped_is_said_at_once(stopped: Live, words: tuple[str, ...], code: int) -> None:
    done = say(*words, cwd=stopped.folder.parent)
    told = f"its supervisor (process {stopped.supervisor()}) is stopped; have it go on with: kill -CONT"
    assert done.code == code and (done.stdout + done.stderr).count(told) == 1, done
    assert "it was asked for nothing" in done.stderr or code == 0


def test_what_follows_a_run_says_that_its_supervisor_is_stopped(stopped: Live) -> None:
    cwd, pid = stopped.folder.parent, stopped.supervisor()
    to_read = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    followers = [
        subprocess.Popen(tflaunch_argv(*words), cwd=cwd, env=environment(), **to_read)  # type: ignore[call-overload]
        for words in (("attach", "run", "--plain"), ("logs", "run", "-f"))
    ]
    try:
        for follower in followers:
            assert follower.stderr is not None and "is stopped; have it go on with" in follower.stderr.readline()
        os.kill(pid, signal.SIGCONT)
        assert followers[0].stderr is not None
        assert followers[0].stderr.readline() == "tflaunch: run: its supervisor answers again\n"
    finally:
        for follower in followers:
            follower.kill()
            follower.communicate()


def test_a_damaged_plan_of_a_dead_run_is_said(run: Live, tmp_path: Path) -> None:
    (copied(run, tmp_path, "damaged", pid=dead_pid()) / "plan.json").write_text("[" * 100_000)
    for words in (("stop", "damaged"), ("resume", "damaged"), ("compare", "damaged", "run")):
        done = say(*words, cwd=tmp_path)
        assert done.code in (0, 2) and "internal error" not in done.stderr, done.stderr
    assert "plan.json is damaged" in say("stop", "damaged", cwd=tmp_path).stderr


@pytest.mark.parametrize("how", [(), ("--now",)], ids=["stop", "stop --now"])
def test_what_a_dead_supervisor_has_left_is_ended(run: Live, tmp_path: Path, how: tuple[str, ...]) -> None:
    name = run_id(run.folder)
    os.kill(run.supervisor(), signal.SIGKILL)
    wait_until(lambda: run.client.poll() is not None)
    assert alive(name), "the lease is long"
    told = say("status", "run", cwd=tmp_path).stdout
    assert told.count("lost with the launcher") == 5 and "pid" not in told.partition("\n  ps:0")[2]
    assert alive(name)
    done = say("stop", "run", *how, cwd=tmp_path)
    assert done.code == 0 and "nothing of it runs any more" in done.stderr, done.stderr
    assert not alive(name)
    assert not list(registry.of_run(name))
    assert "has ended already" not in done.stderr


def test_folders_of_dead_runs_are_cleaned_by_the_next_command(run: Live, tmp_path: Path) -> None:
    name = run_id(run.folder)
    keeper = [pid for pid in alive(name) if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"tflaunch keeper")]
    os.kill(run.supervisor(), signal.SIGKILL)
    os.kill(keeper[0], signal.SIGKILL)
    wait_until(lambda: not alive(name))
    assert len(list(registry.of_run(name))) == 1, "the supervisor's"
    assert say("ls", cwd=tmp_path).code == 0
    assert not list(registry.of_run(name))
