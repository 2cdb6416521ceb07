"""Plain output and last lines without what TensorFlow says to itself."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from launcher.record import events as ev
from launcher.record.event_log import EventLog, read_events
from launcher.record.runs import RunFolder
from launcher.record.view import RunView
from launcher.views.console import PlainConsole
from launcher.views.logs import LastLines
from launcher.wire.roles import TaskId
from launcher.wire.words.noise import KINDS
from tests.launcher.timeline.test_timeline import BEGAN
from tests.launcher.wire.test_noise import MORE, WORDS

NOISE = [line for text in (*MORE, *(kind.example for kind in KINDS)) for line in text.split("\n")]


@pytest.mark.parametrize("all_lines", [False, True])
def test_plain_output_leaves_noise_out_and_says_so(tmp_path: Path, all_lines: bool) -> None:
    folder = RunFolder.create(tmp_path, "r", BEGAN)
    task = TaskId.parse("chief:0")
    text = "\n".join(["begins", *NOISE, *WORDS]) + "\n"
    folder.log(task).write_text(text)
    log = EventLog(folder.events)
    tasks = ({"task": "chief:0", "host": "here"},)
    log.append(
        ev.RunStarted(run="r", name="r", pid=1, host="h", command=("x",), model_dir=None, run_dir="/r", tasks=tasks),
        BEGAN,
    )
    log.close()
    view, out = RunView(), io.StringIO()
    console = PlainConsole(view, folder, out, all_lines=all_lines)
    for recorded in read_events(folder.events):
        view.apply(recorded)
        console.show(recorded)
    console.stop(0.0)
    console.stop(0.0)
    shown = [line.removeprefix("chief:0 | ") for line in out.getvalue().splitlines() if line.startswith("chief:0")]
    assert shown == ["begins", *(NOISE if all_lines else []), *WORDS]
    assert out.getvalue().count(f"{len(NOISE)} lines of TensorFlow's own noise left out") == (0 if all_lines else 1)
    assert folder.log(task).read_text() == text


def test_the_last_line_is_found_in_front_of_much_noise(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "r", BEGAN)
    task = TaskId.parse("chief:0")
    folder.log(task).write_text("\n".join(["x" * 40_000, "step 7", *NOISE]) + "\n")
    lines = LastLines(folder)
    assert lines.of(task) == "step 7"
    with folder.log(task).open("a") as log:
        log.write(("W0000 00:00:1.2 3 x.cc:4] " + "n" * 5000 + "\n") * 4)  # the first one is read without its beginning
    assert lines.of(task) == "step 7"
