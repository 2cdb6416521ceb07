"""One picture of a run for a terminal of a given size. Pure: a view, a time and a size in, lines out.

Every line is at most ``width`` cells wide and there are at most ``height`` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from launcher.record import events as ev
from launcher.record.report import SHAPES, shape_of
from launcher.record.states import Phase, StopHow
from launcher.record.view import RunView
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
    number,
    sparkline,
    spread,
    width_of,
)
from launcher.views.summary import OUTCOME_STYLES
from launcher.views.table import arrange, severity, table_lines
from launcher.views.telling import tell
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
FOOTER = (("Ctrl-C", "bold"), (" save, evaluate and end", "dim"), ("   twice ", "bold"), (" stop now", "dim"))
LEAVING_FOOTER = (("Ctrl-C", "bold"), (" leave, the run goes on", "dim"))
STOPPING_FOOTER = (("Ctrl-C", "bold"), (" stop now, without waiting", "dim"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    width: int
    height: int


def frame(
    view: RunView,
    size: Size,
    now: float,
    *,
    text_of: Callable[[TaskId], str] = lambda task: "",
    glyphs: Glyphs = UNICODE,
    zone: tzinfo | None = None,
) -> list[Line]:
    """The picture. ``now``: seconds since the epoch; ``text_of``: what a task printed last; ``zone`` of the times."""
    width, height = max(1, size.width), max(1, size.height)
    airy = height >= 20
    top = [_header(view, width, now, glyphs), *_progress(view, width, now, glyphs)]
    bottom = [_footer(view, width, glyphs)]
    numbers = _numbers(view, width, glyphs)
    tasks = view.ordered()
    roles = len({task.task.role for task in tasks})
    gaps = 4 if airy else 0
    room = height - len(top) - len(bottom) - len(numbers) - gaps - 1
    wanted = max(roles, min(len(tasks), sum(severity(task) < 3 for task in tasks) + roles))
    notices = _notices(view, width, max(0, min(8, room - wanted - 1)), zone, glyphs)
    rows = arrange(tasks, max(1, room - len(notices)), text_of)
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


def _header(view: RunView, width: int, now: float, glyphs: Glyphs) -> Line:
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
    return spread(left, right, width, glyphs.mark)


def _hosts(names: Sequence[str]) -> str:
    return one_line(names[0]) if len(names) == 1 else f"{len(names)} hosts"


def _doing(view: RunView) -> str:
    """What the run as a whole waits for, in a few words."""
    if view.stop is not None and view.phase is not Phase.ENDED:
        return "saving, then ending" if view.stop.how != StopHow.KILL else "stopping at once"
    if view.phase is not Phase.STARTING:
        return one_line(view.phase_reason)
    loading = [preload for preload in view.preloads.values() if preload.state == "starting"]
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
        if (eta := view.eta_s(now)) is not None:
            words.append((f"{duration(eta)} left", ""))
    text = _joined(words, glyphs)
    while line_width(text) > width - 12 and len(words) > 1:
        words.pop(1 if len(words) > 3 else len(words) - 1)
        text = _joined(words, glyphs)
    cells = min(60, width - line_width(text) - 2) if text else min(60, width)
    if cells < 4:
        return [text] if text else []
    return [(*_bar(view, step, cells, now, glyphs), *((("  ", ""), *text) if text else ()))]


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


# --- numbers -----------------------------------------------------------------------------------------------------


def _numbers(view: RunView, width: int, glyphs: Glyphs) -> list[Line]:
    return [
        line
        for line in (_loss(view, width, glyphs), _evaluation(view, width, glyphs), _input(view, width, glyphs))
        if line
    ]


def _loss(view: RunView, width: int, glyphs: Glyphs) -> Line:
    if view.loss.last is None:
        return ()
    line: list[Span] = [("loss  ", "dim"), (f"{number(view.loss.last):<8}", "bold")]
    cells = min(60, width - line_width(line) - (26 if view.checkpoint_count else 2))
    values = view.loss.values(cells)
    if cells >= 10 and len(values) >= 3:
        line.append((" " + sparkline(values, glyphs.ticks), "cyan"))
    if view.checkpoint_count:
        last = view.checkpoints[-1].event
        words = f"checkpoint at {last.global_step:,}" if isinstance(last, ev.CheckpointWritten) else ""
        line += [("  ", ""), (words, "dim")] if line_width(line) + len(words) + 2 <= width else []
    return tuple(line)


def _evaluation(view: RunView, width: int, glyphs: Glyphs) -> Line:
    """The newest metrics, and how many evaluations there were; names that do not fit are left out."""
    done = view.evaluation
    if done is None:
        return ()
    line: list[Span] = [("eval  ", "dim"), (f"step {done.global_step:,}", "")]
    before = view.evaluations[-2].event if len(view.evaluations) > 1 else None
    former = before.metrics if isinstance(before, ev.EvaluationDone) else {}
    for name, value in done.metrics.items():
        if name == "global_step":
            continue
        more: list[Span] = [(glyphs.dot, "dim"), (f"{one_line(name)} ", "magenta"), (number(value), "bold")]
        was = former.get(name)
        if value is not None and was is not None:
            more.append((f" {value - was:+.4f}", "dim"))
        if line_width(line) + line_width(more) > width:
            break
        line += more
    return tuple(line)


def _input(view: RunView, width: int, glyphs: Glyphs) -> Line:
    """How the shared input stands; what does not fit is left out."""
    known = view.input
    if known is None:
        return ()
    line: list[Span] = [("input ", "dim")]
    for number_of, words in enumerate(_input_words(known)):
        more: list[Span] = [*([(glyphs.dot, "dim")] if number_of else []), words]
        if line_width(line) + line_width(more) > width:
            break
        line += more
    return tuple(line)


def _input_words(known: ev.InputCounted) -> list[Span]:
    words: list[Span] = []
    if known.epoch is not None:
        words.append((f"epoch {known.epoch}" + (f"/{known.epochs}" if known.epochs else ""), ""))
    if known.progress is not None:
        words.append((f"{known.progress:.0%}", "cyan"))
    if known.left_s is not None and known.progress != 1:
        words.append((f"{duration(known.left_s)} left", ""))
    if known.lag_s is not None:
        words.append((f"{duration(known.lag_s)} behind", "cyan"))
    words.append((f"{known.pending:,} shards waiting, {known.held:,} being read", "dim"))
    if known.reread:
        words.append((f"{known.reread:,} begun again, {known.duplicates:,} duplicates", "yellow"))
    if known.skipped:
        words.append((f"{known.skipped:,} records skipped", "yellow"))
    return words


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


def _footer(view: RunView, width: int, glyphs: Glyphs) -> Line:
    if view.ended:
        return ((crop("ended", width, glyphs.mark), "dim"),)
    left = LEAVING_FOOTER if view.only_watched else STOPPING_FOOTER if view.stop is not None else FOOTER
    run = ((one_line(view.run), "dim"),) if width_of(view.run) < width // 2 else ()
    return spread(left, run, width, glyphs.mark)
