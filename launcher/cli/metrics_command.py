"""``tflaunch metrics``: how tasks progressed and what they used, over the time of a run."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli import looking
from launcher.record.events import Progressed, Recorded, UsageSampled
from launcher.record.reading import everything
from launcher.views.spans import count, memory, number
from launcher.views.terminal import put_drawn, say_text
from launcher.wire.roles import TaskId

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN_ROWS = 20
_COLUMNS = ("time", "attempt", "step", "steps/s", "examples/s", "loss", "waits", "cpu", "memory")
_CSV_COLUMNS = (
    "at", "task", "attempt", "global_step", "local_steps", "examples", "loss", "input_wait", "cpu", "rss_mib",
)  # fmt: skip


@dataclass(slots=True)
class Row:
    """A task at one moment; counts are those of its attempt."""

    at: datetime
    task: str
    attempt: int | None = None
    global_step: int | None = None
    local_steps: int | None = None
    examples: int | None = None
    loss: float | None = None
    input_wait: float | None = None
    cpu: float | None = None
    rss_mib: float | None = None


def metrics(runs_dir: Path, run: str | None, task: str | None, *, as_csv: bool) -> int:
    """Prints what was sampled: of each task a few rows, or all of them as CSV."""
    folder = looking.find(runs_dir, run)
    only = looking.task_of(folder, task).name if task else None
    by_task = rows_of(everything(folder), only)
    if as_csv:
        say_text(_csv(by_task))
    elif by_task:
        put_drawn(_text(by_task), sys.stdout)
    else:
        say_text(f"{folder.run}: nothing was sampled of {only or 'any task'}\n")
    return 0


def rows_of(recorded: Iterator[Recorded], only: str | None = None) -> dict[str, list[Row]]:
    """The rows of each task, in the order of time, from samples, or from the events of a run of before."""
    found: dict[str, list[Row]] = {}
    for item in recorded:
        event = item.event
        if isinstance(event, Progressed) and only in (None, event.task):
            _progress(found.setdefault(event.task, []), item, event)
        elif isinstance(event, UsageSampled):
            for name in event.cpu.keys() & ({only} if only else event.cpu.keys()):
                _usage(found.setdefault(name, []), item, event, name)
    return dict(sorted(found.items(), key=lambda each: TaskId.parse(each[0])))


def _progress(rows: list[Row], item: Recorded, event: Progressed) -> None:
    before = rows[-1] if rows else None
    if before and item.n and (before.attempt, before.local_steps) == (event.attempt, event.local_steps):
        return  # a fact that repeats what was sampled
    names = ("attempt", "global_step", "local_steps", "examples", "loss", "input_wait")
    rows.append(Row(item.at, event.task, **{name: getattr(event, name) for name in names}))


def _usage(rows: list[Row], item: Recorded, event: UsageSampled, name: str) -> None:
    if not rows or rows[-1].local_steps is None:
        rows.append(Row(item.at, name))
    rows[-1].cpu, rows[-1].rss_mib = event.cpu[name], event.rss_mib.get(name)


def _csv(by_task: dict[str, list[Row]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for rows in by_task.values():
        for row in rows:
            at = row.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            writer.writerow([at, *(getattr(row, name) for name in _CSV_COLUMNS[1:])])
    return buffer.getvalue()


def _text(by_task: dict[str, list[Row]]) -> str:
    from launcher.views import inspect_text

    return inspect_text.text(_draw, by_task, out=sys.stdout)


def _draw(console: Console, by_task: dict[str, list[Row]]) -> None:
    from launcher.views.inspect_text import table

    for name, rows in by_task.items():
        shown = _few(rows)
        cells = [_cells(row, before) for row, before in zip(shown, [None, *shown], strict=False)]
        used = [column for column in range(len(_COLUMNS)) if any(line[column] for line in cells)]
        titles = [_COLUMNS[column] for column in used]
        table(console, name, titles, [[line[column] for column in used] for line in cells])


def _few(rows: Sequence[Row]) -> list[Row]:
    """At most ``_SHOWN_ROWS`` of them, evenly, with the last one."""
    shown = min(len(rows), _SHOWN_ROWS)
    return [rows[(number_of + 1) * len(rows) // shown - 1] for number_of in range(shown)]


def _cells(row: Row, before: Row | None) -> tuple[str, ...]:
    return (
        f"{row.at.astimezone():%m-%d %H:%M:%S}",
        str(row.attempt or ""),
        f"{row.global_step:,}" if row.global_step is not None else "",
        _rate(row, before, "local_steps"),
        _rate(row, before, "examples"),
        number(row.loss) if row.loss is not None else "",
        f"{row.input_wait:.0%}" if row.input_wait is not None else "",
        f"{row.cpu:.0%}" if row.cpu is not None else "",
        memory(row.rss_mib),
    )


def _rate(row: Row, before: Row | None, name: str) -> str:
    now, then = getattr(row, name), getattr(before, name, None)
    seconds = (row.at - before.at).total_seconds() if before is not None else 0.0
    if before is None or before.attempt != row.attempt or now is None or then is None or seconds <= 0:
        return ""
    return count((now - then) / seconds)
