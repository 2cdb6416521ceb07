"""tflaunch compare: in what two runs differ, and how each went. Pure but for the reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.cli.looking import find
from launcher.plan.plan import DEFAULT_MODEL_DIR_VARIABLE
from launcher.record import reading, report, runs
from launcher.record.course.parameters import parameters_of
from launcher.views.spans import count, crop, duration, number, pad, width_of
from launcher.views.terminal import say, say_json
from launcher.wire.text import one_line

_MOST_CELLS = 48
_COURSE = ("outcome", "global_step", "duration_s", "examples", "restarts", "parts")
# Of a plan: what it is made of is compared by itself, or follows from the rest.
_NOT_SPEC = frozenset(
    {"version", "name", "tasks", "kinds", "further", "hosts", "model_dir", "origins", "notes", "inherits", "max_steps"}
)
_OF_THE_RUN = (DEFAULT_MODEL_DIR_VARIABLE,)  # follows from the run's own folder
_PASSING = frozenset({"pending", "held", "most_held", "left_s", "lag_s"})  # how it stood at the end, not what it was

Values = dict[str, Any]
_UNREAD: Values = {"plan.json": "cannot be read"}


def compare(runs_dir: Path, first: str, second: str, *, as_json: bool) -> int:
    """Prints what differs between two runs in command, spec, data and versions, and their results side by side."""
    pair = [facts_of(find(runs_dir, run)) for run in (first, second)]
    made = compared(*pair)
    if as_json:
        say_json(
            {
                "runs": [first, second],
                **{title: {name: list(both) for name, both in rows.items()} for title, rows in made.items()},
            }
        )
        return 0
    for line in _lines(made, [pair[0]["run"], pair[1]["run"]]):
        say(line)
    return 0


# --- what is known of a run ------------------------------------------------------------------------------------------


def facts_of(folder: runs.RunFolder) -> Values:
    """By heading, then by name. Values of variables are not shown, only whether they are the same."""
    view = reading.load_view(folder)
    told = report.build_report(view, folder, live=runs.is_live(folder))
    plan = _plan(folder)
    metrics = {name: value for name, value in (told["metrics"] or {}).items() if name != "global_step"}
    course = {name: told.get(name) for name in _COURSE}
    course["parts"] = len(told["parts"])
    course["examples"] = view.examples
    course["restarts"] = sum(task["restarts"] for task in told["tasks"])
    course["steps/s"] = told["global_step"] / told["duration_s"] if told["global_step"] and told["duration_s"] else None
    python = sorted({str(host["facts"].get("python")) for host in told["hosts"] if host["facts"].get("python")})
    return {
        "run": told["run"],
        "command": {"command": _program(told["command"]), **parameters_of(told["command"])},
        "spec": _spec(plan) if plan else _UNREAD,
        "data": {name: value for name, value in told["input"].items() if value is not None and name not in _PASSING},
        "versions": {"tflaunch": told["version"], "python": ", ".join(python)},
        "results": course,
        "metrics": metrics,
    }


def _plan(folder: runs.RunFolder) -> Values:
    try:
        body = json.loads(folder.plan.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _program(argv: Sequence[str]) -> str:
    """The command up to its first option; the options are compared by name."""
    words = list(argv)
    first = next((at for at, word in enumerate(words) if word.startswith("--")), len(words))
    return " ".join(words[:first])


def _spec(plan: Values) -> Values:
    made = {name: value for name, value in flat(plan).items() if name.partition(".")[0] not in _NOT_SPEC}
    tasks = [str(task["task"]).partition(":")[0] for task in plan.get("tasks", ())]
    made |= {f"roles.{role}": tasks.count(role) for role in dict.fromkeys(tasks)}
    made["hosts"] = ", ".join(str(host["name"]) for host in plan.get("hosts", ()))
    for kind in plan.get("kinds", ()):
        made |= {
            f"env.{name}": _Secret(value) if name in kind["secret_env"] else value
            for name, value in kind["env"].items()
            if name not in _OF_THE_RUN
        }
    return made


class _Secret:
    """A value that is compared and not shown."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __str__(self) -> str:
        return "(not shown)"


def flat(body: Mapping[str, Any], before: str = "") -> Values:
    """Nested mappings as one, ``policy.restarts.worker``."""
    found: Values = {}
    for name, value in body.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        else:
            found[before + name] = value
    return found


# --- the comparison --------------------------------------------------------------------------------------------------


def compared(first: Values, second: Values) -> dict[str, dict[str, tuple[Any, Any]]]:
    """By heading and name what both have. Of command, spec, data and versions only what differs; None: it has none."""
    made = {}
    for title in ("command", "spec", "data", "versions", "results", "metrics"):
        names = dict.fromkeys([*first[title], *second[title]])
        if title == "spec" and _UNREAD in (first[title], second[title]):
            names = dict.fromkeys(_UNREAD)
        both = {name: (first[title].get(name), second[title].get(name)) for name in names}
        if title not in ("results", "metrics"):
            both = {name: pair for name, pair in both.items() if pair[0] != pair[1]}
        made[title] = {name: (_shown(a), _shown(b)) for name, (a, b) in both.items()}
    return made


def _shown(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value) if isinstance(value, _Secret) else value


def _lines(made: Mapping[str, Mapping[str, tuple[Any, Any]]], names: Sequence[str]) -> list[str]:
    rows = [("", names[0], names[1], "")]
    for title, values in made.items():
        if not values:
            rows.append((title, "the same" if title not in ("results", "metrics") else "none", "", ""))
            continue
        rows.append((title, "", "", ""))
        rows += [(f"  {name}", _text(name, a), _text(name, b), _change(a, b)) for name, (a, b) in values.items()]
    widths = [max(width_of(row[at]) for row in rows) for at in range(3)]
    return ["  ".join([*(pad(row[at], widths[at]) for at in range(3)), row[3]]).rstrip() for row in rows]


def _text(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "duration_s":
        return duration(float(value))
    if isinstance(value, float):
        return number(value)
    return (
        f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool)
        else crop(one_line(str(value)), _MOST_CELLS)
    )


def _change(first: Any, second: Any) -> str:
    numbers = [value for value in (first, second) if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < 2 or first == second:
        return ""
    change = second - first
    return (
        f"{change:+.4f}"
        if abs(change) < 100 and change != int(change)
        else f"{'+' if change > 0 else '-'}{count(abs(change))}"
    )
