"""The columns of the live view's table: what stands in each row, and which of them fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launcher.record.states import TaskState
from launcher.record.task_view import TaskView, total
from launcher.views.spans import count, memory, width_of
from launcher.wire.text import one_line

GAP = "  "
MIN_TEXT_CELLS = 14


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a task, or a role's quiet tasks together. ``heard``: those whose hosts are not silent; ``word``: what is
    said instead of its state; ``complaints``: warnings and errors that they wrote."""

    tasks: tuple[TaskView, ...]
    text: str = ""
    text_style: str = "dim"
    heard: tuple[TaskView, ...] = ()
    word: str = ""
    complaints: tuple[int, int] = (0, 0)

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


def _added(row: Row, values: Callable[[TaskView], float | None]) -> float | None:
    known = [value for value in map(values, row.heard) if value is not None]
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
    return count(_added(row, lambda task: None if task.pid is None else task.step_rate.per_s(now)))


def _example_rate(row: Row, now: float) -> str:
    return count(_added(row, lambda task: None if task.pid is None else task.example_rate.per_s(now)))


def _examples(row: Row, now: float) -> str:
    return count(total(task.examples for task in row.tasks))


def _pid(row: Row, now: float) -> str:
    return str(row.single.pid or "") if row.single else ""


def _waiting(row: Row, now: float) -> str:
    """The share of the time that trainers wait for input: the one that waits most."""
    shares = [task.waiting for task in row.heard if task.waiting is not None and task.state is TaskState.TRAINING]
    return f"{max(shares):.0%}" if shares else ""


def _restarts(row: Row, now: float) -> str:
    return str(sum(task.restarts for task in row.tasks) or "")


def _host(row: Row, now: float) -> str:
    hosts = {task.host for task in row.tasks}
    return one_line(hosts.pop()) if len(hosts) == 1 else f"{len(hosts)} hosts"


def _complaints(row: Row, now: float) -> str:
    """``3w 1e``: warnings and errors."""
    warnings, errors = row.complaints
    return " ".join(f"{count(number)}{letter}" for number, letter in ((warnings, "w"), (errors, "e")) if number)


TEXT = Column("", MIN_TEXT_CELLS, 3, lambda row, now: row.text)
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
    Column("logged", 6, 3, _complaints),
    TEXT,
)


def choose_columns(rows: Sequence[Row], width: int, now: float) -> list[Chosen]:
    """The columns that fit beside name and state, in their order; those without any value are left out."""
    chosen: list[Chosen] = []
    several_hosts = len({task.host for row in rows for task in row.tasks}) > 1
    for column in sorted(_COLUMNS, key=lambda each: each.importance):
        values = tuple(column.value(row, now) for row in rows)
        if not any(values) or (column.value is _host and not several_hosts):
            continue
        cells = column.cells if column is TEXT else min(20, max(column.cells, *map(width_of, values)))
        used = sum(each.cells + len(GAP) for each in chosen)
        slack = 0 if column.importance <= TEXT.importance else 10  # the text gets some air before the details
        if used + len(GAP) + cells + slack > width:
            break
        chosen.append(Chosen(column, cells, values))
    return sorted(chosen, key=lambda each: _COLUMNS.index(each.column))
