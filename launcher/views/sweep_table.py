"""The trials of a sweep as a table, the best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.views.spans import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

_STYLES = {"succeeded": "green", "running": "cyan", "waiting": "bright_black", "interrupted": "yellow"}
_SMALLER_IS_BETTER = ("loss", "error", "rmse", "mse", "mae")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial. ``problem``: why it failed; ``duration_s``: None before its end."""

    number: int
    values: Mapping[str, str]
    state: str
    global_step: int | None
    metrics: Mapping[str, float]
    duration_s: float | None
    problem: str


def order(rows: Sequence[Row], metric: str) -> list[Row]:
    """The rows, those with the best ``metric`` first, those without one last. Of a loss or an error the smallest is
    best, and of what has a minus before it."""
    name, minus = metric.lstrip("-"), metric.startswith("-")
    sign = 1.0 if minus or any(word in name for word in _SMALLER_IS_BETTER) else -1.0

    def key(row: Row) -> tuple[bool, float, int]:
        value = row.metrics.get(name, math.nan)
        return (not math.isfinite(value), sign * value if math.isfinite(value) else 0.0, row.number)

    return sorted(rows, key=key)


def table(rows: Sequence[Row], metric: str) -> Table:
    """What is shown, live and at the end."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = [metric.lstrip("-"), *sorted({name for row in rows for name in row.metrics} - {metric.lstrip("-")})][:4]
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    names = list(rows[0].values) if rows else []
    for name in ("#", *names, "state", "steps", *shown, "took", ""):
        made.add_column(name, justify="left" if name in ("state", "", *names) else "right", overflow="fold")
    for row in order(rows, metric):
        made.add_row(
            str(row.number),
            *(Text(value) for value in row.values.values()),
            Text(row.state.replace("_", " "), style=_STYLES.get(row.state, "red")),
            "" if row.global_step is None else f"{row.global_step:,}",
            *(f"{row.metrics[name]:.5g}" if name in row.metrics else "" for name in shown),
            "" if row.duration_s is None else duration(row.duration_s),
            Text(row.problem, style="red"),
        )
    return made
