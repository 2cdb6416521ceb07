"""The one place that writes to a terminal, and makes harmless what it writes.

Names of files, runs and hosts, what tasks and hosts said: any of it may be a stranger's. Only what is written here
carries escape sequences, and only those of our own styles. A test finds every place that writes by another way.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO, cast

from launcher.views.spans import Line, ansi, encodable
from launcher.wire.text import harmless, one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult


def say(text: str, *, err: bool = False) -> None:
    """One line on stdout, or on stderr."""
    put_drawn(one_line(text) + "\n", sys.stderr if err else sys.stdout)


def complain(text: str) -> None:
    """What went wrong, on stderr: a line of ours for each of the text's."""
    for line in text.splitlines():
        say(f"tflaunch: {line}", err=True)


def say_text(text: str) -> None:
    """Lines without styles on stdout."""
    put_drawn(harmless(text), sys.stdout)


def say_json(value: Any) -> None:
    """A value on stdout, for programs: JSON of ASCII letters alone."""
    import json  # which --help does without

    put_drawn(json.dumps(value, indent=2) + "\n", sys.stdout)


def put(lines: Iterable[Line], out: TextIO, *, color: bool) -> None:
    """Styled lines."""
    put_drawn("".join(f"{ansi(line, color=color)}\n" for line in lines), out)


def put_drawn(text: str, out: TextIO) -> None:
    """What ``ansi``, or a ``console`` over a buffer, has made of lines."""
    out.write(encodable(text, out.encoding))
    out.flush()


def console(file: TextIO, **settings: Any) -> Console:
    """A console of rich for that stream; ``settings`` as its own. What is printed there is made harmless."""
    from rich.console import Console

    made = Console(file=file, highlight=False, **settings)
    made.push_render_hook(cast("RenderHook", _Hook()))
    return made


class _Hook:
    """Stands between whatever is printed and the stream."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Harmless(each) for each in renderables]


class _Harmless:
    """What a renderable draws, without control characters of its text. ``control`` segments are rich's own."""

    def __init__(self, drawn: ConsoleRenderable) -> None:
        self._drawn = drawn

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        for text, style, control in console.render(self._drawn, options):
            yield Segment(text if control else harmless(text), style, control)
