"""The task table of the live view: which tasks get a row, what stands in it, and which columns fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from launcher.record.states import TaskState
from launcher.record.task_view import TaskView
from launcher.views.live.columns import GAP, MIN_TEXT_CELLS, TEXT, Chosen, Row, choose_columns
from launcher.views.spans import Glyphs, Line, Span, count, crop, pad, width_of
from launcher.wire.roles import ROLES, Role, TaskId
from launcher.wire.text import one_line

STATE_STYLES: Mapping[TaskState, str] = {
    TaskState.WAITING: "dim",
    TaskState.STARTING: "yellow",
    TaskState.RUNNING: "cyan",
    TaskState.READY: "cyan",
    TaskState.TRAINING: "green",
    TaskState.EVALUATING: "magenta",
    TaskState.FINISHED: "green",
    TaskState.DRAINING: "magenta",
    TaskState.STOPPING: "yellow",
    TaskState.BACKOFF: "bold red",
    TaskState.SUCCEEDED: "bold green",
    TaskState.FAILED: "bold red",
    TaskState.STOPPED: "dim",
    TaskState.LEFT: "dim",
}
_STATE_WORDS = {TaskState.BACKOFF: "restarting"}
_STATES = tuple(TaskState)
# What TensorFlow and its loggers put before the message.
_NOISE = re.compile(
    r"^(?:(?:INFO|WARNING|ERROR|DEBUG|FATAL):tensorflow:|[IWEF]\d{4} [\d:.]+\s+\d+ [\w./-]+:\d+\] "
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] \S+:\d+\] "
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [A-Z]+ (?:\w+:\d+ )?\S+:\d+\] )+"
)


def severity(task: TaskView) -> int:
    """0 for what needs attention most: failed, about to be restarted, restarted and not yet back; 3 for the rest."""
    if task.state is TaskState.FAILED:
        return 0
    if task.state is TaskState.BACKOFF:
        return 1
    return 2 if task.restarts and task.state in (TaskState.STARTING, TaskState.READY) and task.problem else 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What a picture knows of tasks besides their views. ``text_of``: what each has written last, if that is wanted;
    ``complaints_of``: how many warnings and errors; ``silent``: hosts, and for how long;
    ``is_cut_off``: because nothing is heard of the whole run; ``evaluator``: what it does,
    as a word and in words."""

    text_of: Callable[[TaskId], str] = lambda task: ""
    complaints_of: Callable[[TaskId], tuple[int, int]] = lambda task: (0, 0)
    silent: Mapping[str, float] = field(default_factory=dict)
    is_cut_off: bool = False
    evaluator: tuple[str, str] = ("", "")


def arrange(tasks: Sequence[TaskView], rows: int, known: Known) -> list[Row]:
    """At most ``rows`` rows (at least one a role): what needs attention first, then by role; of the roles with the most
    quiet tasks those for which there is no room are folded into one row."""
    troubled = sorted((task for task in tasks if severity(task) < 3), key=lambda task: (severity(task), task.task))
    by_role = {role: [task for task in tasks if task.task.role is role] for role in ROLES}
    shown = troubled[: max(0, rows - sum(map(bool, by_role.values())))]
    names = {task.task for task in shown}
    quiet = {role: [task for task in by_role[role] if task.task not in names] for role in ROLES}
    folded: set[Role] = set()
    while len(shown) + sum(1 if role in folded else len(quiet[role]) for role in ROLES) > rows:
        largest = max((role for role in ROLES if role not in folded), key=lambda role: len(quiet[role]), default=None)
        if largest is None or len(quiet[largest]) < 2:
            break
        folded.add(largest)
    made = [_single(task, known) for task in shown]
    left = rows - len(shown) - sum(1 if role in folded else len(quiet[role]) for role in ROLES)
    for role in ROLES:
        single = len(quiet[role])
        if role in folded:  # of those as many as there is room for, if more than one is left to be folded
            single = max(0, min(left, single - 2))
            left -= single
        made += [_single(task, known) for task in quiet[role][:single]]
        if rest := quiet[role][single:]:
            made.append(_fold(rest, known))
    return made


def _single(task: TaskView, known: Known) -> Row:
    complaints = known.complaints_of(task.task)
    silent_s = None if task.state.final else known.silent.get(task.host)
    if severity(task) < 3 and task.problem:
        return Row((task,), task.problem, "red", heard=(task,), complaints=complaints)
    if silent_s is not None:
        who = "not heard" if known.is_cut_off else "its host is silent"
        return Row((task,), f"{who} for {silent_s:.0f} s", "yellow", complaints=complaints)
    text, word = _NOISE.sub("", known.text_of(task.task)).strip(), ""
    if task.task.role is Role.EVALUATOR and not task.state.final:
        word, words = known.evaluator
        text = text or words
    return Row((task,), text, heard=(task,), word=word, complaints=complaints)


def _fold(tasks: Sequence[TaskView], known: Known) -> Row:
    steps = [task.global_step for task in tasks if task.global_step is not None]
    words = []
    if steps and count(min(steps)) != count(max(steps)):
        words.append(f"steps {count(min(steps))} to {count(max(steps))}")
    states = Counter(task.state for task in tasks)
    if len(states) > 1:
        words.insert(0, ", ".join(f"{n} {_word(state)}" for state, n in states.most_common()))
    if restarts := sum(task.restarts for task in tasks):
        words.append(f"{restarts} restart{'s' if restarts > 1 else ''}")
    heard = tuple(task for task in tasks if task.state.final or task.host not in known.silent)
    if quiet := len(tasks) - len(heard):
        words.insert(0, f"{quiet} on silent hosts")
    each = [known.complaints_of(task.task) for task in tasks]
    complaints = sum(warnings for warnings, _ in each), sum(errors for _, errors in each)
    return Row(tuple(tasks), ", ".join(words), "yellow" if quiet else "dim", heard=heard, complaints=complaints)


def _word(state: TaskState) -> str:
    return _STATE_WORDS.get(state, state.value)


# --- lines -------------------------------------------------------------------------------------------------------


def table_lines(rows: Sequence[Row], width: int, now: float, glyphs: Glyphs) -> list[Line]:
    """Header and rows, each at most ``width`` cells."""
    names = [_name(row, glyphs) for row in rows]
    states = [_state(row) for row in rows]
    name_cells = min(max([4, *map(width_of, names)]), max(4, width // 3))
    state_cells = min(max([5, *map(len, states)]), max(5, width // 3))
    used = 2 + name_cells + len(GAP) + state_cells
    columns = choose_columns(rows, width - used, now)
    text_cells = width - used - sum(each.cells + len(GAP) for each in columns) + MIN_TEXT_CELLS
    header = "  " + pad("task", name_cells) + GAP + pad("state", state_cells)
    for each in columns:
        header += GAP + pad(each.column.title, each.cells, "", right=each.column is not TEXT)
    lines: list[Line] = [((crop(header, width, "").rstrip(), "dim"),)]
    for number, (row, name, state) in enumerate(zip(rows, names, states, strict=True)):
        style = STATE_STYLES[_main_state(row)] if row.heard else row.text_style  # a silent one's state is an old one
        symbol = glyphs.states[_STATES.index(_main_state(row))]
        cells: list[Span] = [
            (f"{symbol} ", style),
            (pad(name, name_cells, glyphs.mark) + GAP, "bold" if row.text_style == "red" else ""),
            (pad(state, state_cells, glyphs.mark), style),
        ]
        lines.append((*cells, *_values(row, number, columns, text_cells, glyphs)))
    return lines


def _values(row: Row, number: int, columns: Sequence[Chosen], text_cells: int, glyphs: Glyphs) -> list[Span]:
    spans = []
    for each in columns:
        if each.column is TEXT:
            text = one_line(row.text)
            spans.append((GAP + crop(text, text_cells, glyphs.mark), row.text_style))
        else:
            spans.append((GAP + pad(each.values[number], each.cells, glyphs.mark, right=True), ""))
    return spans


def _name(row: Row, glyphs: Glyphs) -> str:
    task = row.tasks[0].task
    return task.name if row.single else f"{task.role.value} {glyphs.times}{len(row.tasks)}"


def _main_state(row: Row) -> TaskState:
    """The state that most of the row's tasks are in."""
    return Counter(task.state for task in row.tasks).most_common(1)[0][0]


def _state(row: Row) -> str:
    if row.word:
        return row.word
    states = Counter(task.state for task in row.tasks)
    word = _word(_main_state(row))
    if row.single and row.single.state is TaskState.STARTING and row.single.restarts:
        return f"{word} #{row.single.restarts + 1}"
    return word if len(states) == 1 else f"{word} {states[_main_state(row)]}/{len(row.tasks)}"
