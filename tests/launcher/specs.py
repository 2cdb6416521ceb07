"""Valid specs for hypothesis, as the mappings that a YAML file would hold, and ways to break them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from launcher.wire.adjustments import ADJUSTMENTS

Spec = dict[str, Any]

_WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co")), min_size=1, max_size=12)
_ENV_NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: not name.startswith(("TF", "CUDA"))
)
_ENVS = st.dictionaries(_ENV_NAMES, _WORDS, max_size=3)


@st.composite
def hosts(draw: st.DrawFn) -> list[Spec]:
    """Up to four machines by SSH; one of them may be a range."""
    names = [f"host-{index}" for index in range(draw(st.integers(1, 4)))]
    entries: list[Spec] = []
    for number, name in enumerate(names):
        entry: Spec = {"name": name, "address": f"10.0.{number}.1", "ssh": draw(st.sampled_from([{}, {"port": 2222}]))}
        if draw(st.booleans()):
            entry["ports"] = "20000-20999"
        if draw(st.booleans()):
            entry["gpus"] = 64
        entries.append(entry)
    if draw(st.booleans()):
        entries[-1] |= {"name": "node[08-11]", "address": "10.0.9.[8-11]"}
    return entries


def names_of(entries: list[Spec]) -> list[str]:
    """The names of the machines of ``hosts``."""
    return [name for entry in entries for name in _expanded(entry["name"])]


def _expanded(name: str) -> list[str]:
    return [f"node{number:02d}" for number in range(8, 12)] if "[" in name else [name]


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Any valid spec, small enough to look at each of its tasks."""
    machines = draw(st.none() | hosts())
    known = names_of(machines) if machines else ["local"]
    counts = {
        "ps": draw(st.integers(1, 5)),
        "chief": 1,
        "worker": draw(st.integers(0, 9)),
        "evaluator": draw(st.integers(0, 1)),
    }
    roles: dict[str, Spec] = {}
    for role, count in counts.items():
        keys: Spec = {"count": count, "env": draw(_ENVS)}
        if draw(st.booleans()):
            keys["on"] = draw(st.lists(st.sampled_from(known), min_size=1, max_size=4))
        roles[role] = keys
    if machines and all("gpus" in entry for entry in machines):
        roles["worker"]["gpus"] = draw(st.integers(0, 2))
    commands = [["train.py", "{index}"], ["python", "-m", "a.b", "--max-steps", "7"], ["sh"]]
    free = [item.name for item in ADJUSTMENTS if not item.needs]
    spec: Spec = {
        "name": draw(st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)),
        "command": draw(st.sampled_from(commands)),
        "model_dir": draw(st.sampled_from(["/models/x", "gs://models/x"])),
        "env": draw(_ENVS),
        "roles": roles,
        "tune": draw(st.dictionaries(st.sampled_from(free), st.booleans())),
        "policy": {"grace_s": draw(st.floats(0, 1000)), "restarts": {"ps": draw(st.integers(0, 9))}},
        "inject": ["kill ps:0 at step 10"],
    }
    return {**spec, "hosts": machines} if machines else spec


@dataclass(frozen=True)
class Break:
    """One way to break a spec, and the path that is to be named. Breaks with a word of ``area`` in common exclude each
    other."""

    area: str
    path: str
    apply: Callable[[Spec], None]

    def excludes(self, other: Break) -> bool:
        return not set(self.area.split()).isdisjoint(other.area.split())


def _setter(*keys: str, value: Any) -> Callable[[Spec], None]:
    def apply(spec: Spec) -> None:
        for key in keys[:-1]:
            spec = spec[key]
        spec[keys[-1]] = value

    return apply


def _renamed(role: str, wrong: str) -> Callable[[Spec], None]:
    def apply(spec: Spec) -> None:
        spec["roles"][wrong] = spec["roles"].pop(role)

    return apply


def _set(area: str, *keys: str, value: Any) -> Break:
    return Break(area=area, path=".".join(keys), apply=_setter(*keys, value=value))


_NO_NUMBERS = ["many", [], {"a": 1}, -1, 1.5, True, 10**30]
_NO_TEXTS = [True, [1], {"a": "b"}]
_NO_SECONDS = ["soon", -1, [], float("nan"), float("inf"), 10**300, True]

BREAKS: list[Break] = [
    *(_set(f"count-{role}", "roles", role, "count", value=value) for role in ("ps", "worker") for value in _NO_NUMBERS),
    _set("count-chief", "roles", "chief", "count", value=2),
    _set("count-chief", "roles", "chief", "count", value=3),
    _set("count-evaluator", "roles", "evaluator", "count", value=2),
    _set("on-ps", "roles", "ps", "on", value="local"),
    Break(area="on-worker", path="roles.worker.on[0]", apply=_setter("roles", "worker", "on", value=["nobody"])),
    Break(area="on-chief", path="roles.chief.on[1]", apply=_setter("roles", "chief", "on", value=["a", ["b"]])),
    _set("gpus-ps", "roles", "ps", "gpus", value=-1),
    *(_set("env", "env", "TF_CONFIG", value=value) for value in ("{}", 1)),
    *(_set("env", "env", "TOKEN", value=value) for value in _NO_TEXTS),
    Break(area="env", path="env['A-B C']", apply=_setter("env", "A-B C", value="x")),
    _set("env-worker", "roles", "worker", "env", "TF_CONFIG", value="x"),
    _set("roles-new", "roles", "wroker", value={}),
    _set("roles-new", "roles", "master", value={}),
    Break(area="count-evaluator", path="roles.evalator", apply=_renamed("evaluator", "evalator")),
    _set("name", "name", value="a/b"),
    *(_set("name", "name", value=value) for value in _NO_TEXTS),
    *(_set("model_dir", "model_dir", value=value) for value in ["", 3, *_NO_TEXTS]),
    *(_set("command", "command", value=value) for value in [[], "train.py", [""], ["python"], {"a": 1}]),
    Break(area="command", path="command[1]", apply=_setter("command", value=["a", None])),
    *(_set("grace", "policy", "grace_s", value=value) for value in _NO_SECONDS),
    *(_set("timeout", "policy", "timeout_s", value=value) for value in [0, *_NO_SECONDS]),
    *(_set("restarts", "policy", "restarts", value=value) for value in ["many", -1, 1.5, []]),
    *(_set("success", "policy", "success", value=value) for value in ["chef", 1, None]),
    _set("policy-new", "policy", "grace", value=1),
    _set("tune", "tune", "redy-poll", value=True),
    _set("tune", "tune", "heartbeat", value="yes"),
    Break(
        area="inject count-evaluator", path="inject[0]", apply=_setter("inject", value=["kill evaluator:1 at step 3"])
    ),
    Break(area="inject", path="inject[1]", apply=_setter("inject", value=["kill ps:0 after 5s", "kill all"])),
    _set("new", "hots", value=[]),
    _set("sync", "sync", value="here"),
    Break(area="python", path="python.pth", apply=_setter("python", value={"pth": "x"})),
    _set("preload", "preload", value="tensorflow"),
]


@st.composite
def several_breaks(draw: st.DrawFn) -> list[Break]:
    """One to five breaks that do not hide each other."""
    chosen: list[Break] = []
    for candidate in draw(st.lists(st.sampled_from(BREAKS), min_size=1, max_size=5)):
        if not any(candidate.excludes(other) for other in chosen):
            chosen.append(candidate)
    return chosen
