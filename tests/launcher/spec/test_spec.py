"""Specs that are right: what their values are, where they came from, and what overrides do to them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from launcher.plan.plan import Surroundings, build_plan
from launcher.spec import (
    ClusterSpec,
    Override,
    apply_overrides,
    drills,
    local_spec,
    on_this_machine,
    parse_spec,
    parse_tune,
    read_spec,
)
from launcher.spec.hosts import expand_host
from launcher.spec.policy import Policy
from launcher.spec.schema import schema_text
from launcher.spec.source import plain_value, read_yaml
from launcher.spec.texts import expand_range
from launcher.spec.types import SECTIONS
from launcher.wire.errors import SpecError, UsageError
from launcher.wire.roles import ROLES, Role, TaskId

ROOT = Path(__file__).parents[3]
SPECS = sorted((ROOT / "cluster_specs").glob("*.yaml"))
SMALL = "command: [train.py]\nroles: {ps: {}, chief: {}}\n"


def spec_of(text: str) -> ClusterSpec:
    return parse_spec(text, "c.yaml")


# --- the files that ship -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_every_shipped_spec_can_be_planned(path: Path) -> None:
    plan = build_plan(read_spec(path), Surroundings(python="/usr/bin/python3", cwd="/w", env={}))
    left_out = {"collective": {Role.PS, Role.EVALUATOR}, "sessions": {Role.EVALUATOR, Role.CHIEF}}.get(path.stem, set())
    assert {planned.task.role for planned in plan.tasks} >= set(ROLES) - left_out
    assert not plan.notes


def test_the_specs_that_ship() -> None:
    wanted = {"local", "three_hosts_ssh", "docker", "gpu_workers", "endless_stream", "reference"}
    wanted |= {"collective", "coordinator", "sessions", "no_tensorflow", "slurm"}
    assert {path.stem for path in SPECS} == wanted


def test_the_reference_shows_every_key() -> None:
    """With its switched-off keys (``#key:``) switched on, it is valid YAML and has each key of each section."""
    text = (ROOT / "cluster_specs/reference.yaml").read_text(encoding="utf-8")
    on = re.sub(r"(?m)^#(?=\S|  )", "", text)
    blocks = [block for block in re.split(r"(?m)^(?=[a-z])", on) if not block.startswith("#")]
    shown = {f"{path}.{key}" for block in blocks for path, key in _keys(yaml.safe_load(block), "")}
    for section, keys in SECTIONS.items():
        for key in keys.model_fields:
            assert f"{section}.{key}" in shown, f"reference.yaml lacks {key} of {section or 'the top'}"


def _keys(value: object, path: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if isinstance(value, dict):
        for key, inner in value.items():
            name = "on" if key is True else str(key)  # YAML 1.1, as PyYAML reads it
            found += [(path, name), *_keys(inner, f"{path}.{name}".lstrip("."))]
    elif isinstance(value, list):
        found += [item for inner in value for item in _keys(inner, f"{path}[]")]
    return found


def test_the_reference_shows_the_defaults() -> None:
    shown = read_spec(ROOT / "cluster_specs/reference.yaml")
    default = spec_of("roles: {ps: {}, chief: {}, worker: {}, evaluator: {}}")
    assert shown.model_dump(exclude={"command"}) == default.model_dump(exclude={"command"})


def test_the_schema_that_ships_is_the_types() -> None:
    shipped = (ROOT / "launcher/spec/cluster_spec.schema.json").read_text(encoding="utf-8")
    assert shipped == schema_text(), "write schema_text() to launcher/spec/cluster_spec.schema.json again"


def test_every_key_of_the_schema_is_explained() -> None:
    schema = json.loads(schema_text())
    sections = [schema, *schema["$defs"].values()]
    bare = [name for section in sections for name, key in section["properties"].items() if "description" not in key]
    assert not bare


# --- values --------------------------------------------------------------------------------------------------------

PLAIN = {
    "1": 1, "-3": -3, "1.5": 1.5, "1e3": 1000.0, ".5": 0.5, "true": True, "False": False, "~": None, "": None,
    "yes": "yes", "on": "on", "off": "off", "0x10": "0x10", "1:30": "1:30", "2026-01-01": "2026-01-01",
    "1_000": "1_000", "010": 10.0, "-.inf": float("-inf"),
}  # fmt: skip


@pytest.mark.parametrize("text", PLAIN)
def test_plain_scalars(text: str) -> None:
    value = plain_value(text)
    assert value == PLAIN[text]
    assert isinstance(value, bool) == isinstance(PLAIN[text], bool)


def test_numbers_in_commands_and_variables_keep_their_spelling() -> None:
    spec = spec_of("command: [t.py, 0.10, 1e-3, 007, 200000]\nenv: {A: 1.50}\nroles: {chief: {}}")
    assert spec.command == ("t.py", "0.10", "1e-3", "007", "200000")
    assert spec.env == {"A": "1.50"}


def test_on_is_a_key_and_no_truth_value() -> None:
    spec = spec_of("roles: {ps: {on: [local]}, chief: {}}")
    assert spec.roles.of(Role.PS).on == ("local",)


def test_hostile_values_come_through_unchanged() -> None:
    value = "a'b\"c $(rm -rf /) {brace} é 日本 \\ \n\r\ttab"
    spec = spec_of(f"command: [t.py, {json.dumps(value)}]\nenv: {{A: {json.dumps(value)}}}\nroles: {{chief: {{}}}}")
    assert spec.command == ("t.py", value)
    assert spec.env == {"A": value}


def test_anchors_and_merges() -> None:
    spec = spec_of(
        "roles:\n  ps: {}\n  chief: &trainer {env: {A: 1, B: 2}}\n  worker:\n    <<: *trainer\n    count: 2\n"
        "env: &e {A: x}\npolicy: {restarts: 2}"
    )
    assert spec.roles.of(Role.WORKER).env == {"A": "1", "B": "2"}
    assert spec.roles.of(Role.WORKER).count == 2
    assert spec.policy.restarts.ps == spec.policy.restarts.worker == 2


def test_a_merged_key_is_overridden_by_the_own_one() -> None:
    source = read_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {<<: [*a, {y: 5, z: 6}]}", "f")
    assert not source.problems
    assert source.tree == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 1, "y": 2, "z": 6}}


def test_keys_with_nothing_behind_them_have_their_defaults() -> None:
    empty = spec_of(SMALL + "env:\ntune:\npolicy:\ninject:\nhosts:\nname:\nmodel_dir:\n")
    assert empty.model_dump() == spec_of(SMALL).model_dump()
    assert spec_of("roles: {ps: , chief: {on: }, evaluator: }").roles.of(Role.EVALUATOR).count == 1


def test_the_defaults_are_the_models() -> None:
    keys = spec_of(SMALL).policy
    policy = Policy()
    for name in ("backoff_s", "start_timeout_s", "hang_timeout_s", "timeout_s", "evaluator_drain_s", "grace_s"):
        assert getattr(keys, name) == getattr(policy, name)
    assert {role: getattr(keys.restarts, role.value) for role in ROLES} == policy.restarts


def test_ranges() -> None:
    assert expand_range("n[08-10].x") == ("n08.x", "n09.x", "n10.x")
    assert expand_range("n[1-3]") == ("n1", "n2", "n3")
    assert expand_range("a") == ("a",)


def test_host_ranges_advance_together() -> None:
    spec = spec_of("hosts: [{name: 'n[01-03]', address: '10.0.0.[9-11]', ssh: {}, ports: 20000}]\nroles: {chief: {}}")
    sites = [(site.name, site.address, site.ports) for host in spec.hosts or () for site in expand_host(host)]
    assert sites == [
        ("n01", "10.0.0.9", (20000, 20000)),
        ("n02", "10.0.0.10", (20000, 20000)),
        ("n03", "10.0.0.11", (20000, 20000)),
    ]


def test_a_byte_order_mark_and_carriage_returns_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert read_spec(path).command == ("train.py",)


# --- overrides -----------------------------------------------------------------------------------------------------


def test_overrides_replace_values_and_are_remembered() -> None:
    spec = apply_overrides(
        spec_of(SMALL + "env: {A: a, B: b}\npolicy: {grace_s: 5}"),
        {
            "roles.worker.count": Override(2, "--workers"),
            "policy.restarts.worker": Override(9, "--restarts"),
            "env": Override({"B": "x", "C": "c"}, "--env"),
            "command": Override(("other.py", "1"), "--"),
        },
    )
    assert spec.roles.of(Role.WORKER).count == 2
    assert (spec.policy.grace_s, spec.policy.restarts.worker, spec.policy.restarts.ps) == (5, 9, 3)
    assert spec.env == {"A": "a", "B": "x", "C": "c"}
    assert spec.command == ("other.py", "1")
    assert str(spec.where(("roles", "worker", "count"))) == "--workers"
    assert str(spec.where(("env", "A"))) == "c.yaml:3"
    assert str(spec.where(("env", "B"))) == "--env"
    assert str(spec.where(("command",))) == "--"
    assert str(spec.where(("policy", "grace_s"))) == "c.yaml:4"


def test_a_wrong_override_is_named_by_its_option() -> None:
    with pytest.raises(SpecError) as caught:
        apply_overrides(
            spec_of(SMALL),
            {
                "roles.worker.count": Override(-1, "--workers"),
                "name": Override("a b", "TFLAUNCH_NAME"),
                "roles.evaluator.count": Override(2, "--evaluator"),
            },
        )
    starts = [": ".join(str(problem).split(": ")[:2]) for problem in caught.value.problems]
    assert set(starts) == {
        "--workers: roles.worker.count",
        "TFLAUNCH_NAME: name",
        "--evaluator: roles.evaluator.count",
    }


def test_a_problem_that_an_override_makes_elsewhere_names_the_file() -> None:
    spec = spec_of(SMALL + "inject: [kill ps:0 at step 3]")
    with pytest.raises(SpecError, match=r"c.yaml:3: inject\[0\]: there is no task ps:0"):
        apply_overrides(spec, {"roles.ps.count": Override(0, "--ps")})


def test_an_override_of_all_restarts_replaces_the_ones_of_each_role() -> None:
    spec = spec_of(SMALL + "policy: {restarts: {ps: 1, worker: 7}}")
    after = apply_overrides(spec, {"policy.restarts": Override(0, "--restarts")})
    assert after.policy.restarts.worker == after.policy.restarts.ps == 0


def test_the_spec_of_no_file() -> None:
    spec = local_spec(ps=2, workers=3, evaluator=False, command=["train.py"])
    assert {role: spec.roles.of(role).count for role in ROLES} == {
        Role.PS: 2,
        Role.CHIEF: 1,
        Role.WORKER: 3,
        Role.EVALUATOR: 0,
    }
    assert {str(origin) for origin in spec.origins.values()} == {"default"}


def test_a_local_cluster_without_parameter_servers() -> None:
    spec = local_spec(ps=0, workers=1, command=["train.py"])
    plan = build_plan(spec, Surroundings(python="/usr/bin/python3", cwd="/w", env={}))
    assert [str(planned.task) for planned in plan.tasks] == ["chief:0", "worker:0", "evaluator:0"]
    assert plan.chief.task.name == "chief:0" and not plan.has_ps


def test_without_a_chief_the_first_worker_is_it() -> None:
    spec = apply_overrides(
        local_spec(ps=0, workers=2, command=["train.py"]), {"roles.chief.count": Override(0, "--no-chief")}
    )
    plan = build_plan(spec, Surroundings(python="/usr/bin/python3", cwd="/w", env={}))
    assert plan.chief.task.name == "worker:0"
    with pytest.raises(SpecError, match=r"roles\.chief\.count: must be 1, got 0: .* nobody trains"):
        apply_overrides(local_spec(workers=0), {"roles.chief.count": Override(0, "--no-chief")})


def test_a_spec_of_many_hosts_on_this_machine() -> None:
    spec = on_this_machine(read_spec(ROOT / "cluster_specs/gpu_workers.yaml"))
    plan = build_plan(spec, Surroundings(python="/usr/bin/python3", cwd="/w", env={}))
    assert [host.name for host in plan.hosts] == ["local"]
    assert len(plan.of_role(Role.WORKER)) == 6
    assert apply_overrides(spec, {"name": Override("x", "--name")}).hosts is None


# --- small languages -----------------------------------------------------------------------------------------------


def test_tune() -> None:
    assert parse_tune(["-ready-poll,heartbeat"]) == {"ready-poll": False, "heartbeat": True}
    assert not any(parse_tune(["none"]).values())
    assert parse_tune(["none", "+heartbeat"])["heartbeat"]
    with pytest.raises(UsageError, match="unknown adjustment 'redy-poll'; did you mean 'ready-poll'"):
        parse_tune(["-redy-poll"])


DRILLS = {
    "kill worker:1 at step 200": drills.Kill(task=TaskId(Role.WORKER, 1), when=drills.AtStep(200)),
    " kill  ps-0   after 5s ": drills.Kill(task=TaskId(Role.PS, 0), when=drills.AfterSeconds(5)),
    "pause ps:0 for 20s at step 100": drills.Pause(task=TaskId(Role.PS, 0), for_s=20, when=drills.AtStep(100)),
    "pause chief:0 for 0.5s after 1.25 s": drills.Pause(
        task=TaskId(Role.CHIEF, 0), for_s=0.5, when=drills.AfterSeconds(1.25)
    ),
    "exit evaluator:0 with 3 after 123456789.5s": drills.Exit(
        task=TaskId(Role.EVALUATOR, 0), code=3, when=drills.AfterSeconds(123456789.5)
    ),
}


@pytest.mark.parametrize("text", DRILLS)
def test_drills(text: str) -> None:
    assert drills.parse(text) == DRILLS[text]
    assert drills.parse(str(DRILLS[text])) == DRILLS[text]
