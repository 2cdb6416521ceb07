"""Who is told of a run: webhooks, commands, and listeners of other packages that are slow, hang or lie."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from launcher import run, start
from launcher.record import runs
from launcher.wire.errors import UsageError
from tests.e2e.running import tflaunch

FAKE = str(Path(__file__).parents[2] / "e2e" / "fake_cluster.py")
STEPS = [FAKE, "chief=gate,ready,step=3,step=7,finished=7"]
ALONE: dict[str, Any] = {"ps": 0, "workers": 0, "evaluator": False}
PACKAGE = """
import json, sys, time
from launcher.api.listeners.listener import Listener

class Notes(Listener):
    def on_event(self, event):
        with open(self.where, "a") as file:
            file.write(json.dumps(event) + "\\n")

class Bad(Listener):
    def on_event(self, event):
        raise RuntimeError("anything")

class Stuck(Listener):
    def on_event(self, event):
        time.sleep(1000)

class Unborn(Listener):
    def __init__(self, where, run):
        sys.exit(3)
"""


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with listeners, as one that is installed."""
    site = tmp_path / "site"
    info = site / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "theirs.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    names = ("Notes", "Bad", "Stuck", "Unborn")
    points = "\n".join(f"{name.lower()} = theirs:{name}" for name in names)
    (info / "entry_points.txt").write_text(f"[tflaunch.listeners]\n{points}\n")
    monkeypatch.setenv("PYTHONPATH", str(site))


told: list[dict[str, Any]] = []


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[str]:
    told.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook"
        server.shutdown()


def test_a_webhook_is_told_of_a_failure_and_of_the_end(hook: str) -> None:
    result = run([FAKE, "chief#1=gate,ready,step=3,exit=7", "chief=exit=7"], notify=hook, restarts=1, **ALONE)
    assert result.outcome == "failed" and result.cause is not None
    assert [each["what"] for each in told] == ["failure", "failure", "end"]
    assert "chief:0 died" in told[0]["text"]
    end = told[-1]
    assert (end["outcome"], end["cause"], end["advice"]) == ("failed", result.cause["message"], result.cause["advice"])
    assert end["run"] == result.folder.name


def test_a_command_is_told_without_the_runs_variables(cwd: Path) -> None:
    script = cwd / "told.py"
    script.write_text("import json, os, sys; json.dump([json.load(sys.stdin), dict(os.environ)], open('told', 'w'))")
    run(STEPS, notify=f"{sys.executable} {script}", env={"TOKEN": "s3cret"}, **ALONE)
    body, environ = json.loads((cwd / "told").read_text())
    assert body["outcome"] == "succeeded"
    assert "s3cret" not in json.dumps([body, environ])


@pytest.mark.usefixtures("others")
def test_listeners_hear_all_that_happens_and_harm_nobody(cwd: Path) -> None:
    listen = [f"notes={cwd / 'notes'}", "bad", "unborn"]
    result = run(STEPS, listen=listen, **ALONE)
    assert result.outcome == "succeeded"
    heard = [json.loads(line) for line in (cwd / "notes").read_text().splitlines()]
    assert heard[0]["kind"] == "run_started" and heard[-1]["kind"] == "run_ended"
    assert 7 in [event.get("global_step") for event in heard if event["kind"] == "progressed"]
    assert "RuntimeError: anything" in (result.folder / "listeners.log").read_text()


@pytest.mark.usefixtures("others")
def test_a_listener_that_hangs_is_left_behind() -> None:
    result = run(STEPS, listen="stuck", **ALONE)
    assert result.outcome == "succeeded"
    assert "stuck: had not taken in everything" in (result.folder / "listeners.log").read_text()


@pytest.mark.usefixtures("others")
def test_a_lost_run_is_told_of(cwd: Path) -> None:
    with start([FAKE, "chief=gate,ready,step=1,hang"], listen=f"notes={cwd / 'notes'}", **ALONE) as started:
        events = started.events()
        next(event for event in events if event["kind"] == "task_changed" and event["state"] == "training")
        supervisor = runs.read_supervisor(runs.RunFolder(started.folder))
        assert supervisor is not None
        os.kill(supervisor.pid, signal.SIGKILL)
        with (cwd / "notes").open() as notes:
            while '"lost"' not in notes.readline():
                time.sleep(0.01)


def test_listeners_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown listener 'notfy'; did you mean 'notify'"):
        start(STEPS, listen="notfy=x", **ALONE)
    spec = {"command": STEPS, "roles": {"chief": {"count": 1}}, "listeners": {"nobody": ""}}
    with pytest.raises(UsageError, match=r"^spec: listeners: unknown listener 'nobody'; known are mlflow, notify"):
        start(spec=spec)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("", "neither an address nor a command"),
        ("  ", "neither an address nor a command"),
        ('./page-me.sh "urgent', "no closing quotation; close the quotation"),
        ("https://", "names no host"),
    ],
)
def test_what_nobody_could_be_told_by_is_refused(where: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run(STEPS, notify=where, **ALONE)
    with pytest.raises(UsageError, match=rf"spec.*{said}"):
        run(spec={"command": STEPS, "roles": {"chief": {}}, "listeners": {"notify": where}})


def test_a_webhook_that_sends_on_is_not_asked_for_something_else(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def do_post(self: Hook) -> None:
        asked.append(self.command)
        self.send_response(302)
        self.send_header("Location", f"{hook}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    monkeypatch.setattr(Hook, "do_POST", do_post)
    monkeypatch.setattr(Hook, "do_GET", do_post, raising=False)
    result = run(STEPS, notify=hook, **ALONE)
    assert result.succeeded and set(asked) == {"POST"}
    log = runs.RunFolder(result.folder).listeners_log.read_text()
    assert f"it answers 302 and sends on to {hook}/elsewhere; name that address" in log


def test_the_plan_shows_them(cwd: Path) -> None:
    done = tflaunch("plan", "--notify", "https://hooks.example/s3cret", "--", *STEPS, cwd=cwd)
    assert "notify" in done.stdout and "s3cret" not in done.stdout


def test_a_command_that_hangs_ends_with_the_run(tmp_path: Path) -> None:
    hanging = tmp_path / "hanging.sh"
    hanging.write_text("echo $$ > pid\nsleep 1000\ntrue\n")
    result = run([FAKE, "chief=gate,ready,exit=0"], notify=f"sh {hanging}", **ALONE)
    assert result.succeeded
    deadline = time.monotonic() + 30
    while _runs(Path("pid").read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _runs(pid: str) -> bool:
    """Whether the process is more than what its parent has not asked for yet."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False
