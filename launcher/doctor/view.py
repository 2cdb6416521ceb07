"""The table of hosts and checks, and below it what is wrong and what to do. As wide as the terminal, no wider."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from launcher.doctor.facts import HostFacts
from launcher.doctor.findings import Finding, Level, exit_code
from launcher.doctor.wanted import Wanted
from launcher.views import terminal
from launcher.views.spans import crop, width_of
from launcher.wire.text import one_line

_PIPE_WIDTH = 160
_NO_WRAP_WIDTH = 100_000
_MOST_VALUE = 18
_SYMBOLS = {Level.SKIPPED: "·", Level.OK: "✓", Level.WARNING: "!", Level.FAILED: "✗"}
_STYLES = {Level.SKIPPED: "dim", Level.OK: "green", Level.WARNING: "bold yellow", Level.FAILED: "bold red"}

_Cell = tuple[Level, str]


@dataclass(frozen=True, kw_only=True)
class _Column:
    """One host, or several that have no problem."""

    title: str
    cells: Mapping[str, _Cell]  # by check

    @property
    def width(self) -> int:
        return max(width_of(self.title), *(2 + width_of(value) for _, value in self.cells.values()), 3)


def as_text(wanted: Wanted, findings: Sequence[Finding], out: TextIO) -> str:
    """Everything, for that stream: in colour if it is a terminal."""
    is_terminal = out.isatty()
    width = Console(file=out).width if is_terminal else _PIPE_WIDTH
    buffer = io.StringIO()
    colours = "auto" if is_terminal else None
    console = terminal.console(buffer, force_terminal=is_terminal, width=width, color_system=colours)
    if wanted.shape:
        console.print(Text(f"shape: {wanted.shape}", "dim"))
    for table in _tables(list(wanted.needs), findings, width):
        console.print(table)
    if not is_terminal:
        console.width = _NO_WRAP_WIDTH
    problems = _problems(findings)
    if problems:
        console.print()
    for (check, level, message, advice), hosts in problems.items():
        console.print(_problem(check, level, (hosts, message, advice), width if is_terminal else _NO_WRAP_WIDTH))
    console.print()
    for note in _notes(wanted):
        console.print(Text(note, "dim"))
    console.print(_verdict(wanted, findings))
    lines = (line.rstrip() for line in buffer.getvalue().splitlines())
    return "\n".join(lines) + "\n"


# --- the table


def _tables(hosts: Sequence[str], findings: Sequence[Finding], width: int) -> Iterator[Table]:
    """One table, or several if the hosts that have problems do not fit beside each other."""
    checks = _shown_checks(findings)
    columns = [_column(host, [host], findings) for host in hosts]
    room = width - max(map(len, checks), default=0)
    if _width(columns) > room:
        bad = [host for host in hosts if _worst(host, findings) >= Level.WARNING]
        good = [host for host in hosts if host not in bad]
        columns = [_column(host, [host], findings) for host in bad]
        if good:
            columns.append(_column(good[0] if len(good) == 1 else f"{len(good)} others", good, findings))
    while columns:
        fitting = max(1, next((n for n in range(len(columns), 0, -1) if _width(columns[:n]) <= room), 1))
        yield _table(checks, columns[:fitting])
        columns = columns[fitting:]


def _width(columns: Sequence[_Column]) -> int:
    return sum(column.width + 2 for column in columns)


def _shown_checks(findings: Sequence[Finding]) -> list[str]:
    """Those that said something, in their order."""
    return list(dict.fromkeys(finding.check for finding in findings if finding.level is not Level.SKIPPED))


def _column(title: str, hosts: Sequence[str], findings: Sequence[Finding]) -> _Column:
    cells: dict[str, _Cell] = {}
    for check in dict.fromkeys(finding.check for finding in findings):
        found = [finding for finding in findings if finding.check == check and finding.host in hosts]
        worst = max((finding.level for finding in found), default=Level.SKIPPED)
        values = dict.fromkeys(finding.value for finding in found if finding.level is worst)
        several = len(values) > 1 and len(hosts) == 1
        value = ", ".join(values) if several else next(iter(values), "") if len(values) == 1 else ""
        cells[check] = (worst, crop(one_line(value), _MOST_VALUE))
    return _Column(title=crop(one_line(title), _MOST_VALUE + 2), cells=cells)


def _worst(host: str, findings: Sequence[Finding]) -> Level:
    return max((finding.level for finding in findings if finding.host == host), default=Level.SKIPPED)


def _table(checks: Sequence[str], columns: Sequence[_Column]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("")
    for column in columns:
        table.add_column(Text(column.title, "bold"), no_wrap=True)
    for check in checks:
        cells = [column.cells.get(check, (Level.SKIPPED, "")) for column in columns]
        table.add_row(Text(check, "" if max(level for level, _ in cells) > Level.OK else "dim"), *map(_cell, cells))
    return table


def _cell(cell: _Cell) -> Text:
    level, value = cell
    plain = "dim" if level is Level.SKIPPED else "" if level is Level.OK else _STYLES[level]
    return Text.assemble((_SYMBOLS[level], _STYLES[level]), " ", (value, plain))


# --- what is wrong


def _problems(findings: Sequence[Finding]) -> dict[tuple[str, Level, str, str], list[str]]:
    """The hosts of each thing that is wrong, each once, the worst first."""
    found: dict[tuple[str, Level, str, str], dict[str, None]] = {}
    for finding in sorted(findings, key=lambda finding: -finding.level):
        if finding.level >= Level.WARNING:
            words = (finding.check, finding.level, finding.message, finding.advice)
            found.setdefault(words, {})[finding.host] = None
    return {words: list(hosts) for words, hosts in found.items()}


def _problem(check: str, level: Level, words: tuple[Sequence[str], str, str], width: int) -> Table:
    hosts, message, advice = words
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, width=12)
    grid.add_column(max_width=max(20, width - 14), overflow="fold")
    text = Text.assemble((", ".join(hosts), "bold"), ": ", one_line(message))
    grid.add_row(Text(f"{_SYMBOLS[level]} {check}", _STYLES[level]), text)
    if advice:
        grid.add_row("", Text.assemble(("to do: ", "dim"), one_line(advice)))
    return grid


def _notes(wanted: Wanted) -> Iterator[str]:
    if wanted.far_dir is not None:
        yield f"model_dir {wanted.far_dir} is no folder of a host: the doctor has not looked at it"
    elif wanted.model_dir is None and len(wanted.needs) > 1:
        yield "the spec names no model_dir: the doctor cannot see whether the hosts share it"


def _verdict(wanted: Wanted, findings: Sequence[Finding]) -> Text:
    count = len(wanted.needs)
    bad = [host for host in wanted.needs if _worst(host, findings) is Level.FAILED]
    warnings = sum(level is Level.WARNING for _, level, _, _ in _problems(findings))
    tail = f"; {warnings} warning{'s' if warnings > 1 else ''}" if warnings else ""
    if bad:
        hosts = f"{len(bad)} of {count} hosts" if count > 1 else "the host"
        return Text(f"not ready: something stands in the way on {hosts}{tail}", "bold red")
    return Text(
        f"ready: {f'all {count} hosts' if count > 1 else 'the host'}{tail}", "bold yellow" if warnings else "bold green"
    )


# --- for programs


def as_json(wanted: Wanted, facts: Mapping[str, HostFacts], findings: Sequence[Finding]) -> dict[str, object]:
    """Every finding, those that are in order included."""
    return {
        "ok": exit_code(findings) == 0,
        "shape": wanted.shape,
        "hosts": [
            {
                "host": name,
                "address": need.host.address,
                "reachable": not facts[name].trouble,
                "level": str(_worst(name, findings)),
            }
            for name, need in wanted.needs.items()
        ],
        "checks": [
            {
                "check": finding.check,
                "host": finding.host,
                "level": str(finding.level),
                "value": finding.value,
                "message": finding.message,
                "advice": finding.advice,
            }
            for finding in findings
        ],
        "notes": list(_notes(wanted)),
    }
