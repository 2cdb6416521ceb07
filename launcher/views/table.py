"""The task table of the live view: which tasks get a row, what stands in it, and which columns fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from launcher.record.states import TaskState
from launcher.record.task_view import TaskView, total
from launcher.views.spans import Glyphs, Line, Span, count, crop, memory, pad, width_of
from launcher.wire.roles import ROLES, Role, TaskId
from launcher.wire.text import one_line

GAP = "  "
MIN_TEXT_CELLS = 14
STATE_STYLES: Mapping[TaskState, str] = {
    TaskState.WAITING: "dim",
    TaskState.STARTING: "yellow",
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
}
_STATE_WORDS = {TaskState.BACKOFF: "restarting"}
_STATES = tuple(TaskState)
# What TensorFlow and its loggers put before the message.
_NOISE = re.compile(
    r"^(?:(?:INFO|WARNING|ERROR|DEBUG|FATAL):tensorflow:|[IWEF]\d{4} [\d:.]+\s+\d+ [\w./-]+:\d+\] "
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] \S+:\d+\] "
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [A-Z]+ (?:\w+:\d+ )?\S+:\d+\] )+"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a task, or a role's quiet tasks together."""

    tasks: tuple[TaskView, ...]
    text: str = ""
    text_style: str = "dim"

    @property
    def single(self) -> TaskView | None:
        return self.tasks[0] if len(self.tasks) == 1 else None


@dataclass(frozen=True, slots=True)
class Column:
    """``cells``: at least; it grows with its values. ``importance``: the lower, the longer it stays when the terminal
    is narrow."""

    title: str
    cells: int
    importance: int
    value: Callable[[Row, float], str]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A column that is shown: its width, and one value for each row."""

    column: Column
    cells: int
    values: tuple[str, ...]


def severity(task: TaskView) -> int:
    """0 for what needs attention most: failed, about to be restarted, restarted and not yet back; 3 for the rest."""
    if task.state is TaskState.FAILED:
        return 0
    if task.state is TaskState.BACKOFF:
        return 1
    return 2 if task.restarts and task.state in (TaskState.STARTING, TaskState.READY) and task.problem else 3


def arrange(tasks: Sequence[TaskView], rows: int, text_of: Callable[[TaskId], str]) -> list[Row]:
    """At most ``rows`` rows (at least one a role): what needs attention first, then by role; roles with the most
    quiet tasks are folded into one row where there is no room."""
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
    made = [_single(task, text_of) for task in shown]
    for role in ROLES:
        if role in folded:
            made.append(_fold(quiet[role]))
        else:
            made += [_single(task, text_of) for task in quiet[role]]
    return made


def _single(task: TaskView, text_of: Callable[[TaskId], str]) -> Row:
    if severity(task) < 3 and task.problem:
        return Row((task,), task.problem, "red")
    return Row((task,), _NOISE.sub("", text_of(task.task)).strip())


def _fold(tasks: Sequence[TaskView]) -> Row:
    steps = [task.global_step for task in tasks if task.global_step is not None]
    words = []
    if steps and count(min(steps)) != count(max(steps)):
        words.append(f"steps {count(min(steps))} to {count(max(steps))}")
    states = Counter(task.state for task in tasks)
    if len(states) > 1:
        words.insert(0, ", ".join(f"{n} {_word(state)}" for state, n in states.most_common()))
    if restarts := sum(task.restarts for task in tasks):
        words.append(f"{restarts} restart{'s' if restarts > 1 else ''}")
    return Row(tuple(tasks), ", ".join(words))


def _word(state: TaskState) -> str:
    return _STATE_WORDS.get(state, state.value)


# --- columns -----------------------------------------------------------------------------------------------------


def _added(row: Row, values: Callable[[TaskView], float | None]) -> float | None:
    known = [value for value in map(values, row.tasks) if value is not None]
    return sum(known) if known else None


def _cpu(row: Row, now: float) -> str:
    share = _added(row, lambda task: task.cpu)
    return "" if share is None else f"{share * 100:.0f}%"


def _memory(row: Row, now: float) -> str:
    return memory(_added(row, lambda task: task.rss_mib))


def _step(row: Row, now: float) -> str:
    steps = [task.global_step for task in row.tasks if task.global_step is not None]
    return f"{max(steps):,}" if steps and max(steps) < 1e9 else count(max(steps)) if steps else ""


def _step_rate(row: Row, now: float) -> str:
    return count(_added(row, lambda task: None if task.state.final else task.step_rate.per_s(now)))


def _example_rate(row: Row, now: float) -> str:
    return count(_added(row, lambda task: None if task.state.final else task.example_rate.per_s(now)))


def _examples(row: Row, now: float) -> str:
    return count(total(task.examples for task in row.tasks))


def _pid(row: Row, now: float) -> str:
    return str(row.single.pid or "") if row.single else ""


def _waiting(row: Row, now: float) -> str:
    """The share of the time that trainers wait for input: the one that waits most."""
    shares = [task.waiting for task in row.tasks if task.waiting is not None and task.state is TaskState.TRAINING]
    return f"{max(shares):.0%}" if shares else ""


def _restarts(row: Row, now: float) -> str:
    return str(sum(task.restarts for task in row.tasks) or "")


def _host(row: Row, now: float) -> str:
    hosts = {task.host for task in row.tasks}
    return one_line(hosts.pop()) if len(hosts) == 1 else f"{len(hosts)} hosts"


_TEXT = Column("last line", MIN_TEXT_CELLS, 3, lambda row, now: row.text)
_COLUMNS = (
    Column("host", 8, 6, _host),
    Column("pid", 5, 7, _pid),
    Column("cpu", 4, 4, _cpu),
    Column("memory", 6, 5, _memory),
    Column("step", 7, 1, _step),
    Column("steps/s", 7, 2, _step_rate),
    Column("ex/s", 5, 5, _example_rate),
    Column("wait", 4, 6, _waiting),
    Column("examples", 8, 9, _examples),
    Column("restarts", 8, 8, _restarts),
    _TEXT,
)


def choose_columns(rows: Sequence[Row], width: int, now: float) -> list[Chosen]:
    """The columns that fit beside name and state, in their order; those without any value are left out."""
    chosen: list[Chosen] = []
    several_hosts = len({task.host for row in rows for task in row.tasks}) > 1
    for column in sorted(_COLUMNS, key=lambda each: each.importance):
        values = tuple(column.value(row, now) for row in rows)
        if not any(values) or (column.value is _host and not several_hosts):
            continue
        cells = column.cells if column is _TEXT else min(20, max(column.cells, *map(width_of, values)))
        used = sum(each.cells + len(GAP) for each in chosen)
        slack = 0 if column.importance <= _TEXT.importance else 10  # the text gets some air before the details
        if used + len(GAP) + cells + slack > width:
            break
        chosen.append(Chosen(column, cells, values))
    return sorted(chosen, key=lambda each: _COLUMNS.index(each.column))


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
        header += GAP + pad(each.column.title, each.cells, "", right=each.column is not _TEXT)
    lines: list[Line] = [((crop(header, width, "").rstrip(), "dim"),)]
    for number, (row, name, state) in enumerate(zip(rows, names, states, strict=True)):
        style = STATE_STYLES[_main_state(row)]
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
        if each.column is _TEXT:
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
    states = Counter(task.state for task in row.tasks)
    word = _word(_main_state(row))
    if row.single and row.single.state is TaskState.STARTING and row.single.restarts:
        return f"{word} #{row.single.restarts + 1}"
    return word if len(states) == 1 else f"{word} {states[_main_state(row)]}/{len(row.tasks)}"
