"""How a run is shown while it runs: a live picture, plain lines, or JSON lines.

All three take events and are ticked about five times a second; they write to the stream that they are given and nowhere
else. The caller applies each event to the view first. Only the live view needs rich, which it imports when it starts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Protocol, TextIO

from launcher.record import events as ev
from launcher.record.reading import News, as_recorded
from launcher.record.runs import RunFolder
from launcher.record.view import RunView
from launcher.views import terminal
from launcher.views.live.clock import EventClock
from launcher.views.live.complaints import Complaints
from launcher.views.live.frame import Looks, Size, frame
from launcher.views.logs import LastLines, LogWriter, MergedLogs
from launcher.views.pace import Pace
from launcher.views.spans import Line, count, duration, encodable, glyphs_for
from launcher.views.telling import tell
from launcher.views.terminal import put
from launcher.wire.roles import TaskId
from launcher.wire.words.noise import Quiet

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live
    from rich.style import Style

REFRESH_S = 0.2
_MUCH_S = 0.01  # of CPU, for one picture
PROGRESS_EVERY_S = 10.0


class RunConsole(Protocol):
    """One way of showing a run."""

    def start(self) -> None:
        """Takes the terminal."""

    def show(self, news: News) -> None:
        """An event or a sample that the view has just taken."""

    def tick(self, now: float) -> None:
        """``REFRESH_S`` have passed or something has come; ``now`` in seconds since the epoch."""

    def stop(self, now: float) -> None:
        """Shows what is left and gives the terminal back. May be called more than once."""


class JsonConsole:
    """One JSON object a line for each event, as in ``events.jsonl``, and for each sample, which has no number."""

    def __init__(self, out: TextIO, view: RunView) -> None:
        self._out = out
        self._view = view

    def start(self) -> None:
        """Nothing to do."""

    def show(self, news: News) -> None:
        if isinstance(news, ev.Recorded):
            line = ev.to_line(news)
            self._out.write(line if line.isascii() else json.dumps(json.loads(line)) + "\n")
        else:
            for recorded in as_recorded(news, self._view):
                self._out.write(ev.to_line(recorded).replace('"n": 0, ', "", 1))
        self._out.flush()

    def tick(self, now: float) -> None:
        """Nothing to do: only events are shown."""

    def stop(self, now: float) -> None:
        """Nothing to do."""


class PlainConsole:
    """For pipes and log files: the tasks' lines with their prefixes, and a ``tflaunch |`` line for each event of
    interest; progress at most every ten seconds. What TensorFlow says to itself is left out, but for ``all_lines``."""

    def __init__(
        self, view: RunView, folder: RunFolder, out: TextIO, *, color: bool = False, all_lines: bool = False
    ) -> None:
        self._view = view
        self._folder = folder
        self._out = out
        self._color = color
        self._logs: MergedLogs | None = None
        self._writer: LogWriter | None = None
        self._told_at = 0.0
        self._told_step: int | None = None
        self._all_lines = all_lines
        self._quiet: dict[TaskId, Quiet] = {}
        self._pace = Pace()
        self._left_out = 0

    def start(self) -> None:
        """Nothing to do."""

    def skip(self) -> None:
        """What the tasks have written by now is left out."""
        tasks = tuple(sorted(self._view.tasks))
        self._logs = MergedLogs.of_run(self._folder, tasks, skip=True)
        self._writer = LogWriter(self._out, tasks, color=self._color)

    def show(self, news: News) -> None:
        if not isinstance(news, ev.Recorded):
            return
        if isinstance(news.event, ev.RunEnded):
            self._write_logs(final=True)
            self._tell_left_out()
        if (told := tell(news.event)) is not None:
            self._say(*told)

    def tick(self, now: float) -> None:
        if self._pace.is_due(now):
            with self._pace.measured(now):
                some = self._write_logs()
                self._tell_progress(now)
            if some:
                self._pace.hasten()
            self._out.flush()

    def _tell_progress(self, now: float) -> None:
        step = self._view.global_step
        if step != self._told_step and now - self._told_at >= PROGRESS_EVERY_S and not self._view.ended:
            self._say(_progress_words(self._view, now), "cyan")
            self._told_at, self._told_step = now, step

    def stop(self, now: float) -> None:
        self._write_logs(final=True)
        self._tell_left_out()
        self._out.flush()

    def _tell_left_out(self) -> None:
        if self._left_out:
            self._say(f"{self._left_out:,} lines of TensorFlow's own noise left out; tflaunch logs has all", "dim")
        self._left_out = 0

    def _say(self, text: str, style: str) -> None:
        first, *more = text.split("\n")
        # What is a line of its own within somebody's text must not look like a line of ours.
        lines = [f"tflaunch | {first}", *(f"tflaunch |   {line}" for line in more)]
        put([((line, style),) for line in lines], self._out, color=self._color)

    def _write_logs(self, *, final: bool = False) -> bool:
        """Whether there was anything new."""
        some = False
        if self._logs is None or self._writer is None:
            tasks = tuple(sorted(self._view.tasks))
            if not tasks:
                return False
            self._logs = MergedLogs.of_run(self._folder, tasks)
            self._writer = LogWriter(self._out, tasks, color=self._color)
        for task, lines in self._logs.drain() if final else self._logs.poll():
            some = True
            shown = lines if self._all_lines else self._quiet.setdefault(task, Quiet()).kept(lines)
            self._left_out += len(lines) - len(shown)
            if shown:
                self._writer.write(task, shown)
        return some


def _progress_words(view: RunView, now: float) -> str:
    target = f" / {view.max_steps:,}" if view.max_steps else ""
    steps, examples, eta = view.steps_per_s(now), view.examples_per_s(now), view.eta_s(now)
    words = (
        f"step {view.global_step:,}{target}" if view.global_step is not None else "no step yet",
        f"{count(steps)} steps/s" if steps is not None else "",
        f"{count(examples)} examples/s" if examples is not None else "",
        f"loss {view.loss.last:.4g}" if view.loss.last is not None else "",
        f"{duration(eta)} left" if eta is not None else "",
    )
    return ", ".join(filter(None, words))


class LiveConsole:
    """A picture that is drawn anew when it has changed, at most every ``REFRESH_S``; where that is much work, with
    thousands of tasks, as seldom as ``Pace`` has it."""

    def __init__(
        self, view: RunView, folder: RunFolder, console: Console, *, zone: tzinfo | None = None, metric: str = ""
    ) -> None:
        self._view = view
        self._metric = metric
        self._console = console
        self._zone = zone
        self._last_lines = LastLines(folder)
        self._complaints = Complaints(folder)
        self._clock = EventClock()
        self.shows_last_lines = False
        self.footer: Line = ()
        self.trouble = ""
        self.has_keys = False
        self._glyphs = glyphs_for(console.encoding)
        self._live: Live | None = None
        self._drawn: tuple[Line, ...] | None = None
        self._pace = Pace(least_s=REFRESH_S, free_s=_MUCH_S)

    def start(self) -> None:
        from rich.live import Live

        # On the alternate screen: whatever a resize, or a key that the terminal echoes, leaves there is drawn over.
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, screen=True
        )
        self._live.start()

    def show(self, news: News) -> None:
        """Nothing to do: the picture is of the view."""

    def tick(self, now: float) -> None:
        if self._live is not None and self._pace.is_due(now):
            with self._pace.measured(now):
                self._draw(self._live, now)

    def _draw(self, live: Live, now: float) -> None:
        lines = self.lines(now)
        if lines != self._drawn:
            self._drawn = lines
            live.update(_Picture(lines), refresh=True)

    def stop(self, now: float) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._console.print(_Picture(self.lines(now)))

    def lines(self, now: float) -> tuple[Line, ...]:
        """What is to be seen now. One line of the terminal stays free for the cursor."""
        width, height = self._console.size
        self._complaints.look()
        looks = Looks(
            metric=self._metric,
            text_of=self._last_lines.of if self.shows_last_lines else lambda task: "",
            complaints_of=self._complaints.of,
            glyphs=self._glyphs,
            zone=self._zone,
            trouble=self.trouble,
            footer=self.footer,
            has_keys=self.has_keys,
        )
        at = self._clock.now(self._view.last_at, now, time.monotonic())
        made = frame(self._view, Size(width=width, height=max(1, height - 1)), at, looks)
        encoding = self._console.encoding
        return tuple(tuple((encodable(text, encoding), style) for text, style in line) for line in made)


class _Picture:
    """Lines as rich takes them; they fit already, so that rich need not measure and wrap."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        self._styles: dict[str, Style | None] = {"": None}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment
        from rich.style import Style

        for line in self._lines:
            for text, style in line:
                if style not in self._styles:
                    self._styles[style] = Style.parse(style)
                yield Segment(text, self._styles[style])
            yield Segment.line()


def form_for(out: TextIO, form: str, environ: Mapping[str, str]) -> str:
    """``json``, ``plain`` or ``live``: as wished, but a live view needs a terminal that is not dumb."""
    can_draw = out.isatty() and environ.get("TERM", "") not in ("", "dumb")
    return "plain" if form == "live" and not can_draw else form


def open_console(
    view: RunView,
    folder: RunFolder,
    out: TextIO,
    *,
    form: str,
    environ: Mapping[str, str],
    all_lines: bool = False,
    metric: str = "",
) -> RunConsole:
    """The console of that ``form``, as ``form_for`` gives it. ``metric``: that which a picture gives a line."""
    form = form_for(out, form, environ)
    if form == "json":
        return JsonConsole(out, view)
    if form == "plain":
        color = out.isatty() and environ.get("TERM", "") not in ("", "dumb") and not environ.get("NO_COLOR")
        return PlainConsole(view, folder, out, color=color, all_lines=all_lines)
    return LiveConsole(view, folder, terminal.console(out), metric=metric)
