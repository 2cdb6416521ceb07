"""The pictures of docs/live.md, from recorded events: ``python -m tests.launcher.views.console_picture docs/pictures``.

``python -m tests.launcher.views.console_picture RUN_DIR STEP OUT.svg`` makes one of a real run at that step.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME, TerminalTheme

from launcher.record.event_log import read_events
from launcher.record.runs import RunFolder
from launcher.record.view import RunView
from launcher.views.console import LiveConsole, _Picture
from tests.launcher.views.console_demo import START, Story, write_logs

DARK = SVG_EXPORT_THEME
_COLOURS = ["#3c3c3c", "#b4281e", "#147d32", "#966900", "#145ab4", "#8c328c", "#007887", "#5a5a5a"]
_BRIGHT = ["#646464", "#c83228", "#1e8c3c", "#aa7800", "#1e64c8", "#a03ca0", "#008c9b", "#3c3c3c"]


def _rgb(text: str) -> tuple[int, int, int]:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


LIGHT = TerminalTheme((255, 255, 255), (40, 44, 52), [*map(_rgb, _COLOURS)], [*map(_rgb, _BRIGHT)])


@dataclass(frozen=True, kw_only=True)
class Scene:
    """``until``: the second at which the story stands still; ``cut``: a host of which nothing comes from then on."""

    tasks: int = 5
    hosts: int = 1
    until: float = 34.0
    cut: tuple[str, float] = ("", 0.0)
    width: int = 120
    height: int = 40
    last_lines: bool = False


SCENES = {
    "five-80x24": Scene(width=80, height=24),
    "five-120x40": Scene(),
    "five-200x50": Scene(width=200, height=50),
    "hundred-80x24": Scene(tasks=100, hosts=4, width=80, height=24),
    "hundred-120x40": Scene(tasks=100, hosts=4),
    "hundred-200x50": Scene(tasks=100, hosts=4, width=200, height=50),
    "silent": Scene(tasks=7, hosts=3, cut=("node02", 16.0), until=34.0, height=24),
    "restarting": Scene(until=21.5, height=24),
    "failed": Scene(until=99.0, height=24),
    "last-lines": Scene(last_lines=True, height=24),
}


LIGHT_TOO = ("five-120x40", "silent")


def lines_of(scene: Scene, scratch: Path) -> tuple[LiveConsole, Console, float]:
    folder = RunFolder.create(scratch, "ctr", START)
    view, host = RunView(), scene.cut[0]
    for recorded in Story(scene.tasks, hosts=scene.hosts).tell():
        second = (recorded.at - START).total_seconds()
        if second > scene.until:
            break
        task = view.tasks.get(task_of(recorded.event))
        about = getattr(recorded.event, "host", "") or (task.host if task else "")
        if host and about == host and second > scene.cut[1]:
            continue
        write_logs(folder, recorded.event)
        view.apply(recorded)
    screen = Console(
        record=True,
        width=scene.width,
        height=scene.height + 1,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    live = LiveConsole(view, folder, screen, zone=timezone.utc)
    live.shows_last_lines = scene.last_lines
    return live, screen, START.timestamp() + min(scene.until, 62.0)


def task_of(event: object) -> object:
    from launcher.record.kept import task_named

    return task_named(getattr(event, "task", ""))


def picture(scene: Scene, theme: TerminalTheme) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        live, screen, now = lines_of(scene, Path(scratch))
        screen.print(_Picture(live.lines(now)))
    return _own_fonts(screen.export_svg(title="tflaunch", theme=theme, unique_id="live"))


def _own_fonts(svg: str) -> str:
    """Without those of another site."""
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def all_of(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, scene in SCENES.items():
        (folder / f"{name}.svg").write_text(picture(scene, DARK))
        if name in LIGHT_TOO:
            (folder / f"{name}-light.svg").write_text(picture(scene, LIGHT))


def of_run(run_dir: str, step: str, out: str) -> None:
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
    Path(out).write_text(_own_fonts(console.export_svg(title="tflaunch local --workers 2 --ps 1", theme=DARK)))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        all_of(Path(sys.argv[1]))
    else:
        of_run(*sys.argv[1:])
