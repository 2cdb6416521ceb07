"""One picture of a run for a terminal of a given size. Pure: a view, a time and a size in, lines out.

Every line is at most ``width`` cells wide and there are at most ``height`` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from launcher.record.course.hearing import silent
from launcher.record.report import SHAPES, shape_of
from launcher.record.states import Phase, StopHow
from launcher.record.view import RunView
from launcher.views.live.numbers import doing_of_evaluator, numbers_of
from launcher.views.live.table import Known, arrange, severity, table_lines
from launcher.views.spans import (
    UNICODE,
    Glyphs,
    Line,
    Span,
    count,
    crop,
    duration,
    fit,
    line_width,
    spread,
    width_of,
)
from launcher.views.summary import OUTCOME_STYLES
from launcher.views.telling import tell
from launcher.wire.protocol import PreloadStage
from launcher.wire.roles import TaskId
from launcher.wire.text import one_line

PHASE_STYLES = {
    Phase.ALLOCATING: "bold yellow",
    Phase.STARTING: "bold yellow",
    Phase.TRAINING: "bold green",
    Phase.MOVING: "bold yellow",
    Phase.DRAINING: "bold magenta",
    Phase.STOPPING: "bold yellow",
    Phase.ENDED: "bold",
}
FOOTER = (("Ctrl-C", "bold"), (" save, evaluate and end", "dim"), ("   twice", "bold"), (" stop now", "dim"))
LEAVING_FOOTER = (("Ctrl-C", "bold"), (" leave, the run goes on", "dim"))
STOPPING_FOOTER = (("Ctrl-C", "bold"), (" stop now, without waiting", "dim"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    width: int
    height: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """What is wanted of a picture. ``metric``: that which gets a line of its own, empty: one is chosen; ``text_of``,
    ``complaints_of``: see ``Known``; ``zone`` of the times; ``footer``: what is asked or answered on the last line;
    ``trouble``: why nothing comes of the run; ``has_keys``: keys do something."""

    metric: str = ""
    text_of: Callable[[TaskId], str] = lambda task: ""
    complaints_of: Callable[[TaskId], tuple[int, int]] = lambda task: (0, 0)
    glyphs: Glyphs = UNICODE
    zone: tzinfo | None = None
    footer: Line = ()
    trouble: str = ""
    has_keys: bool = False


def frame(view: RunView, size: Size, now: float, looks: Looks = Looks()) -> list[Line]:
    """The picture. ``now``: seconds since the epoch, as the run's events have them."""
    width, height, glyphs = max(1, size.width), max(1, size.height), looks.glyphs
    airy = height >= 20
    tasks = view.ordered()
    quiet = {} if view.ended else silent(view.hosts, tasks, now)
    known = Known(
        text_of=looks.text_of,
        complaints_of=looks.complaints_of,
        silent=quiet,
        is_cut_off=bool(looks.trouble),
        evaluator=doing_of_evaluator(view, now),
    )
    top = [_header(view, width, now, known, glyphs), *_progress(view, width, now, glyphs)]
    said = looks.footer or (((looks.trouble, "bold yellow"),) if looks.trouble else ())
    bottom = [fit(said, width, glyphs.mark) if said else _footer(view, width, looks)]
    numbers = numbers_of(view, width, looks.metric, glyphs)
    roles = len({task.task.role for task in tasks})
    gaps = 4 if airy else 0
    room = height - len(top) - len(bottom) - len(numbers) - gaps - 1
    wanted = max(roles, min(len(tasks), sum(severity(task) < 3 for task in tasks) + roles))
    notices = _notices(view, width, max(0, room - wanted - 1), looks.zone, glyphs)
    rows = arrange(tasks, max(1, room - len(notices)), known)
    table = table_lines(rows, width, now, glyphs) if rows else []
    blocks = [top, table, numbers, notices, bottom]
    lines = _stack(blocks, airy)
    if len(lines) > height:
        lines = (top + table)[: height - 1] + bottom if height > 1 else top
    return [fit(line, width, glyphs.mark) for line in lines[:height]]


def _stack(blocks: Sequence[list[Line]], airy: bool) -> list[Line]:
    """The blocks below each other, with an empty line between them if ``airy``."""
    lines: list[Line] = []
    for block in blocks:
        if airy and block and lines:
            lines.append(())
        lines += block
    return lines


# --- header and progress -----------------------------------------------------------------------------------------


def _header(view: RunView, width: int, now: float, known: Known, glyphs: Glyphs) -> Line:
    outcome = view.outcome
    phase: Span = (view.phase.value, PHASE_STYLES[view.phase])
    if outcome is not None:
        phase = (outcome.value.replace("_", " "), OUTCOME_STYLES[outcome])
    left: list[Span] = [(one_line(view.name) or "tflaunch", "bold"), (glyphs.dot, "dim"), phase]
    left += [(glyphs.dot, "dim"), (duration(view.elapsed_s(now)), "")]
    note = _doing(view)
    if note:
        left += [(glyphs.dot, "dim"), (note, "dim")]
    hosts = [host for host in view.hosts.values() if host.name]
    away = [host.name for host in hosts if host.state == "lost"]
    kind = f"{SHAPES[shape]}{glyphs.dot}" if (shape := shape_of(view)) else ""
    right: list[Span] = [(f"{kind}{len(view.tasks)} tasks on ", "dim"), (_hosts([host.name for host in hosts]), "dim")]
    if away:
        right = [(f"{_hosts(away)} out of reach", "bold red")]
    if known.silent:
        name, seconds = max(known.silent.items(), key=lambda each: each[1])
        more = f" and {len(known.silent) - 1} more hosts" if len(known.silent) > 1 else ""
        who = "no word of the supervisor" if known.is_cut_off else f"{one_line(name)}{more} silent"
        right = [(f"{who} for {seconds:.0f} s", "bold yellow")]
    return spread(left, right, width, glyphs.mark)


def _hosts(names: Sequence[str]) -> str:
    return one_line(names[0]) if len(names) == 1 else f"{len(names)} hosts"


def _doing(view: RunView) -> str:
    """What the run as a whole waits for, in a few words."""
    if view.stop is not None and view.phase is not Phase.ENDED:
        return "saving, then ending" if view.stop.how != StopHow.KILL else "stopping at once"
    if view.phase is not Phase.STARTING:
        return one_line(view.phase_reason)
    loading = [preload for preload in view.preloads.values() if preload.state == PreloadStage.STARTING]
    if loading:
        return "importing modules once" + (f" on {len(loading)} hosts" if len(loading) > 1 else "")
    return one_line(view.phase_reason)


def _progress(view: RunView, width: int, now: float, glyphs: Glyphs) -> list[Line]:
    step, target = view.global_step, view.max_steps
    words: list[Span] = []
    if step is not None:
        words.append((f"{step:,}" + (f" / {target:,} steps" if target else " steps"), ""))
    rates = [(view.steps_per_s(now), "steps/s"), (view.examples_per_s(now), "examples/s")]
    if not view.ended:
        words += [(f"{count(rate)} {unit}", "cyan") for rate, unit in rates if rate is not None]
        if (left_s := _left_s(view, now)) is not None:
            words.append((f"{duration(left_s)} left", ""))
        if view.input is not None and view.input.epoch is not None and not target:
            of = f" of {view.input.epochs}" if view.input.epochs else ""
            words.append((f"epoch {view.input.epoch}{of}", ""))
    text = _joined(words, glyphs)
    while line_width(text) > width - 12 and len(words) > 1:
        words.pop(1 if len(words) > 3 else len(words) - 1)
        text = _joined(words, glyphs)
    cells = min(60, width - line_width(text) - 2) if text else min(60, width)
    if cells < 4:
        return [text] if text else []
    return [(*_bar(view, step, cells, now, glyphs), *((("  ", ""), *text) if text else ()))]


def _left_s(view: RunView, now: float) -> float | None:
    """By the steps that are left, else by the input: as the queue said it last, less what has passed since."""
    if view.max_steps is not None or view.input is None or view.input.left_s is None:
        return view.eta_s(now)
    return max(0.0, view.input.left_s - max(0.0, now - view.last_at)) if view.steps_per_s(now) else None


def _joined(words: Sequence[Span], glyphs: Glyphs) -> Line:
    spans: list[Span] = []
    for word in words:
        spans += [(glyphs.dot, "dim"), word] if spans else [word]
    return tuple(spans)


def _part(view: RunView, step: int | None) -> float | None:
    """How much is done, from 0 to 1: of the steps, else of the input; None where there is no end."""
    if view.max_steps and step is not None:
        return step / view.max_steps
    return view.input.progress if view.input is not None else None


def _bar(view: RunView, step: int | None, cells: int, now: float, glyphs: Glyphs) -> Line:
    part = _part(view, step)
    if part is not None:
        halves = min(2 * cells, int(2 * cells * part))
        done = glyphs.full * (halves // 2) + glyphs.half * (halves % 2)
        style = OUTCOME_STYLES[view.outcome] if view.outcome else "green"
        return ((done, style), (glyphs.track * (cells - len(done)), "dim"))
    if view.ended:
        return ((glyphs.track * cells, "dim"),)
    piece = max(1, cells // 5)
    at = int(view.elapsed_s(now) * 8) % (cells + piece) - piece  # runs through from left to right
    start, end = max(0, at), min(cells, at + piece)
    return (
        (glyphs.track * start, "dim"),
        (glyphs.full * (end - start), "cyan"),
        (glyphs.track * (cells - end), "dim"),
    )


# --- notices and footer ------------------------------------------------------------------------------------------


def _notices(view: RunView, width: int, rows: int, zone: tzinfo | None, glyphs: Glyphs) -> list[Line]:
    """The newest of what happened, oldest first; errors and warnings push plain news out."""
    told = [(kept, *said) for kept in list(view.news)[-100:] if (said := tell(kept.event)) is not None]
    loud = [each for each in told if each[2]]
    quiet = [each for each in told if not each[2]]
    chosen = loud[-rows:] if rows > 0 else []
    if (left := rows - len(chosen)) > 0:
        chosen += quiet[-left:]
    return [
        _notice(kept.at, text, style, width, zone, glyphs)
        for kept, text, style in sorted(chosen, key=lambda each: each[0].at)
    ]


def _notice(at: float, text: str, style: str, width: int, zone: tzinfo | None, glyphs: Glyphs) -> Line:
    head: list[Span] = [(glyphs.bar + " ", style or "dim"), (f"{datetime.fromtimestamp(at, zone):%H:%M:%S} ", "dim")]
    words = one_line(text)
    return (*head, (crop(words, max(0, width - line_width(head)), glyphs.mark), style))


def _footer(view: RunView, width: int, looks: Looks) -> Line:
    glyphs = looks.glyphs
    if view.ended:
        return ((crop("ended", width, glyphs.mark), "dim"),)
    left: Line = LEAVING_FOOTER if view.only_watched else STOPPING_FOOTER if view.stop is not None else FOOTER
    left += (("   ?", "bold"), (" keys", "dim")) if looks.has_keys else ()
    run = ((one_line(view.run), "dim"),) if width_of(view.run) < width // 2 else ()
    return spread(left, run, width, glyphs.mark)
