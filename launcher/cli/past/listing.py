"""tflaunch ls: runs as a table, chosen and sorted by what is known of them. Making and choosing rows is pure."""

from __future__ import annotations

import operator
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.cli.looking import tidy_up
from launcher.cli.slurm import there
from launcher.record import report, runs
from launcher.spec.texts import did_you_mean
from launcher.views.spans import crop, duration, number, pad, width_of
from launcher.views.terminal import complain, say, say_json
from launcher.wire.errors import UsageError
from launcher.wire.protocol import JsonValue
from launcher.wire.text import one_line

_CAUSE_CELLS = 60
_SHOWN = 4  # parameters, and metrics
_DEEPEST = 3
_CONDITION = re.compile(r"\s*([^<>=!]+?)\s*(>=|<=|!=|==?|>|<)\s*(.*?)\s*")
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{2})")
_Key = tuple[int, float, str]
_TESTS: Mapping[str, Callable[[_Key, _Key], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}
_HEADINGS = {"step": "global_step", "duration": "duration_s", "took": "duration_s"}
_HEADED = ("run", "outcome", "ended", "took", "step")
_OWN = ("run", "outcome", "ended", "duration_s", "global_step")

Status = Mapping[str, JsonValue]


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """``sort``: a name, with a minus before it from the largest on; ``where``: such as ``auc>0.7``; ``metrics``: those
    to be shown, all if none."""

    sort: str = ""
    where: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


def ls(folder: Path, wishes: Wishes, *, as_json: bool) -> int:
    """Lists the runs in a folder and in those below it, the newest first unless sorted."""
    tidy_up(kill=False)
    if (folder / "events.jsonl").exists():
        raise UsageError(f"{folder} is a run itself; see it with: tflaunch status {folder}")
    found = below(folder)
    rows = chosen([row for each in found if (row := _status_of(each)) is not None], wishes)
    if as_json:
        say_json(rows)
        return 0
    if not rows:
        none = f"--where leaves none of {len(found)} runs in" if found else "no runs in"
        say(f"{none} {folder.absolute()}", err=True)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table(rows, wishes.metrics, folder, width):
        say(line)
    return 0


def _status_of(folder: runs.RunFolder) -> dict[str, JsonValue] | None:
    """None for one that cannot be read, of which that is said; the others are listed all the same."""
    try:
        return {**(there.status(folder) or report.status_of(folder)), "folder": str(folder.path)}
    except OSError as error:
        complain(f"{folder.path}: {error.strerror or error}")
        return None


def below(folder: Path, depth: int = _DEEPEST) -> list[runs.RunFolder]:
    """The runs in a folder, newest first, then those of each folder in it that is no run itself, such as a sweep's.
    Links are not followed down."""
    found = list(runs.list_runs(folder))
    try:
        inside = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink())
    except OSError:
        return found
    known = {each.path for each in found}
    for entry in inside:
        if depth > 1 and entry.absolute() not in known:
            found += below(entry, depth - 1)
    return found


# --- which, in which order -------------------------------------------------------------------------------------------


def value_of(row: Status, name: str) -> object:
    """What a run has under a name: of its own facts, of its metrics, of its parameters; None if nothing."""
    name = _HEADINGS.get(name, name)
    if name in _OWN:
        return row.get(name)
    for group in ("metrics", "parameters"):
        values = row.get(group)
        if isinstance(values, Mapping) and name in values:
            return values[name]
    return None


def chosen(rows: Sequence[dict[str, JsonValue]], wishes: Wishes) -> list[dict[str, JsonValue]]:
    """Raises UsageError for a condition that is none, or a name that no run has."""
    tests = [_condition(text) for text in wishes.where]
    names = [name for name, _, _ in tests] + ([wishes.sort.lstrip("-")] if wishes.sort else [])
    known = _names(rows)
    for name in names:
        if rows and all(value_of(row, name) is None for row in rows) and name not in (*_OWN, *_HEADINGS):
            raise UsageError(f"no run has {name!r}{did_you_mean(name, known)}; known are {', '.join(known)}")
    metrics = [name for name in known if any(name in _in(row, "metrics") for row in rows)]
    for name in wishes.metrics:
        if rows and name not in metrics:
            there = f"; known are {', '.join(metrics)}" if metrics else ", since none has been evaluated"
            raise UsageError(f"no run has a metric {name!r}{did_you_mean(name, metrics)}{there}")
    kept = [row for row in rows if all(_holds(value_of(row, name), test, wanted) for name, test, wanted in tests)]
    if not wishes.sort:
        return kept
    name = wishes.sort.lstrip("-")
    with_one = [row for row in kept if value_of(row, name) is not None]
    with_one.sort(key=lambda row: _key(value_of(row, name)), reverse=wishes.sort.startswith("-"))
    return with_one + [row for row in kept if value_of(row, name) is None]


def _condition(text: str) -> tuple[str, str, str]:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(f"--where {text!r}: write NAME=VALUE, or with !=, <, >, <= or >= such as 'auc>0.7'")
    if match[3] == "" and match[2] not in ("=", "==", "!="):
        raise UsageError(f"--where {text!r}: what is it to be compared with?")
    return match[1], match[2], match[3]


def _as_stored(text: str) -> str:
    """A number that is written as ls shows it, 17,088 or 1:05, as it is stored."""
    if _THOUSANDS.fullmatch(text):
        return text.replace(",", "")
    if match := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return str((hours * 60 + minutes) * 60 + seconds)
    return text


def _holds(value: object, test: str, wanted: str) -> bool:
    if value is None:
        return test == "!="
    left, right = _key(value), _key(_as_stored(wanted) if isinstance(value, (int, float)) else wanted)
    if left[0] != right[0]:  # a number and a word
        left, right = (1, 0.0, str(value)), (1, 0.0, wanted)
    return _TESTS[test](left, right)


def _key(value: object) -> _Key:
    """Numbers by size, before words."""
    try:
        return 0, float(str(value)), ""
    except ValueError:
        return 1, 0.0, str(value)


def _names(rows: Sequence[Status]) -> list[str]:
    groups = [
        group for row in rows for group in (row.get("metrics"), row.get("parameters")) if isinstance(group, Mapping)
    ]
    return [*_HEADED, *sorted({name for group in groups for name in group if name not in (*_OWN, *_HEADED)})]


# --- the table -------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Status], metrics: Sequence[str], folder: Path, width: int | None = None) -> list[str]:
    """A head and a line for each run, in columns; parameters that are the same in all are left out. ``width``: of the
    terminal, in cells. Where it is too narrow causes get lines of their own, and times are short; then columns go, the
    least first."""
    columns = _columns(rows, metrics, folder)
    causes = [short_cause(row) for row in rows]
    whole = _lined({**columns, "": causes}, _RIGHT | _named_metrics(rows, metrics)) if rows else []
    if width is None or max(map(width_of, whole), default=0) <= width:
        return whole
    columns["ended"] = [when[5:16] for when in columns["ended"]]
    right = _RIGHT | _named_metrics(rows, metrics)
    of_model = [name for name in columns if name in right - _RIGHT]
    of_command = [name for name in columns if name not in right and name not in ("run", "outcome", "ended")]
    spare = ["took", *of_command[:0:-1], *of_model[:0:-1], "ended", *of_command[:1], "step", *of_model[:1]]
    while max(map(width_of, lines := _lined(columns, right))) > width and spare:
        del columns[spare.pop(0)]
    head, *rest = lines
    made = [crop(head, width)]
    for line, cause in zip(rest, causes, strict=True):
        made += [crop(line, width)] + ([crop(f"  {cause}", width)] if cause else [])
    return made


_RIGHT = frozenset({"took", "step"})


def _named_metrics(rows: Sequence[Status], metrics: Sequence[str]) -> frozenset[str]:
    return frozenset(metrics or _metrics(rows))


def _columns(rows: Sequence[Status], metrics: Sequence[str], folder: Path) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {"run": [_name(row, folder) for row in rows]}
    columns["outcome"] = [str(row["outcome"] or "live") for row in rows]
    columns["ended"] = [str(row["ended"] or "")[:19].replace("T", " ") for row in rows]
    columns["took"] = [duration(float(str(row["duration_s"] or 0))) for row in rows]
    columns["step"] = [f"step {row['global_step']:,}" if row["global_step"] is not None else "" for row in rows]
    for name in _differing(rows):
        columns[name] = [one_line(str(_in(row, "parameters").get(name, ""))) for row in rows]
    for name in metrics or _metrics(rows):
        columns[name] = [
            number(_number(_in(row, "metrics").get(name))) if name in _in(row, "metrics") else "" for row in rows
        ]
    return columns


def _lined(columns: Mapping[str, list[str]], right: frozenset[str]) -> list[str]:
    """A head, and a line for each run."""
    widths = {name: max(map(width_of, [name, *values])) for name, values in columns.items()}
    lines = [{name: name for name in columns}]
    lines += [{name: values[at] for name, values in columns.items()} for at in range(len(columns["run"]))]
    return [
        "  ".join(pad(line[name], widths[name], right=name in right) for name in columns).rstrip() for line in lines
    ]


def _name(row: Status, folder: Path) -> str:
    """As it stands in the folder, with those between."""
    path = Path(str(row["folder"]))
    try:
        return one_line(str(path.relative_to(folder.absolute())))
    except ValueError:
        return one_line(str(row["run"]))


def _in(row: Status, group: str) -> Mapping[str, JsonValue]:
    found = row.get(group)
    return found if isinstance(found, Mapping) else {}


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _differing(rows: Sequence[Status]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in _in(row, "parameters"))
    values = {name: {str(_in(row, "parameters").get(name, "")) for row in rows} for name in names}
    return [name for name in names if len(values[name]) > 1 and not name.endswith(("dir", "path"))][:_SHOWN]


def _metrics(rows: Sequence[Status]) -> list[str]:
    """Those that most runs have; of these, the ones that tell most of a model first."""
    names = dict.fromkeys(name for row in rows for name in _in(row, "metrics") if name != "global_step")
    ranks = ("auc", "accuracy", "loss")
    return sorted(names, key=lambda name: next((at for at, word in enumerate(ranks) if word in name), len(ranks)))[
        :_SHOWN
    ]


def short_cause(row: Status) -> str:
    """Why it failed, up to the first stop; and what else is to be known of it."""
    note, cause = str(row.get("note") or ""), row.get("cause")
    if not isinstance(cause, Mapping):
        return note
    first = re.split(r"; |\n", one_line(str(cause["message"])), maxsplit=1)[0]
    return "  ".join(filter(None, (crop(first, _CAUSE_CELLS), note)))
