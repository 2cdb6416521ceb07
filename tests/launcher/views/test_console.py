from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from datetime import timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from launcher.record import events as ev
from launcher.record.runs import RunFolder
from launcher.record.states import TaskState
from launcher.record.view import RunView
from launcher.views.console import JsonConsole, LiveConsole, PlainConsole, open_console
from launcher.views.live.frame import Looks, Size, frame
from launcher.views.live.table import Known, arrange
from launcher.views.spans import (
    ASCII,
    UNICODE,
    Glyphs,
    count,
    crop,
    duration,
    fit,
    line_width,
    memory,
    number,
    pad,
    plain,
    sparkline,
    width_of,
)
from launcher.wire.protocol import changed
from launcher.wire.roles import Role, TaskId
from launcher.wire.words.noise import Quiet
from tests.launcher.views.console_demo import START, Story, write_logs

NASTY = "日本語\x1b[2J\ta👩‍💻\u202e é\r\n" * 8


def view_at(second: float, tasks: int = 5, *, hosts: int = 1, max_steps: int | None = 20_000) -> RunView:
    """The synthetic run as it stands at that second."""
    view = RunView()
    for recorded in Story(tasks, hosts=hosts, max_steps=max_steps).tell():
        if (recorded.at - START).total_seconds() > second:
            break
        view.apply(recorded)
    return view


def picture(view: RunView, width: int, height: int, glyphs: Glyphs = UNICODE, text: str = "step done") -> list[str]:
    looks = Looks(text_of=lambda _: text, complaints_of=lambda _: (12, 3), glyphs=glyphs, zone=timezone.utc)
    lines = frame(view, Size(width=width, height=height), view.last_at, looks)
    return [plain(line) for line in lines]


SCENES = {
    "nothing": RunView(),
    "starting": view_at(3),
    "five": view_at(24),
    "endless": view_at(24, max_steps=None),
    "hundred": view_at(21, 100, hosts=4),
    "failed": view_at(99, 100, hosts=4),
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("height", [1, 2, 3, 6, 10, 24, 50])
def test_a_picture_fits_at_every_size(scene: str, height: int) -> None:
    for width in range(1, 221, 3 if height == 24 else 17):
        for text in ("short", NASTY):
            lines = picture(SCENES[scene], width, height, text=text)
            assert 0 < len(lines) <= height
            assert all(cell_len(line) <= width for line in lines), (width, lines)
            assert not any(ord(char) < 32 for line in lines for char in line)


def test_nasty_names_do_no_harm() -> None:
    view = RunView()
    started = ev.RunStarted(
        run=NASTY, name=NASTY, pid=1, host=NASTY, command=(), model_dir=NASTY, run_dir=NASTY,
        tasks=({"task": "ps:0", "host": NASTY}, {"task": "chief:0", "host": "b"}),
    )  # fmt: skip
    changed = ev.TaskChanged(task="ps:0", attempt=1, state="failed", host=NASTY, reason=NASTY)
    done = ev.EvaluationDone(task="evaluator:0", global_step=1, metrics={NASTY: float("nan"), "auc": 1e300})
    for n, event in enumerate((started, changed, done, ev.Noticed(severity="odd", message=NASTY, task="?")), 1):
        view.apply(ev.Recorded(n=n, at=START, event=event))
    for width in range(20, 200, 7):
        for line in picture(view, width, 24, text=NASTY):
            assert cell_len(line) <= width
            assert not any(ord(char) < 32 for char in line), line


def test_five_tasks_in_a_small_terminal() -> None:
    assert picture(SCENES["five"], 80, 24)[:4] == [
        "ctr-nightly · training · 0:23                                  5 tasks on node01",
        "━━━━╸─────────  6,619 / 20,000 steps · 347 steps/s · 258k examples/s · 0:37 left",
        "",
        "  task         state           step  steps/s  logged",
    ]


def test_what_a_picture_must_show() -> None:
    text = "\n".join(picture(SCENES["five"], 120, 30))
    for words in ("347 steps/s", "checkpoint at 3,850", "ctr_auc 0.6440", "loss  0.4022", "starting #2", "0:37 left"):
        assert words in text, words
    assert "drill: kill worker:1" in text and "Ctrl-C save, evaluate and end" in text


def test_how_the_shared_input_stands() -> None:
    view = view_at(8, max_steps=None)
    state = ev.InputCounted(examples=9, pending=120, held=14, epoch=2, epochs=4, progress=0.5, left_s=75)
    step = ev.Progressed(task="worker:0", attempt=1, global_step=9, local_steps=9, input_wait=0.07)
    for number_of, event in enumerate((state, step)):
        view.apply(ev.Recorded(n=view.n + 1 + number_of, at=START, event=event))
    lines = picture(view, 120, 30)
    assert "input epoch 2/4 · 50% · 1:15 left · 120 shards waiting, 14 being read" in lines
    assert "wait" in next(line for line in lines if "restarts" in line or "state" in line)
    assert "7%" in next(line for line in lines if "worker:0" in line)
    bar = next(line for line in lines if "steps" in line and "━" in line)
    assert bar.count("━") in (24, 25, 26)
    late = changed(state, pending=0, lag_s=2.0, epochs=None, progress=None, skipped=3, reread=2, duplicates=70)
    view.apply(ev.Recorded(n=view.n + 1, at=START, event=late))
    (line,) = (line for line in picture(view, 140, 30) if line.startswith("input"))
    assert "0:02 behind" in line and "2 begun again, 70 duplicates" in line and "3 records skipped" in line


def test_problems_come_first_and_quiet_tasks_are_folded() -> None:
    lines = picture(SCENES["hundred"], 80, 24)
    rows = lines[lines.index(next(line for line in lines if line.startswith("  task"))) + 1 :]
    assert rows[0].startswith("↻ worker:93")
    assert "killed by SIGKILL" in rows[0]
    assert any(line.startswith("● worker \u00d7") for line in rows)
    assert lines[-1].startswith("Ctrl-C")


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 12, 99, 100, 500])
def test_every_task_is_in_exactly_one_row(rows: int) -> None:
    view = SCENES["hundred"]
    made = arrange(view.ordered(), rows, Known())
    named = [task.task for row in made for task in row.tasks]
    assert sorted(named) == sorted(view.tasks) and len(set(named)) == len(named)
    assert len(made) <= max(rows, 4)


def test_ascii_terminals_get_ascii() -> None:
    for scene in SCENES.values():
        assert all(line.isascii() for line in picture(scene, 100, 30, ASCII))
    assert len(ASCII.states) == len(UNICODE.states) == len(TaskState)
    assert len(set(UNICODE.states)) >= 8


# --- the consoles ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "console", START)


def play(console: LiveConsole | PlainConsole | JsonConsole, view: RunView, folder: RunFolder, story: Story) -> None:
    console.start()
    now = 0.0
    for recorded in story.tell():
        now = recorded.at.timestamp()
        write_logs(folder, recorded.event)
        view.apply(recorded)
        console.show(recorded)
        console.tick(now)
    console.stop(now)
    console.stop(now)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (40, 8)])
@pytest.mark.parametrize("tasks", [5, 100])
def test_the_live_view_never_wraps(folder: RunFolder, width: int, height: int, tasks: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=True, color_system="standard")
    view = RunView()
    play(LiveConsole(view, folder, console, zone=timezone.utc), view, folder, Story(tasks, seconds=16))
    breaks = "[\r\n]|\x1b\\[[0-9]*[A-K]|\x1b\\[\\?1049[hl]"  # the last: to the alternate screen, and back
    shown = [re.sub("\x1b\\[[0-9;?]*[a-z]", "", line) for line in re.split(breaks, out.getvalue())]
    assert any("failed" in line for line in shown)
    assert [line for line in shown if cell_len(line) > width] == []
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h") == 1  # the cursor is given back


def test_the_live_view_is_drawn_at_most_five_times_a_second(folder: RunFolder) -> None:
    out = io.StringIO()
    live = LiveConsole(SCENES["five"], folder, Console(file=out, width=80, height=24, force_terminal=True))
    live.start()
    sizes = []
    for tick in range(20):
        live.tick(SCENES["five"].last_at + tick * 0.05)
        sizes.append(len(out.getvalue()))
    assert len(set(sizes)) <= 3  # and not at all when nothing has changed
    live.stop(SCENES["five"].last_at + 1)


def test_the_live_view_copes_with_a_terminal_without_unicode(folder: RunFolder) -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    folder.log(TaskId(Role.CHIEF, 0)).write_text("größe\n", encoding="utf-8")
    console = Console(file=out, width=120, height=30, force_terminal=True, no_color=True)
    live = LiveConsole(SCENES["five"], folder, console)
    live.shows_last_lines = True
    live.start()
    live.stop(SCENES["five"].last_at)
    out.flush()
    text = raw.getvalue().decode("ascii")
    assert "gr??e" in text and "====" in text
    assert "\x1b[32m" not in text


def test_plain_tells_events_and_logs_in_order(folder: RunFolder) -> None:
    out = io.StringIO()
    view = RunView()
    play(PlainConsole(view, folder, out), view, folder, Story(5))
    lines = out.getvalue().splitlines()
    ours = [line for line in lines if line.startswith("tflaunch | ")]
    assert ours[0].startswith("tflaunch | run ctr-nightly-20260301T120000Z: 5 tasks")
    assert ours[-1].startswith("tflaunch | failed after 1:02, global step 20,000")
    assert "tflaunch | worker:1 restarting: worker:1 was killed by SIGKILL; again in 1 s" in ours
    assert "tflaunch | worker:1 is back after 5.0 s" in ours
    assert 3 <= sum("tflaunch | step " in line for line in ours) <= 7
    logged = [line for line in lines if not line.startswith("tflaunch | ")]
    assert all(line.partition(" | ")[0].strip() in {str(task) for task in view.tasks} for line in logged)
    written = [folder.log(task).read_text().splitlines() for task in folder.logged_tasks()]
    kept = sum(len(Quiet().kept(lines)) for lines in written)
    assert 0 < kept < sum(map(len, written))
    assert len(logged) == kept
    assert "\x1b" not in out.getvalue()


def test_json_is_one_event_a_line_in_any_encoding() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = JsonConsole(out, RunView())
    event = ev.Noticed(severity="info", message="größe\n")
    console.show(ev.Recorded(n=1, at=START, event=event))
    out.seek(0)
    assert json.loads(out.read()) == {
        "n": 1, "at": "2026-03-01T12:00:00.000Z", "kind": "noticed", "severity": "info", "message": "größe\n",
        "task": None,
    }  # fmt: skip


@pytest.mark.parametrize(("form", "kind"), [("live", PlainConsole), ("plain", PlainConsole), ("json", JsonConsole)])
def test_a_stream_that_is_no_terminal_gets_plain_lines(folder: RunFolder, form: str, kind: type) -> None:
    assert type(open_console(RunView(), folder, io.StringIO(), form=form, environ={"TERM": "xterm"})) is kind


def test_rich_is_imported_by_the_live_view_alone() -> None:
    code = "import sys, launcher.views.console, launcher.record.report; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- text --------------------------------------------------------------------------------------------------------


@given(st.text(max_size=30), st.integers(0, 20))
def test_cut_text_fits(text: str, width: int) -> None:
    assert width_of(crop(text, width)) <= width
    assert width_of(pad(text, width)) == width == width_of(pad(text, width, right=True))
    assert line_width(fit(((text, ""), (text, "bold")), width)) <= width
    if width_of(text) <= width:
        assert crop(text, width) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0, "0"), (0.04, "0.0"), (3.64, "3.6"), (999, "999"), (9999, "9999"), (12_100, "12.1k"),
     (258_000, "258k"), (3_200_000, "3.20M"), (5e9, "5.00G"), (float("inf"), "inf")],
)  # fmt: skip
def test_counts(value: float | None, text: str) -> None:
    assert count(value) == text


def test_numbers_for_people() -> None:
    assert [duration(s) for s in (0, 7, 151, 3751, 273_000)] == ["0:00", "0:07", "2:31", "1:02:31", "3d 03:50"]
    assert [number(v) for v in (0.69314718, 2.0, 12345.678, 1e-9, float("nan"))] == [
        "0.6931", "2", "1.235e+04", "1e-09", "nan",
    ]  # fmt: skip
    assert [memory(m) for m in (None, 341.4, 2048.0, 204800.0)] == ["", "341M", "2.0G", "200G"]
    assert sparkline([0, 1, 2, float("nan"), 0], "_-^") == "_-^ _"
    assert (sparkline([5, 5], "_-^"), sparkline([], "_-^")) == ("--", "")
