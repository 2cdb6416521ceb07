"""From spec to plan to start messages: placement, commands, environments, and what `tflaunch plan` shows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from launcher.plan.model import BoundPlan, Plan, StartMode
from launcher.plan.plan import (
    Surroundings,
    bind,
    board_message,
    build_plan,
    guard_message,
    plan_from_json,
    plan_to_json,
    preload_messages,
    start_message,
    with_run_dir,
)
from launcher.plan.plan_json import PlanFormatError
from launcher.plan.tf_config import MAX_VARIABLE_BYTES
from launcher.record.states import Outcome, StopHow, exit_code
from launcher.spec import Override, apply_overrides, parse_spec, read_spec
from launcher.spec.command import parse_command
from launcher.spec.flags import parse_tune
from launcher.views.plan_text import as_json, as_text
from launcher.wire.errors import HostError, SpecError, UsageError
from launcher.wire.roles import Role, TaskId

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parents[2] / "golden"
WORKER_1 = TaskId(Role.WORKER, 1)
CHIEF, PS = TaskId(Role.CHIEF, 0), TaskId(Role.PS, 0)


def plan_of(text: str, *, env: dict[str, str] | None = None) -> Plan:
    return build_plan(parse_spec(text, "c.yaml"), Surroundings(python="/venv/bin/python", cwd="/work", env=env or {}))


def local_plan(more: str = "", command: str = "[train.py]") -> Plan:
    return plan_of(f"command: {command}\nroles: {{ps: {{}}, chief: {{}}, worker: {{count: 2}}}}\n{more}")


def bound_plan(plan: Plan) -> BoundPlan:
    return bind(plan, {planned.task: 3000 + number for number, planned in enumerate(plan.tasks)}, 1)


# --- commands ------------------------------------------------------------------------------------------------------

COMMANDS = {
    "train.py --lr 1": (["/py", "train.py", "--lr", "1"], ["/py"], ["train.py", "--lr", "1"]),
    "-m a.b c": (["/py", "-m", "a.b", "c"], ["/py"], ["-m", "a.b", "c"]),
    "python t.py": (["/py", "t.py"], ["/py"], ["t.py"]),
    "python3 -u -O t.py -v": (["/py", "-u", "-O", "t.py", "-v"], ["/py", "-u", "-O"], ["t.py", "-v"]),
    "python -X dev -m a": (["/py", "-X", "dev", "-m", "a"], ["/py", "-X", "dev"], ["-m", "a"]),
    "python -We -m a": (["/py", "-We", "-m", "a"], ["/py", "-We"], ["-m", "a"]),
    "python -um a": (["/py", "-u", "-m", "a"], ["/py", "-u"], ["-m", "a"]),
    "python -c pass": (["/py", "-c", "pass"], ["/py"], []),
    "python3.11 t.py": (["python3.11", "t.py"], ["python3.11"], ["t.py"]),
    "/opt/bin/python t.py": (["/opt/bin/python", "t.py"], ["/opt/bin/python"], ["t.py"]),
    "./run.sh x": (["./run.sh", "x"], [], []),
    "pythonic t.py": (["pythonic", "t.py"], [], []),
}  # fmt: skip


@pytest.mark.parametrize("text", COMMANDS)
def test_commands(text: str) -> None:
    command = parse_command(text.split(), "/py")
    assert [list(command.argv), list(command.python), list(command.program)] == list(COMMANDS[text])


NAMES = {"train.py": "train", "-m jobs.esmm": "esmm", "-m jobs.esmm.__main__": "esmm", "./a/run.sh": "run.sh"}


@pytest.mark.parametrize("text", NAMES)
def test_a_run_is_named_after_its_command(text: str) -> None:
    assert parse_command(text.split(), "/py").name == NAMES[text]


def test_placeholders() -> None:
    plan = local_plan("model_dir: /m", '[t.py, "{role}-{index}", "{model_dir}/x", "{run_dir}", "{other} {{role}} {"]')
    argv = with_run_dir(plan, "/runs/1").task(WORKER_1).argv
    assert argv[2:] == ("worker-1", "/m/x", "/runs/1", "{other} {worker} {")


@pytest.mark.parametrize(
    "command", ["[t.py, --max-steps, 7]", "[t.py, --max_steps=7]", "[t.py, --max-steps=3, --max-steps=7]"]
)
def test_max_steps_are_read_from_the_command(command: str) -> None:
    assert local_plan(command=command).max_steps == 7


@pytest.mark.parametrize(
    "command", ["[t.py]", "[t.py, --max-steps, many]", "[t.py, --max-steps]", "[t.py, --max-steps=0]"]
)
def test_a_command_may_say_nothing_of_max_steps(command: str) -> None:
    assert local_plan(command=command).max_steps is None


def test_a_spec_without_a_command_cannot_run() -> None:
    with pytest.raises(SpecError, match=r"c.yaml:1: command: is missing"):
        plan_of("roles: {chief: {}}")


def test_a_tf_config_in_the_environment_is_refused() -> None:
    with pytest.raises(UsageError, match="unset TF_CONFIG"):
        plan_of("command: [t.py]\nroles: {chief: {}}", env={"TF_CONFIG": "{}"})


# --- model_dir -----------------------------------------------------------------------------------------------------

MODEL_DIRS = {
    "model_dir: /m": ("[t.py]", "/m", False),
    "model_dir: models/x": ("[t.py]", "/work/models/x", False),
    "model_dir: ~/x": ("[t.py]", "/home/me/x", False),
    "model_dir: s3://b/x": ("[t.py]", "s3://b/x", False),
    "": ("[t.py]", None, False),
    "#1": ("[t.py, '{model_dir}']", "{run_dir}/model", False),
    "#2": ("[t.py, --model-dir, /m]", "/m", True),
    "model_dir: m": ("[t.py, --model_dir=m]", "/work/m", True),
}


@pytest.mark.parametrize("more", MODEL_DIRS)
def test_model_dir(more: str) -> None:
    command, model_dir, in_command = MODEL_DIRS[more]
    plan = plan_of(f"command: {command}\nroles: {{chief: {{}}}}\n{more}", env={"HOME": "/home/me"})
    assert (plan.model_dir, plan.model_dir_in_command) == (model_dir, in_command)
    config = json.loads(str(start_message(bound_plan(plan), CHIEF, 1, run="r").env["TF_CONFIG"]))
    assert config.get("model_dir") == (None if in_command else model_dir)


def test_a_job_that_is_given_no_model_dir_learns_of_one() -> None:
    plan = with_run_dir(local_plan(), "/runs/1")
    assert plan.task(CHIEF).env["TFLAUNCH_DEFAULT_MODEL_DIR"] == "/runs/1/model"


# --- environments, GPUs, ways of starting ----------------------------------------------------------------------------


def test_gpus_of_a_host_are_shared_out_in_order() -> None:
    plan = plan_of(
        "command: [t.py]\nmodel_dir: /m\nhosts: [{name: a, ssh: {}, gpus: 2}, {name: b, ssh: {}, gpus: 2}]\n"
        "roles: {ps: {}, chief: {on: [b], gpus: 1}, worker: {count: 3, on: [a, b, a], gpus: 1}, evaluator: {}}"
    )
    seen = {planned.task.name: (planned.host, planned.env["CUDA_VISIBLE_DEVICES"]) for planned in plan.tasks}
    assert seen == {
        "ps:0": ("a", "-1"),
        "chief:0": ("b", "0"),
        "worker:0": ("a", "0"),
        "worker:1": ("b", "1"),
        "worker:2": ("a", "1"),
        "evaluator:0": ("a", "-1"),
    }


def test_trainers_know_how_many_share_their_host() -> None:
    plan = plan_of(
        "command: [t.py]\nmodel_dir: /m\nhosts: [{name: a, ssh: {}}, {name: b, ssh: {}}]\n"
        "roles: {ps: {}, chief: {}, worker: {count: 2, on: [a, b]}, evaluator: {on: [b]}}"
    )
    seen = {planned.task.name: planned.env.get("TFLAUNCH_TRAINERS_ON_HOST") for planned in plan.tasks}
    assert seen == {"ps:0": None, "chief:0": "2", "worker:0": "2", "worker:1": "1", "evaluator:0": None}
    assert len({planned.preload_key for planned in plan.tasks}) == 1
    user = plan_of("command: [t.py]\nenv: {TFLAUNCH_TRAINERS_ON_HOST: 7}\nroles: {ps: {}, chief: {}}")
    assert user.task(CHIEF).env["TFLAUNCH_TRAINERS_ON_HOST"] == "7"


def test_variables_of_a_role_win() -> None:
    plan = plan_of("command: [t.py]\nenv: {A: all, B: all}\nroles: {ps: {}, chief: {env: {B: chief}}}")
    assert {name: plan.task(CHIEF).env[name] for name in "AB"} == {"A": "all", "B": "chief"}
    assert plan.task(PS).env["B"] == "all"


def test_a_start_message_is_complete() -> None:
    plan = local_plan("env: {A: spec, B: spec}\ntune: {heartbeat: false}")
    message = start_message(bound_plan(plan), WORKER_1, 3, run="r-1")
    env = dict(message.env)
    config = json.loads(str(env.pop("TF_CONFIG")))
    assert config["task"] == {"type": "worker", "index": 1}
    assert config["cluster"]["worker"] == ["127.0.0.1:3002", "127.0.0.1:3003"]
    assert env == {
        "A": "spec",
        "B": "spec",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TFLAUNCH_ATTEMPT": "3",
        "TFLAUNCH_DEFAULT_MODEL_DIR": "{run_dir}/model",
        "TFLAUNCH_LEGACY_KERAS": "on",
        "TFLAUNCH_RUN": "r-1",
        "TFLAUNCH_TASK": "worker:1",
        "TFLAUNCH_TRAINERS_ON_HOST": "3",
        "TFLAUNCH_TUNE": "model-dir,session-gate,roaming,ready-poll,worker-start,device-filters,final-save,"
        "save-on-term,preflight,session-close,log-format",
        "TF_GRPC_REUSE_PORT": "1",
    }
    assert (message.program, message.argv[0], message.cwd) == (("train.py",), "/venv/bin/python", "/work")
    assert message.preload == plan.task(WORKER_1).preload_key is not None


EXEC = {
    "preload: []": ("[t.py]", "preload is switched off"),
    "env: {PYTHONHASHSEED: 0}": ("[t.py]", "PYTHONHASHSEED"),
    "env: {LD_PRELOAD: x.so}": ("[t.py]", "LD_PRELOAD"),
    "#1": ("[python, -u, t.py]", "-u"),
    "#2": ("[./run.sh]", "the command is not Python"),
    "#3": ("[python, -c, pass]", "neither a script nor a module"),
}


@pytest.mark.parametrize("more", EXEC)
def test_what_cannot_be_forked_says_why(more: str) -> None:
    command, reason = EXEC[more]
    plan = local_plan(more, command)
    assert {planned.start for planned in plan.tasks} == {StartMode.EXEC}
    assert all(reason in planned.exec_reason for planned in plan.tasks)
    assert preload_messages(plan, "local") == ()


def test_tasks_that_import_alike_share_an_interpreter() -> None:
    plan = plan_of("command: [t.py]\nroles: {ps: {}, chief: {}, worker: {count: 2, env: {OMP_NUM_THREADS: 2, A: 1}}}")
    first, second = preload_messages(plan, "local")
    keras = {"TFLAUNCH_LEGACY_KERAS": "on"}
    assert (first.env, second.env) == (keras, {"OMP_NUM_THREADS": "2", **keras})
    assert first.modules == ("tensorflow",)
    assert {plan.task(PS).preload_key, plan.task(CHIEF).preload_key} == {first.key}
    assert plan.task(WORKER_1).preload_key == second.key


def test_a_wrapper_is_not_preloaded_and_what_it_starts_is_adjusted() -> None:
    plan = local_plan(command="[./run.sh]")
    assert (plan.adjustments, plan.preload) == (local_plan().adjustments, ())
    assert "in the first Python that it starts" in plan.notes[0]


@pytest.mark.parametrize("command", ["[t.py]", "[./run.sh]"])
def test_ports_are_guarded_unless_that_is_switched_off_by_its_name(command: str) -> None:
    plan = local_plan("tune: {port-guard: false}", command=command)
    assert "port-guard" not in plan.adjustments
    assert plan.notes[0] == "whoever reaches the ports of this run can run code as you: port-guard is switched off"
    assert "port-guard" in local_plan(command=command).adjustments
    assert parse_tune(["none"]).get("port-guard", True) and not parse_tune(["none,-port-guard"])["port-guard"]


def test_each_port_has_a_key_of_its_own_and_each_host_its_own_ports() -> None:
    plan = plan_of(
        "command: [t.py]\nhosts: [{name: a, address: 10.0.0.1}, {name: b, address: 10.0.0.2, ssh: {}}]\n"
        "roles: {ps: {on: [a]}, chief: {on: [b]}}"
    )
    ports = {task.task: 2000 + number for number, task in enumerate(plan.tasks)}
    keys = {task: f"{number:064x}" for number, task in enumerate(ports)}
    message = guard_message(bind(plan, ports, generation=1), "b", keys)
    assert message.addresses == {f"10.0.0.1:{ports[PS]}": keys[PS], f"10.0.0.2:{ports[CHIEF]}": keys[CHIEF]}
    assert message.own == (f"10.0.0.2:{ports[CHIEF]}",)
    assert guard_message(None, "b", {}).addresses == {}


def test_an_adjustment_goes_with_what_it_needs() -> None:
    plan = local_plan("tune: {ready-poll: false}")
    assert not {"ready-poll", "worker-start"} & set(plan.adjustments)
    assert plan.notes == ("worker-start is off, since it needs ready-poll",)


def test_two_hosts_that_are_reached_as_one_are_noted() -> None:
    rest = "command: [t.py]\nmodel_dir: /m\nroles: {ps: {}, chief: {}}\nhosts: "
    entries = "[{name: a, address: 10.0.0.1, ssh: {host: %s}}, {name: b, address: 10.0.0.2, ssh: {host: h%s}}]"
    plan = plan_of(rest + entries % ("H", ""))
    assert plan.notes == ("hosts a and b are reached as one and the same: ssh h",)
    assert plan_of(rest + entries % ("h", ", port: 2222")).notes == ()


def test_the_python_of_ssh_hosts_is_the_deployed_one() -> None:
    plan = plan_of(
        "command: [t.py]\nmodel_dir: /m\npython: {venv: ~/v}\nsync: {to: ~/src}\n"
        "hosts: [{name: a, address: x}, {name: b, ssh: {}}]\nroles: {ps: {on: [a]}, chief: {on: [b]}}"
    )
    assert (plan.task(PS).argv[0], plan.task(PS).cwd) == ("/venv/bin/python", "/work")
    assert (plan.task(CHIEF).argv[0], plan.task(CHIEF).cwd) == ("~/v/bin/python", "~/src")
    assert plan.policy.lease_s == 60


# --- binding, JSON, errors --------------------------------------------------------------------------------------------


def test_a_port_that_is_missing_or_given_twice() -> None:
    plan = local_plan()
    ports = {planned.task: 3000 + number for number, planned in enumerate(plan.tasks)}
    with pytest.raises(HostError, match="local: has given port 3000 to ps:0 and to worker:1"):
        bind(plan, {**ports, WORKER_1: 3000}, 1)
    del ports[WORKER_1]
    with pytest.raises(HostError, match="local: has reserved no port for worker:1"):
        bind(plan, ports, 1)


@pytest.mark.parametrize("damage", [{"version": 2}, {"tasks": [{}]}, {"name": 3}, {"policy": None}, {"kinds": []}])
def test_a_damaged_plan_file(damage: dict[str, object]) -> None:
    body = json.loads(json.dumps(plan_to_json(local_plan())))
    with pytest.raises(PlanFormatError):
        plan_from_json({**body, **damage})


EXIT_CODES = [
    (Outcome.SUCCEEDED, None, "", 0),
    (Outcome.SUCCEEDED, None, "stop", 0),
    (Outcome.FAILED, "exception", "", 1),
    (Outcome.FAILED, "host", "", 3),
    (Outcome.TIMED_OUT, "timeout", "", 4),
    (Outcome.INTERRUPTED, None, "interrupt", 130),
    (Outcome.INTERRUPTED, None, "hangup", 130),
    (Outcome.INTERRUPTED, None, "stop", 130),
    (Outcome.INTERRUPTED, None, "terminate", 143),
]


@pytest.mark.parametrize(("outcome", "kind", "how", "code"), EXIT_CODES)
def test_exit_codes(outcome: Outcome, kind: str | None, how: str, code: int) -> None:
    assert exit_code(outcome, kind, StopHow(how) if how else None) == code


# --- size ----------------------------------------------------------------------------------------------------------


def test_ten_thousand_tasks() -> None:
    plan = plan_of(
        "command: [t.py]\nmodel_dir: /m\nhosts: [{name: 'n[0001-1000]', address: 'n[0001-1000].example', ssh: {}}]\n"
        "roles: {ps: {count: 50}, chief: {}, worker: {count: 9948}, evaluator: {}}"
    )
    bound = bound_plan(plan)
    assert len(plan.tasks) == 10_000
    for planned in plan.tasks[::97]:
        message = start_message(bound, planned.task, 1, run="r")
        assert len(f"TF_CONFIG={message.env['TF_CONFIG']}\0") <= MAX_VARIABLE_BYTES
        assert ("TFLAUNCH_TF_CONFIG_0" in message.env) == (planned.task.role is Role.PS)
    assert len(as_text(plan)) < 1_000_000
    assert plan_from_json(plan_to_json(plan)) == plan


def test_a_cluster_that_no_tf_config_can_hold() -> None:
    with pytest.raises(SpecError, match=r"c.yaml:2: roles: the cluster is too large"):
        plan_of("command: [t.py]\nroles: {ps: {count: 9000}, chief: {}, worker: {count: 9000}}")


# --- what is shown -------------------------------------------------------------------------------------------------


def golden_plan(name: str) -> Plan:
    around = Surroundings(python="/venv/bin/python", cwd="/work", env={})
    spec = read_spec(ROOT / f"cluster_specs/{name}.yaml")
    said = {"env": Override({"TOKEN": "s3cret"}, "--env"), "policy.grace_s": Override(9, "--grace-s")}
    spec = apply_overrides(spec, said)
    named = {path: type(origin)(Path(origin.file).name, origin.line) for path, origin in spec.origins.items()}
    return build_plan(spec.with_origins(named), around)


@pytest.mark.parametrize("name", ["local", "three_hosts_ssh", "gpu_workers"])
@pytest.mark.parametrize("form", ["txt", "json"])
def test_golden(name: str, form: str) -> None:
    """To write the files anew: TFLAUNCH_WRITE_GOLDEN=1 pytest …, and read the difference."""
    plan = golden_plan(name)
    text = as_text(plan) if form == "txt" else as_json(plan)
    path = GOLDEN / f"plan_{name}.{form}"
    if os.environ.get("TFLAUNCH_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert "s3cret" not in text


# --- logging, TensorBoard, timelines -------------------------------------------------------------------------------


def test_a_log_level_reaches_the_interpreter_that_imports_tensorflow() -> None:
    """TF_CPP_MIN_LOG_LEVEL is read while TensorFlow is imported: set in a forked task, it does nothing."""
    plan = local_plan("log_level: error")
    assert plan.tasks[0].env["TFLAUNCH_LOG_LEVEL"] == "error"
    (message,) = preload_messages(plan, "local")
    assert message.env["TF_CPP_MIN_LOG_LEVEL"] == "2"
    assert message.key != local_plan().tasks[0].preload_key
    assert "TF_CPP_MIN_LOG_LEVEL" not in local_plan().tasks[0].env


def test_a_cpp_log_level_of_the_users_own_stands() -> None:
    own = local_plan('log_level: error\nenv: {TF_CPP_MIN_LOG_LEVEL: "0"}').tasks[0].env
    assert own["TF_CPP_MIN_LOG_LEVEL"] == "0"
    text = "command: [train.py]\nlog_level: error\nroles: {ps: {}, chief: {}}"
    assert "TF_CPP_MIN_LOG_LEVEL" not in plan_of(text, env={"TF_CPP_MIN_LOG_LEVEL": "1"}).tasks[0].env


def test_tensorboard_and_profiles_switch_their_adjustments_on() -> None:
    assert not {"profile", "input-wait"} & set(local_plan().adjustments)
    plan = local_plan("tensorboard: true\nprofile_steps: 50")
    assert {"profile", "input-wait"} <= set(plan.adjustments)
    assert plan.tasks[0].env["TFLAUNCH_PROFILE_STEPS"] == "50"
    message = board_message(plan, "local", "/runs/r", run="r.1")
    assert message is not None and message.events == "/runs/r/events.jsonl"
    assert board_message(local_plan(), "local", "/runs/r", run="r.1") is None
    assert plan_from_json(plan_to_json(plan)) == plan
