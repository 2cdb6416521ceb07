"""Specs and parts of specs that come from the command line instead of a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from launcher.spec.load import Override, apply_overrides, parse_spec
from launcher.spec.source import Origin
from launcher.spec.texts import did_you_mean
from launcher.spec.types import ClusterSpec
from launcher.wire import adjustments
from launcher.wire.errors import UsageError
from launcher.wire.roles import ROLES

DEFAULT = "default"


def local_spec(
    *, ps: int = 1, workers: int = 1, evaluator: bool = True, command: Sequence[str] | None = None
) -> ClusterSpec:
    """A cluster on this machine with one chief: what ``tflaunch local`` runs without a file.

    Its values count as defaults; what the user said goes on top with ``apply_overrides``. Raises SpecError.
    """
    values: dict[str, Override] = {
        "roles.ps.count": Override(ps, DEFAULT),
        "roles.worker.count": Override(workers, DEFAULT),
        "roles.evaluator.count": Override(int(evaluator), DEFAULT),
    }
    if command is not None:
        values["command"] = Override(tuple(command), DEFAULT)
    spec = parse_spec("roles: {chief: {}, ps: {}}", DEFAULT)
    return apply_overrides(spec.with_origins(dict.fromkeys(spec.origins, Origin(DEFAULT))), values)


def parse_tune(words: Iterable[str]) -> dict[str, bool]:
    """What ``--tune`` says about each adjustment: ``none``, ``all``, ``NAME``, ``+NAME`` or ``-NAME``, also several
    with commas; the last word about one counts; ``none`` leaves the ports guarded. Raises UsageError for an unknown
    name."""
    chosen: dict[str, bool] = {}
    for word in (part.strip() for text in words for part in text.split(",")):
        if word in ("none", "all"):
            names = adjustments.DEFAULT if word == "all" else adjustments.NAMES
            chosen = {name: word == "all" for name in names if word == "all" or name != adjustments.PORT_GUARD}
            continue
        name = word.lstrip("+-") if word[:1] in ("+", "-") else word
        if name not in adjustments.NAMES:
            hint = did_you_mean(name, adjustments.NAMES) or f"; known are {', '.join(adjustments.NAMES)}"
            raise UsageError(f"--tune: unknown adjustment {name[:80]!r}{hint}")
        chosen[name] = not word.startswith("-")
    return chosen


def on_this_machine(spec: ClusterSpec) -> ClusterSpec:
    """The spec with all tasks on this machine: without hosts, GPUs and what SSH hosts need. For ``tflaunch local``."""
    roles = {
        role.value: keys.model_copy(update={"on": (), "gpus": 0})
        for role in ROLES
        if (keys := spec.roles.of(role)).count
    }
    update = {"hosts": None, "engine": None, "sync": None, "roles": spec.roles.model_copy(update=roles)}
    if spec.python is not None and spec.python.venv is not None:
        update["python"] = None
    return spec.model_copy(update=update)
