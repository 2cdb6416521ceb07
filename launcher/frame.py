"""One picture of a run for a terminal of a given size. Pure: a view, a time and a size in, lines out.

Every line is at most ``width`` cells wide and there are at most ``height`` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from launcher import events as ev
from launcher.model import ROLES, Phase, TaskId
from launcher.report import OUTCOME_STYLES
from launcher.spans import (
    UNICODE,
    Glyphs,
    Line,
    Span,
    count,
    crop,
    duration,
    fit,
    harmless,
    line_width,
    number,
    sparkline,
    spread,
    width_of,
)
from launcher.table import arrange, severity, table_lines
from launcher.view import At, RunView

PHASE_STYLES = {
    Phase.STARTING: "bold yellow",
    Phase.TRAINING: "bold green",
    Phase.DRAINING: "bold magenta",
    Phase.STOPPING: "bold yellow",
    Phase.ENDED: "bold",
}
SEVERITY_STYLES = {"error": "red", "warning": "yellow", "info": "dim"}
FOOTER = (("Ctrl-C", "bold"), (" save, evaluate and end", "dim"), ("   twice ", "bold"), (" stop now", "dim"))
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
    gaps = 3 if airy else 0
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
    """The blocks below each other, with an empty line before table, notices and footer if there is room."""
    lines: list[Line] = []
    for number_of_block, block in enumerate(blocks):
        if airy and block and number_of_block in (1, 2, 4):
            lines.append(())
        lines += block
    return lines


# --- header and progress -----------------------------------------------------------------------------------------


def _header(view: RunView, width: int, now: float, glyphs: Glyphs) -> Line:
    outcome = view.outcome
    phase: Span = (view.phase.value, PHASE_STYLES[view.phase])
    if outcome is not None:
        phase = (outcome.value.replace("_", " "), OUTCOME_STYLES[outcome])
    left: list[Span] = [(harmless(view.name) or "tflaunch", "bold"), (glyphs.dot, "dim"), phase]
    left += [(glyphs.dot, "dim"), (duration(view.elapsed_s(now)), "")]
    note = _doing(view)
    if note:
        left += [(glyphs.dot, "dim"), (note, "dim")]
    hosts = [host for host in view.hosts.values() if host.name]
    away = [host.name for host in hosts if host.state == "lost"]
    right: list[Span] = [(f"{len(view.tasks)} tasks on ", "dim"), (_hosts([host.name for host in hosts]), "dim")]
    if away:
        right = [(f"{_hosts(away)} out of reach", "bold red")]
    return spread(left, right, width, glyphs.mark)


def _hosts(names: Sequence[str]) -> str:
    return harmless(names[0]) if len(names) == 1 else f"{len(names)} hosts"


def _doing(view: RunView) -> str:
    """What the run as a whole waits for, in a few words."""
    if view.stop is not None and view.phase is not Phase.ENDED:
        return "saving, then ending" if view.stop.how != "kill" else "stopping at once"
    if view.phase is not Phase.STARTING:
        return harmless(view.phase_reason)
    loading = [preload for preload in view.preloads.values() if preload.state == "starting"]
    if loading:
        return "importing modules once" + (f" on {len(loading)} hosts" if len(loading) > 1 else "")
    return harmless(view.phase_reason)


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


def _bar(view: RunView, step: int | None, cells: int, now: float, glyphs: Glyphs) -> Line:
    if view.max_steps and step is not None:
        halves = min(2 * cells, int(2 * cells * step / view.max_steps))
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
    return [line for line in (_loss(view, width, glyphs), _evaluation(view, width, glyphs)) if line]


def _loss(view: RunView, width: int, glyphs: Glyphs) -> Line:
    if view.loss.last is None:
        return ()
    line: list[Span] = [("loss  ", "dim"), (f"{number(view.loss.last):<8}", "bold")]
    cells = min(60, width - line_width(line) - 2)
    values = view.loss.values(cells)
    if cells >= 10 and len(values) >= 3:
        line.append((" " + sparkline(values, glyphs.ticks), "cyan"))
    if view.checkpoint_count:
        last = view.checkpoints[-1].event
        at = f" at {last.global_step:,}" if isinstance(last, ev.CheckpointWritten) else ""
        words = f"{view.checkpoint_count} checkpoint{'s' if view.checkpoint_count > 1 else ''}, last{at}"
        return spread(line, ((words, "dim"),), width, glyphs.mark)
    return tuple(line)


def _evaluation(view: RunView, width: int, glyphs: Glyphs) -> Line:
    """The newest metrics, and how many evaluations there were; names that do not fit are left out."""
    done = view.evaluation
    if done is None:
        return ()
    line: list[Span] = [("eval  ", "dim"), (f"step {done.global_step:,}", "")]
    for name, value in done.metrics.items():
        if name == "global_step":
            continue
        more: list[Span] = [(glyphs.dot, "dim"), (f"{harmless(name)} ", "magenta"), (number(value), "bold")]
        if line_width(line) + line_width(more) > width:
            break
        line += more
    return tuple(line)


# --- notices and footer ------------------------------------------------------------------------------------------


def _notices(view: RunView, width: int, rows: int, zone: tzinfo | None, glyphs: Glyphs) -> list[Line]:
    """The newest notices, oldest first; errors and warnings push plain news out."""
    if rows <= 0 or not view.notices:
        return []
    kept = list(view.notices)
    troubles = [each for each in kept if isinstance(each.event, ev.Noticed) and each.event.severity != "info"]
    news = [each for each in kept if each not in troubles] if len(troubles) < rows else []
    chosen = sorted(troubles[-rows:] + (news[len(troubles) - rows :] if news else []), key=lambda each: each.at)
    return [_notice(each, width, zone, glyphs) for each in chosen]


def _notice(kept: At, width: int, zone: tzinfo | None, glyphs: Glyphs) -> Line:
    event = kept.event
    assert isinstance(event, ev.Noticed)
    style = SEVERITY_STYLES.get(event.severity, "")
    clock = f"{datetime.fromtimestamp(kept.at, zone):%H:%M:%S}"
    head: list[Span] = [(glyphs.bar + " ", style), (clock + " ", "dim")]
    if event.task:
        head.append((f"{event.task} ", "bold"))
    text = harmless(event.message).replace("\n", " ").replace("\t", " ")
    return (*head, (crop(text, max(0, width - line_width(head)), glyphs.mark), style if style == "red" else ""))


def _footer(view: RunView, width: int, glyphs: Glyphs) -> Line:
    if view.ended:
        return ((crop("ended", width, glyphs.mark), "dim"),)
    left = STOPPING_FOOTER if view.stop is not None else FOOTER
    run = ((harmless(view.run), "dim"),) if width_of(view.run) < width // 2 else ()
    return spread(left, run, width, glyphs.mark)


def roles_of(view: RunView) -> str:
    """``1 chief, 2 workers``: how many tasks of each role there are."""
    counted = {role: sum(task.role is role for task in view.tasks) for role in ROLES}
    return ", ".join(
        f"{n} {role.value}{'s' if n > 1 and role.value != 'ps' else ''}" for role, n in counted.items() if n
    )
