"""``python -m tests.launcher.views.console_picture RUN_DIR STEP OUT.svg``: the live view of a real run at that step."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from launcher.record.event_log import read_events
from launcher.record.runs import RunFolder
from launcher.record.view import RunView
from launcher.views.console import LiveConsole, _Picture


def main(run_dir: str, step: str, out: str) -> None:
    folder = RunFolder.open(Path(run_dir))
    view = RunView()
    now = 0.0
    for recorded in read_events(folder.events):
        view.apply(recorded)
        now = recorded.at.timestamp()
        if (view.global_step or 0) >= int(step) and any(task.cpu for task in view.tasks.values()):
            break
    console = Console(
        record=True, width=112, height=16, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(_Picture(LiveConsole(view, folder, console).lines(now)))
    svg = console.export_svg(title="tflaunch local --workers 2 --ps 1", theme=MONOKAI)
    Path(out).write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))  # fonts of another site


if __name__ == "__main__":
    main(*sys.argv[1:])
