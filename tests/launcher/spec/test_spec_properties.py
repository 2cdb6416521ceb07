"""What holds for every spec, right or wrong. ``TFLAUNCH_EXAMPLES=5000`` looks at more of them."""

from __future__ import annotations

import copy
import os
import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.plan.model import Plan
from launcher.plan.plan import Surroundings, bind, build_plan, plan_from_json, plan_to_json, start_message, with_run_dir
from launcher.plan.tf_config import symbolic_tf_configs
from launcher.spec import apply_overrides, parse_spec
from launcher.spec.command import parse_command
from launcher.wire.errors import SpecError
from launcher.wire.roles import ROLES, Role
from tests.launcher.specs import BREAKS, Break, Spec, names_of, several_breaks, specs

EXAMPLES = int(os.environ.get("TFLAUNCH_EXAMPLES", "100"))
SURROUNDINGS = Surroundings(python="/usr/bin/python3", cwd="/work", env={"HOME": "/home/me"})
quick = settings(max_examples=EXAMPLES // 4)
thorough = settings(max_examples=EXAMPLES)


def text_of(spec: Spec) -> str:
    return yaml.dump(spec, allow_unicode=True, sort_keys=False, width=100_000)


def plan_of(spec: Spec) -> Plan:
    return build_plan(parse_spec(text_of(spec), "c.yaml"), SURROUNDINGS)


@quick
@given(specs())
def test_every_valid_spec_has_a_plan(spec: Spec) -> None:
    plan = plan_of(spec)
    counts = {role: spec["roles"][role.value]["count"] for role in ROLES}
    assert {role: len(plan.of_role(role)) for role in ROLES} == counts
    assert [planned.task for planned in plan.tasks] == sorted(planned.task for planned in plan.tasks)
    everywhere = names_of(spec["hosts"]) if "hosts" in spec else ["local"]
    for role in ROLES:
        on = spec["roles"][role.value].get("on") or everywhere
        wanted = [on[index % len(on)] for index in range(counts[role])]
        assert [planned.host for planned in plan.of_role(role)] == wanted


@quick
@given(specs())
def test_variables_of_a_role_win_and_are_secret(spec: Spec) -> None:
    for planned in plan_of(spec).tasks:
        wanted = {**spec["env"], **spec["roles"][planned.task.role.value]["env"]}
        assert wanted.items() <= dict(planned.env).items()
        assert set(wanted) == planned.secret_env
        assert list(planned.env) == sorted(planned.env)
        assert planned.env["TF_GRPC_REUSE_PORT"] == "1"


@quick
@given(specs())
def test_no_gpu_is_given_twice(spec: Spec) -> None:
    given_out = [(planned.host, gpu) for planned in plan_of(spec).tasks for gpu in planned.gpus]
    assert len(given_out) == len(set(given_out))
    for planned in plan_of(spec).tasks:
        assert planned.env["CUDA_VISIBLE_DEVICES"] == (",".join(map(str, planned.gpus)) or "-1")


@quick
@given(specs())
def test_the_evaluator_is_nowhere_else(spec: Spec) -> None:
    plan = plan_of(spec)
    configs = symbolic_tf_configs(plan)
    for planned in plan.tasks:
        assert ('"evaluator":[' in configs.of(planned.task).text) == (planned.task.role is Role.EVALUATOR)


@quick
@given(specs())
def test_a_plan_survives_json_and_gets_its_ports(spec: Spec) -> None:
    plan = plan_of(spec)
    assert plan_from_json(plan_to_json(plan)) == plan
    placed = with_run_dir(plan, "/runs/{index}")
    bound = bind(placed, {planned.task: 3000 + number for number, planned in enumerate(plan.tasks)}, 2)
    seen = set()
    for planned in plan.tasks:
        message = start_message(bound, planned.task, 1, run="r")
        assert message.generation == 2
        assert message.argv[-len(message.program) :] == message.program or not message.program
        assert f'"type":"{planned.task.role}","index":{planned.task.index}' in str(message.env["TF_CONFIG"])
        seen.add((planned.host, bound.ports[planned.task]))
    assert len(seen) == len(plan.tasks)


@quick
@given(specs())
def test_overriding_nothing_changes_nothing(spec: Spec) -> None:
    parsed = parse_spec(text_of(spec), "c.yaml")
    again = apply_overrides(parsed, {})
    assert again.model_dump() == parsed.model_dump()
    assert again.origins == parsed.origins


@thorough
@given(specs(), several_breaks())
def test_every_broken_place_is_named_with_its_line(spec: Spec, breaks: list[Break]) -> None:
    broken = copy.deepcopy(spec)
    for one in breaks:
        one.apply(broken)
    text = text_of(broken)
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "c.yaml")
    named = {(problem.path, problem.line) for problem in caught.value.problems}
    for one in breaks:
        assert (one.path, line_of(text, one.path)) in named, f"{one.path} in\n{text}\ngave\n{caught.value}"


@pytest.mark.parametrize("one", BREAKS, ids=lambda one: one.path)
def test_one_broken_place_is_one_problem(one: Break) -> None:
    """Nothing else is blamed for it."""
    spec = {
        "name": "x",
        "command": ["t.py"],
        "model_dir": "/m",
        "env": {"A": "b"},
        "roles": {role: {"count": 1, "env": {"C": "d"}} for role in ("ps", "chief", "worker", "evaluator")},
        "policy": {"grace_s": 1},
        "tune": {"heartbeat": True},
    }
    one.apply(spec)
    with pytest.raises(SpecError) as caught:
        parse_spec(text_of(spec), "c.yaml")
    assert {problem.path for problem in caught.value.problems} == {one.path}


def line_of(text: str, path: str) -> int:
    """Where a path stands, found by PyYAML's own node graph: the key's line, or the item's."""
    node: Any = yaml.compose(text)
    line = 1
    for name, quoted, index in re.findall(r"([\w-]+)|\['([^']*)'\]|\[(\d+)\]", path):
        if index:
            node = node.value[int(index)]
            line = node.start_mark.line + 1
        else:
            key, node = next(pair for pair in node.value if pair[0].value == (name or quoted))
            line = key.start_mark.line + 1
    return line


@settings(max_examples=EXAMPLES)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_any_text_is_a_spec_or_an_error_in_words(text: str) -> None:
    try:
        parse_spec(text, "c.yaml")
    except SpecError as error:
        assert all(str(problem).startswith("c.yaml") for problem in error.problems)


_YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_KEYS = (
    "name",
    "command",
    "model_dir",
    "env",
    "hosts",
    "roles",
    "preload",
    "tune",
    "policy",
    "inject",
    "sync",
    "python",
)


@thorough
@given(st.dictionaries(st.sampled_from(_KEYS), _YAML, max_size=6), specs())
def test_any_value_of_any_key_is_right_or_an_error_in_words(values: Spec, spec: Spec) -> None:
    try:
        parse_spec(text_of({**spec, **values}), "c.yaml")
    except SpecError as error:
        assert all(problem.line and problem.message for problem in error.problems)


@given(st.lists(st.text(max_size=5) | st.sampled_from(["python", "-m", "-u", "-X", "-c", "-Wx", "a.py"]), max_size=6))
def test_a_command_is_kept_whole(words: list[str]) -> None:
    try:
        command = parse_command(words, "/py")
    except ValueError:
        return
    if command.program:
        assert command.argv == (*command.python, *command.program)
    assert list(command.argv[-len(words) + 1 :]) == words[1:] or command.python or len(words) == 1
