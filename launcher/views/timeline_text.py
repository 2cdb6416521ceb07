"""What traced steps say, as tables for people."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from rich.console import Console

from launcher.timeline.comparison import Comparison
from launcher.timeline.verdict import COMPUTE, INPUT, OTHER, SERVERS, TaskVerdict, Verdict, uneven
from launcher.views.inspect_text import table
from launcher.wire.text import one_line

_KINDS = (COMPUTE, INPUT, SERVERS, OTHER)
_MOST_OPS = 12
_T = TypeVar("_T")


def judged(console: Console, verdict: Verdict) -> None:
    """Where the time of one run went, and the load of its parameter servers."""
    rows = [
        (
            item.task,
            str(item.samples),
            f"{item.untraced_ms:.2f}" if item.untraced_ms is not None else "",
            f"{item.step_ms:.2f}",
            *(f"{item.ms[kind] / item.step_ms:.0%}" if item.step_ms else "" for kind in _KINDS),
            item.words,
        )
        for item in verdict.tasks
    ]
    columns = ("task", "traced", "ms/step", "ms traced", *_KINDS, "verdict")
    table(console, "where the time of traced steps goes (tracing makes them longer)", columns, rows)
    for item in verdict.tasks:
        ops = [(f"{op.ms:.3f}", f"{op.count:.0f}", op.type) for op in item.ops]
        table(console, f"{item.task}, by operation", ("ms/step", "count", "type"), ops)
    hooks = [
        (item.task, f"{item.hooks_ms:.2f}", ", ".join(f"{name} {ms:.2f}" for name, ms in item.hooks))
        for item in verdict.tasks
        if item.hooks
    ]
    if hooks:
        table(console, "what Python's hooks take of a step that is not traced", ("task", "ms/step", "by hook"), hooks)
    servers = [
        (
            item.task,
            f"{item.share:.0%}",
            f"{item.busy_ms:.3f}",
            f"{item.ops:.0f}",
            _traffic(item.sends, item.bytes_out),
            _traffic(item.takes, item.bytes_in),
            _held(item.held),
        )
        for item in verdict.servers
    ]
    if servers:
        titles = ("task", "share", "ms/step", "ops/step", "sends per step", "takes per step", "holds")
        table(console, "load per parameter server, for one step of one trainer", titles, servers)
    if told := uneven(verdict.servers):
        console.print(one_line(told), markup=False, highlight=False)


def _traffic(count: float | None, size: float | None) -> str:
    return f"{count:.0f} tensors, {size / 1024:.1f} KiB" if count is not None and size is not None else ""


def compared(console: Console, found: Comparison) -> None:
    """Two runs side by side: first, then second."""
    tasks = [
        (
            name,
            _both(one, two, lambda item: "" if item.untraced_ms is None else f"{item.untraced_ms:.2f}"),
            _both(one, two, lambda item: f"{item.hooks_ms:.2f}" if item.hooks else ""),
            *(_both(one, two, partial(_part, kind)) for kind in _KINDS),
        )
        for name, one, two in found.tasks
    ]
    columns: tuple[str, ...] = ("task", "ms/step", "of it hooks", *(f"{kind}, ms traced" for kind in _KINDS))
    table(console, "steps of the first run -> of the second", columns, tasks)
    ops = [
        (
            item.where,
            item.type,
            f"{item.ms[0]:.3f} -> {item.ms[1]:.3f}",
            f"{item.grew_ms:+.3f}",
            f"{item.count[0]:.0f} -> {item.count[1]:.0f}",
        )
        for item in found.ops[:_MOST_OPS]
    ]
    columns = ("where", "type", "ms/step", "difference", "count")
    table(console, "by operation, for one step of a trainer", columns, ops)
    servers = [
        (
            name,
            _both(one, two, lambda item: f"{item.share:.0%}"),
            _both(one, two, lambda item: f"{item.busy_ms:.3f}"),
            _both(one, two, lambda item: f"{item.ops:.0f}"),
            _both(one, two, lambda item: _traffic(item.sends, item.bytes_out)),
            _both(one, two, lambda item: _traffic(item.takes, item.bytes_in)),
            _both(one, two, lambda item: _held(item.held)),
        )
        for name, one, two in found.servers
    ]
    if servers:
        columns = ("task", "share", "ms/step", "ops/step", "sends per step", "takes per step", "holds")
        table(console, "by parameter server, for one step of one trainer", columns, servers)
    console.print()
    console.print(one_line(found.words), markup=False, highlight=False)


def _both(first: _T | None, second: _T | None, shown: Callable[[_T], str]) -> str:
    before, after = ("-" if item is None else shown(item) for item in (first, second))
    return f"{before} -> {after}" if before or after else ""


def _part(kind: str, item: TaskVerdict) -> str:
    return f"{item.ms[kind]:.2f}"


def _held(size: int | None) -> str:
    return "" if size is None else f"{size / 2**20:,.1f} MiB"
