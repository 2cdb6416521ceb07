"""Whatever strangers have named or said: no escape sequence of theirs reaches the terminal."""

from __future__ import annotations

import ast
import dataclasses
import io
import json
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.cli.main import run as tflaunch
from launcher.record import events as ev
from launcher.record.report import build_report, write_report
from launcher.record.runs import RunFolder
from launcher.record.view import RunView
from launcher.views import terminal
from launcher.views.console import LiveConsole, PlainConsole
from launcher.views.summary import summary_lines
from tests.launcher.test_imports import ROOT, files
from tests.launcher.views.console_demo import Story

EVIL = "\x1b]52;c;ZXZpbA==\x07\x1b]0;title\x1b\\\x1b[2J\x9b31m\x90q\x9c\rx\x08\x7f\u202e"
OURS = re.compile("\x1b\\[[0-9;]*m")  # colours
RICH = re.compile("\x1b\\[(\\?(25|1049)[hl]|H|[0-9]*[AJK]|2J)|\r")  # a live picture: where the cursor goes
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")

# Each writes a stream that it is given, and what it writes is made in views.terminal, views.spans or views.lines.
WRITERS = {"launcher/views/terminal.py", "launcher/views/logs.py", "launcher/views/console.py"}


def check(shown: str, *, live: bool = False) -> None:
    bare = OURS.sub("", RICH.sub("", shown) if live else shown)
    assert CONTROL.search(bare) is None, repr(bare[:2000])


def writes(path: Path) -> list[str]:
    """Calls that may write to a terminal."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if re.fullmatch(r"click\.s?echo|print|(sys\.)?std(out|err)\.write|(self\._)?out\.write|error\.show", name):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}")
            width_alone = path.name in ("inspect_text.py", "view.py") and ast.unparse(node).endswith("(file=out)")
            if name == "Console" and not width_alone:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}")
    return found


def test_one_module_writes_to_terminals() -> None:
    rooms = ("cli", "deploy", "doctor", "hosts", "lifecycle", "plan", "record", "spec", "supervise", "testing", "views")
    paths = files(*(f"launcher/{room}" for room in rooms), "launcher/timeline")
    assert [call for path in paths if str(path.relative_to(ROOT)) not in WRITERS for call in writes(path)] == []
    assert writes(ROOT / "launcher/views/terminal.py"), "the test finds what it is to find"


TEXT = st.sampled_from([EVIL, f"a{EVIL}\nb", "plain"]) | st.text(max_size=20)


@settings(max_examples=15)
@given(st.data())
def test_no_field_of_an_event_reaches_a_terminal_as_it_is(data: st.DataObject) -> None:
    """A story of a run with every text replaced: names, hosts, reasons, causes, metrics."""
    folder, view = RunFolder(Path("/nowhere")), RunView()
    out = io.StringIO()
    consoles = (
        PlainConsole(view, folder, out),
        PlainConsole(view, folder, colored := io.StringIO(), color=True),
    )
    for recorded in Story(4, hosts=2).tell():
        event = _spoiled(recorded.event, data)
        changed = dataclasses.replace(recorded, event=event)
        view.apply(changed)
        for console in consoles:
            console.show(changed)
    view.apply(ended(dict.fromkeys(("kind", "message", "advice", "task", "host", "tail"), EVIL)))
    check(out.getvalue())
    check(colored.getvalue())
    for color in (False, True):
        terminal.put(summary_lines(view, folder), end := io.StringIO(), color=color)
        check(end.getvalue())
    live = LiveConsole(view, folder, terminal.console(picture := io.StringIO(), force_terminal=True, width=100))
    live.start()
    live.tick(view.last_at)
    live.stop(view.last_at)
    check(picture.getvalue(), live=True)
    check(json.dumps(build_report(view, folder)))


def _spoiled(event: ev.RunEvent, data: st.DataObject) -> ev.RunEvent:
    keep = {"task", "state", "phase", "outcome", "how", "role"}
    values = {name: getattr(event, name) for name in event.fields}
    texts = [name for name, value in values.items() if isinstance(value, str) and name not in keep]
    for name in texts:
        values[name] = data.draw(TEXT)
    return type(event)(**values)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which everything has a hostile name."""
    monkeypatch.chdir(tmp_path)
    evil = EVIL.replace("/", "")
    folder = tmp_path / "runs" / f"x{evil}-20260101T000000Z"
    folder.mkdir(parents=True)
    started: dict[str, object] = dict.fromkeys(("run", "name", "pid", "host", "model_dir", "run_dir", "run_id"), evil)
    tasks = [{"task": name, "host": evil} for name in ("chief:0", evil)]
    started |= {"kind": "run_started", "command": [evil], "tasks": tasks}
    changed = {"kind": "task_changed", "task": "chief:0", "host": evil, "pid": 1, "attempt": 1, "reason": evil}
    cause = dict.fromkeys(("task", "host", "kind", "message", "advice"), evil)
    over = {"kind": "run_ended", "outcome": "failed", "exit_code": 1, "duration_s": 1.0, "cause": cause}
    lines = [started, started | {"pid": 1}, changed | {"state": evil}, changed | {"state": "failed"}, over]
    numbered = ({"n": n, "at": "2026-01-01T00:00:00.000Z", **line} for n, line in enumerate(lines, 1))
    text = "".join(f"{json.dumps(line)}\n" for line in numbered)
    (folder / "events.jsonl").write_text(text)
    (tmp_path / f"spec{evil}.yaml").write_text(f"name: {json.dumps(evil)}\nhosts: [{json.dumps(evil)}]\n")
    (tmp_path / f"model{evil}").mkdir()
    (tmp_path / f"model{evil}" / f"x{evil}.pb").write_text("no graph")
    return tmp_path


def test_no_command_shows_what_a_repository_has_named(hostile: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run, spec, model = (next(hostile.glob(name)).name for name in ("runs/*", "spec*", "model*"))
    graph = next((hostile / model).iterdir()).name
    for argv in (
        *(["ls"], ["status"], ["attach", "--plain", run], ["logs", run, EVIL], ["restart", run, EVIL], ["ls", EVIL]),
        *([name, run] for name in ("status", "logs", "stop", "timeline")),
        *([name, EVIL] for name in ("status", "timeline", "plan", "doctor", "deploy", "inspect", "run")),
        *(["run", f"no{EVIL}.yaml"], ["plan", spec], ["run", spec], ["timeline", model], [EVIL], [f"--{EVIL}"]),
        *(["inspect", model], ["inspect", f"{model}/{graph}"], ["local", "--run-dir", EVIL, "--", EVIL]),
        *(["local", option, EVIL] for option in ("--tune", "--inject", "--env", "--env-file", "--hosts-from")),
    ):
        tflaunch(argv)
        shown = capfd.readouterr()
        check(shown.out)
        check(shown.err)


def test_the_report_has_no_escape_sequences(tmp_path: Path) -> None:
    folder = RunFolder.create_at(tmp_path / "run")
    view = RunView()
    view.apply(ended({"task": "chief:0", "host": "a", "kind": "exit", "message": EVIL, "advice": EVIL}))
    written = write_report(view, folder)
    assert CONTROL.search(written["cause"]["message"]) is None
    check(folder.report.read_text(encoding="utf-8"))


def ended(cause: dict[str, str]) -> ev.Recorded:
    event = ev.RunEnded(outcome="failed", exit_code=1, duration_s=1.0, cause=cause)
    return ev.Recorded(n=10**6, at=datetime.now(timezone.utc), event=event)


def test_a_byte_that_is_no_utf8_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "caf\udce9-20260101T000000Z"
    folder.mkdir(parents=True)
    (folder / "events.jsonl").touch()
    tflaunch(["ls"])
    assert capfd.readouterr().out.splitlines()[1].startswith(r"caf\xe9-2026")
