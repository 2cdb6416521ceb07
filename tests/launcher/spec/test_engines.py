"""``engine:`` in a spec: its type checks its keys, wherever the engine comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.plan.model import PlannedHost
from launcher.plan.plan import Surroundings, build_plan, plan_from_json, plan_to_json
from launcher.spec import json_schema, parse_spec
from launcher.spec.engines import GROUP
from launcher.views.plan_text import as_text
from launcher.wire.errors import SpecError
from tests.launcher.hosts import fleet

ROLES = "roles: {ps: {count: 1}, chief: {}, worker: {count: 1}}\ncommand: [python, train.py]\n"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(ROLES + text)
    return [f"{problem.line} {problem.path}: {problem.message}" for problem in caught.value.problems]


def test_listed_is_the_default_and_may_be_written() -> None:
    around = Surroundings(python="/usr/bin/python3", cwd="/w", env={})
    written, silent = (build_plan(parse_spec(ROLES + text), around) for text in ("engine: {listed: {}}\n", ""))
    assert (written.hosts, written.engine) == (silent.hosts, silent.engine)


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    assert problems("engine: {slrm: {}}") == ["3 engine.slrm: unknown engine 'slrm'; did you mean 'slurm'?"]
    assert problems("engine: {list: {}}") == ["3 engine.list: unknown engine 'list'; did you mean 'listed'?"]
    assert problems("engine: {a: {}, b: {}}") == ["3 engine: names 2; write one"]
    assert problems("engine: fleet") == ["3 engine: must be a mapping, got the text 'fleet'"]


@pytest.mark.usefixtures("installed")
def test_an_installed_one_checks_its_keys() -> None:
    assert problems("engine: {fleet: {hosts: 0}}") == ["3 engine.fleet.hosts: must be 1 or more, got 0"]
    assert problems("engine: {fleet: {host: 2}}") == ["3 engine.fleet.host: unknown key 'host'; did you mean 'hosts'?"]
    assert problems("engine: {fleet: {}}\nhosts: [{name: a}]") == [
        "4 hosts: are listed, and the engine 'fleet' gives hosts itself; remove one of the two"
    ]
    assert problems("engine: {fleet: {}}\nsync: {}") == [
        "4 sync: is for hosts that are listed, and the engine 'fleet' gives others; remove one of the two"
    ]
    on = ROLES.replace("{count: 1}}", "{count: 1, on: [fleet-7]}}") + "engine: {fleet: {hosts: 3}}"
    with pytest.raises(SpecError, match=r"roles.worker.on\[0\]: unknown host 'fleet-7'"):
        parse_spec(on)


@pytest.mark.usefixtures("installed")
def test_its_hosts_are_planned_on_before_anybody_knows_their_addresses() -> None:
    around = Surroundings(python="/usr/bin/python3", cwd="/w", env={})
    plan = build_plan(parse_spec(ROLES + "engine: {fleet: {hosts: 3}}"), around)
    assert [planned.host for planned in plan.tasks] == ["fleet-0", "fleet-0", "fleet-0"]
    assert "<fleet-0>:<ps:0>" in as_text(plan)
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("names", "ports", "words"),
    [
        (("a", "b", "a"), None, "engine 'fleet' gives several hosts one name: a"),
        ((), None, "engine 'fleet' gives no hosts: its sites() gives a tuple of PlannedHost, one or more"),
        (("a",), (5000, 5001), "has 2 ports, and host 'a' gets 3 tasks; widen the range"),
    ],
)
def test_what_is_wrong_with_the_hosts_that_it_gives_is_said_of_the_engine(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], ports: tuple[int, int] | None, words: str
) -> None:
    sites = tuple(PlannedHost(name=name, address="", ports=ports) for name in names)
    monkeypatch.setattr(fleet.Fleet, "sites", classmethod(lambda cls, keys: sites))
    assert problems("engine: {fleet: {}}") == [f"3 engine.fleet: {words}"]


@pytest.mark.usefixtures("installed")
def test_the_schema_has_its_keys() -> None:
    engine = json.loads(json.dumps(json_schema()))["properties"]["engine"]["anyOf"][0]["properties"]
    assert list(engine) == ["listed", "fleet", "slurm"]
    assert engine["fleet"]["properties"]["hosts"]["description"] == "How many hosts."


def test_one_that_cannot_be_loaded_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.install(tmp_path)
    (tmp_path / "fleet-1.0.dist-info" / "entry_points.txt").write_text(f"[{GROUP}]\nbroken = no_such_module:Engine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert problems("engine: {broken: {}}") == [
        "3 engine.broken: engine 'broken' (no_such_module:Engine) cannot be loaded: No module named 'no_such_module'"
    ]
