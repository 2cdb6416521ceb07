"""Text in, problems out: what is said about specs that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.spec import parse_spec, read_spec
from launcher.spec.source import decode
from launcher.wire.errors import SpecError, UsageError

GOOD = "command: [train.py]\nroles: {ps: {}, chief: {}, worker: {count: 2}}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "c.yaml")
    return [str(problem) for problem in caught.value.problems]


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)
YAML_CASES = {
    "": "c.yaml:1: is empty",
    "# nothing\n": "c.yaml:1: is empty",
    "- a\n": "c.yaml:1: must be a mapping with keys such as 'command' and 'roles', got a list",
    "just text": "c.yaml:1: must be a mapping with keys such as 'command' and 'roles', got the text 'just text'",
    "roles:\n\tps: {}": "c.yaml:2: is indented with a tab; YAML wants spaces",
    "roles: {ps: {}\ncommand: [a]\n": "c.yaml:2: is not YAML: ",
    "roles: [": "c.yaml:1: is not YAML: ",
    "roles: *nobody": "c.yaml:1: is not YAML: ",
    f"{GOOD}---\na: b": "c.yaml:3: starts a second document; a spec is one document",
    f"{GOOD}name: a\x00b": "c.yaml:3: contains the control character U+0000; remove it",
    f'{GOOD}name: "a\\0b"': "c.yaml:3: name: contains the control character U+0000; remove it",
    f"{GOOD}name: a\nname: b": "c.yaml:4: name: appears twice; the first is in line 3",
    f"{GOOD}? [a]\n: b": "c.yaml:3: has a list or a mapping as a key; keys are plain words",
    f"{GOOD}env: !secret x": "c.yaml:3: env: has the tag !secret; tags mean nothing here, remove it",
    f"{GOOD}env: &e\n  A: *e": "c.yaml:3: env.A: contains itself through an alias",
    "[" * 5000 + "]" * 5000: "c.yaml:1: is nested more than 50 levels deep",
    "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
    ): ("c.yaml:1: has aliases that unfold to more than 500000 values; write fewer"),
}


@pytest.mark.parametrize("text", YAML_CASES, ids=range(len(YAML_CASES)))
def test_yaml_that_cannot_be_read(text: str) -> None:
    assert problems(text)[0].startswith(YAML_CASES[text])


ONE_PROBLEM = {
    # unknown keys and names, with the near miss
    "rols: {}": "rols: unknown key 'rols'; did you mean 'roles'?",
    "colour: red": "colour: unknown key 'colour'; known are name, command,",
    "policy: {grace: 3}": "policy.grace: unknown key 'grace'; did you mean 'grace_s'?",
    "policy: {model_dir: /m}": "policy.model_dir: unknown key 'model_dir'; 'model_dir' belongs at the top of the spec",
    "tune: {redy-poll: true}": "tune.redy-poll: unknown adjustment 'redy-poll'; did you mean 'ready-poll'?",
    "policy: {success: chef}": "policy.success: must be 'chief' or 'all_workers', got the text 'chef'; "
    "did you mean 'chief'?",
    # wrong types, in words
    "env: [A]": "env: must be a mapping of names and values, such as {OMP_NUM_THREADS: 2}, got a list",
    "env: {A: true}": "env.A: must be text, got true; put it in quotes if the text is meant",
    "env: {A: }": "env.A: must be text, got nothing; write '' for an empty text",
    "env: {A: {B: C}}": "env.A: must be text, got a mapping",
    "policy: {grace_s: soon}": "policy.grace_s: must be a number, got the text 'soon'",
    "policy: {grace_s: -1}": "policy.grace_s: must be 0 or more, got -1",
    "policy: {start_timeout_s: 0}": "policy.start_timeout_s: must be more than 0, got 0",
    "policy: {timeout_s: .nan}": "policy.timeout_s: must be a finite number, got .nan",
    "policy: {timeout_s: -.inf}": "policy.timeout_s: must be a finite number, got -.inf",
    f"policy: {{timeout_s: {'9' * 200}}}": "policy.timeout_s: must be at most",
    f"policy: {{timeout_s: {'9' * 5000}}}": "policy.timeout_s: must be ",
    "policy: {restarts: {ps: 1.5}}": "policy.restarts.ps: must be a whole number, got 1.5",
    "policy: {restarts: -1}": "policy.restarts: must be 0 or more, got -1",
    "policy: [a]": "policy: must be a mapping, got a list",
    "tune: {ready-poll: yes}": "tune.ready-poll: must be true or false, got the text 'yes'",
    "preload: tensorflow": "preload: must be a list, such as [tensorflow], got the text 'tensorflow'",
    "preload: [a-b]": "preload[0]: is no name of a Python module: 'a-b'",
    "inject: [crash worker:0]": "inject[0]: not a fault drill: 'crash worker:0'; write 'kill worker:1 at step 200'",
    "inject: [kill master:0 at step 3]": "inject[0]: not a task: 'master:0'; write it as worker:0",
    "inject: [kill worker:0 for 3s at step 3]": "inject[0]: 'kill' takes neither 'for' nor 'with'",
    "inject: [exit worker:0 with 300 after 3s]": "inject[0]: 'exit' needs 'with' and an exit code from 0 to 255",
    "name: a/b": "name: must be made of letters, digits, '.', '-' and '_'",
    "model_dir: ''": "model_dir: is empty",
    # names of variables
    "env: {TF_CONFIG: x}": "env.TF_CONFIG: TF_CONFIG is made by tflaunch, for each task its own; remove it",
    "env: {TF_GRPC_REUSE_PORT: 0}": "env.TF_GRPC_REUSE_PORT: TF_GRPC_REUSE_PORT belongs to tflaunch; remove it",
    "env: {TFLAUNCH_RUN: 0}": "env.TFLAUNCH_RUN: TFLAUNCH_RUN belongs to tflaunch; remove it",
    "env: {A B: x}": "env['A B']: 'A B' is no name of a variable",
    "env: {1A: x}": "env.1A: '1A' is no name of a variable",
    f"env: {{A: {'x' * 131000}}}": "env.A: is longer than 130,000 bytes",
    # hosts
    "hosts: []": "hosts: is empty",
    "hosts: [a]": "hosts[0]: must be a mapping, such as {name: a, address: 10.0.0.1}, got the text 'a'",
    "hosts: [{address: 10.0.0.1}]": "hosts[0].name: is missing",
    "hosts: [{name: a b}]": "hosts[0].name: may have letters, digits,",
    "hosts: [{name: 'a[3-1]'}]": "hosts[0].name: has a range that runs backwards: [3-1]",
    "hosts: [{name: 'a[1-2]b[1-2]'}]": "hosts[0].name: has two ranges",
    "hosts: [{name: 'a[1-999999999]'}]": "hosts[0].name: has a range of 999999999 hosts; at most 20000 are possible",
    "hosts: [{name: 'a[1]'}]": "hosts[0].name: has no range that can be read in 'a[1]'",
    "hosts: [{name: a, address: '10.0.0.1:22'}]": "hosts[0].address: names a port; write the address alone (",
    "hosts: [{name: a, address: '::1'}]": "hosts[0].address: is an IPv6 address",
    "hosts: [{name: a, address: 'a/b'}]": "hosts[0].address: is neither a host name nor an IP address",
    "hosts: [{name: a, address: a..b}]": "hosts[0].address: is neither a host name nor an IP address",
    "hosts: [{name: a, address: 10.0.0.256}]": "hosts[0].address: is no IP address of a host: 10.0.0.256",
    "hosts: [{name: a, address: 10.0.0}]": "hosts[0].address: is no IP address of a host: 10.0.0",
    "hosts: [{name: a, address: 0.0.0.0}]": "hosts[0].address: is no IP address of a host: 0.0.0.0",
    "hosts: [{name: 'a[1-9]', address: '10.0.0.[248-256]', ssh: {}}]": "hosts[0].address: is no IP address of a host: "
    "10.0.0.256",
    "hosts: [{name: a, ports: high}]": "hosts[0].ports: must be a range of ports, such as 20000-20999",
    "hosts: [{name: a, ports: 30-20}]": "hosts[0].ports: has a range that runs backwards: 30-20",
    "hosts: [{name: a, ports: 0-70000}]": "hosts[0].ports: must lie between 1 and 65535",
    "hosts: [{name: a, ports: 20000-20001}]": "hosts[0].ports: has 2 ports, and host 'a' gets 4 tasks; widen the range",
    "hosts: [{name: a, ssh: {prot: 22}}]": "hosts[0].ssh.prot: unknown key 'prot'; did you mean 'port'?",
    "hosts: [{name: a, ssh: {port: 0}}]": "hosts[0].ssh.port: must be 1 or more, got 0",
    "hosts: [{name: a, ssh: {}}, {name: a, ssh: {}, address: b}]": "hosts[1].name: 'a' is the name of two hosts",
    "hosts: [{name: 'n[1-2]', ssh: {}, address: b}]": "hosts[0].address: stands for 1 addresses, and the name for 2",
    "hosts: [{name: a, address: x, ssh: {}}, {name: b, address: X, ssh: {}}]": "hosts[1].address: 'X' of host "
    "'b' is the address of host 'a', too; each needs its own",
    "hosts: [{name: a}, {name: b}]": "hosts[1]: host 'b' has no 'ssh', so its tasks would run on this machine, like "
    "those of 'a'; add 'ssh: {}'",
    "hosts: [{name: a, address: 127.0.0.1}, {name: b, ssh: {}}]": "hosts[0].address: '127.0.0.1' can be reached from "
    "its own host only",
    "hosts: [{name: a}, {name: b, ssh: {}}]\nmodel_dir: models/x": "model_dir: 'models/x' is not the same folder on "
    "every host; several hosts must reach it",
    # python
    "python: {path: /p, venv: /v}": "python.path: contradicts python.venv; keep one of them",
    "python: {requirements: r.txt}": "python.requirements: needs python.venv, the environment to install into",
    # what does not fit together
    "tune: {worker-start: true, ready-poll: false}": "tune.worker-start: needs 'ready-poll', which is switched off",
    "inject: [kill worker:2 at step 3]": "inject[0]: there is no task worker:2: roles.worker has 2",
    "inject: [kill evaluator:0 at step 3]": "inject[0]: there is no task evaluator:0: roles.evaluator has none",
}


@pytest.mark.parametrize("text", ONE_PROBLEM, ids=range(len(ONE_PROBLEM)))
def test_one_problem_with_its_line_and_path(text: str) -> None:
    [problem] = problems(GOOD + text)
    line = 4 if "model_dir: models/x" in text else 3
    assert problem.startswith(f"c.yaml:{line}: {ONE_PROBLEM[text]}")


ROLES = {
    "{ps: {}, chief: {}, wroker: {}}": "roles.wroker: unknown role 'wroker'; did you mean 'worker'?",
    "{ps: {}, cheif: {}}": "roles.cheif: unknown role 'cheif'; did you mean 'chief'?",
    "{ps: {}, chief: {}, boss: {}}": "roles.boss: unknown role 'boss'; roles are ps, chief, worker, evaluator",
    "{ps: {}, master: {}}": "roles.master: is tf.estimator's old name of the chief; call it 'chief'",
    "{ps: {}}": "roles: has no chief; add 'chief: {}', or 'chief: {count: 0}' where the first worker is to take its",
    "{ps: {}, chief: {count: 2}}": "roles.chief.count: must be 0 or 1, got 2: a cluster has one chief at most",
    "{ps: {}, chief: {count: 0}}": "roles.chief.count: must be 1, got 0: without a chief and without workers nobody",
    "{ps: {}, chief: {}, evaluator: {count: 2}}": "roles.evaluator.count: must be 0 or 1, got 2: tf.estimator knows",
    "{chief: {}, worker: {}}": "roles: has workers but no ps; add 'ps: {count: 1}' for variables on parameter servers",
    "{chief: {count: 0}, worker: {}}": "roles: has workers but no ps; add 'ps: {count: 1}'",
    "{ps: {gpus: 1}, chief: {}}": "roles.ps.gpus: must be 0: ps tasks do not use GPUs here, give them to trainers",
    "{ps: {}, chief: {gpus: 1}}": "roles.chief.gpus: host 'local' has 0 GPUs, and its tasks ask for 1",
    "{ps: {}, chief: {}, worker: 3}": "roles.worker: must be a mapping, such as {count: 2}, got 3",
    "{ps: {}, chief: {}, worker: {count: many}}": "roles.worker.count: must be a whole number, got the text 'many'",
    "{ps: {}, chief: {}, worker: {count: 1.0}}": "roles.worker.count: must be a whole number, got 1.0",
    "{ps: {}, chief: {}, worker: {count: 1000001}}": "roles.worker.count: must be at most 100,000, got 1000001",
    "{ps: {}, chief: {}, worker: {on: local}}": "roles.worker.on: must be a list, such as [local], got the text",
    "{ps: {}, chief: {}, worker: {on: [lcal]}}": "roles.worker.on[0]: unknown host 'lcal'; did you mean 'local'?",
    "": "roles: must be a mapping, got nothing",
}


@pytest.mark.parametrize("roles", ROLES, ids=range(len(ROLES)))
def test_roles(roles: str) -> None:
    [problem] = problems(f"command: [train.py]\nroles: {roles}")
    assert problem.startswith(f"c.yaml:2: {ROLES[roles]}")


COMMANDS = {
    "[]": "command: is empty; write what to run: [python, train.py]",
    "['']": "command: is empty; write what to run: [python, train.py]",
    "python train.py": "command: must be a list, such as [python, train.py], got the text 'python train.py'",
    "[python]": "command: starts Python without a script",
    "[python, -m]": "command: has -m without a module",
    "[--flag]": "command: begins with the option '--flag'",
    "[train.py, true]": "command[1]: must be text, got true; put it in quotes if the text is meant",
}


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_commands(command: str) -> None:
    [problem] = problems(f"roles: {{chief: {{}}}}\ncommand: {command}")
    assert problem.startswith(f"c.yaml:2: {COMMANDS[command]}")


def test_all_problems_at_once_in_order_of_line() -> None:
    text = """\
roles:
  chief: {count: 2}
  wroker: {count: yes}
  worker: {count: 3, on: [ab], gpus: 1, env: {TF_CONFIG: x}}
hosts:
  - {name: aa, prots: 3}
  - name: b c
command: python train.py
tune: {redy-poll: true}
inject: [kill worker:7 at step 2]
policy:
  succes: chief
  grace_s: -1
  timeout_s: .nan
"""
    starts = [problem.rpartition(": ")[0] and problem.split(": ")[:2] for problem in problems(text)]
    assert starts == [
        ["c.yaml:1", "roles"],
        ["c.yaml:2", "roles.chief.count"],
        ["c.yaml:3", "roles.wroker"],
        ["c.yaml:4", "roles.worker.env.TF_CONFIG"],
        ["c.yaml:6", "hosts[0].prots"],
        ["c.yaml:7", "hosts[1].name"],
        ["c.yaml:8", "command"],
        ["c.yaml:9", "tune.redy-poll"],
        ["c.yaml:10", "inject[0]"],
        ["c.yaml:12", "policy.succes"],
        ["c.yaml:13", "policy.grace_s"],
        ["c.yaml:14", "policy.timeout_s"],
    ]


def test_values_of_variables_are_not_repeated_in_problems() -> None:
    [problem] = problems(f"{GOOD}env: {{TOKEN: [s3cret]}}")
    assert "s3cret" not in problem


def test_cuda_devices_are_decided_once() -> None:
    text = "hosts: [{name: a, gpus: 1}]\ncommand: [t.py]\nroles:\n  chief: {gpus: 1}\nenv: {CUDA_VISIBLE_DEVICES: 3}"
    [problem] = problems(text)
    assert problem.startswith("c.yaml:5: env.CUDA_VISIBLE_DEVICES: contradicts roles.chief.gpus")


def test_more_gpus_than_the_host_has() -> None:
    text = "hosts: [{name: a, gpus: 2}]\nroles: {ps: {}, chief: {gpus: 1}, worker: {count: 2, gpus: 1}}"
    assert "host 'a' has 2 GPUs, and its tasks ask for 3" in problems(text)[0]


def test_one_model_dir_only() -> None:
    [problem] = problems("roles: {chief: {}}\ncommand: [t.py, --model_dir=/b]\nmodel_dir: /a")
    assert problem == "c.yaml:3: model_dir: is '/a', and the command says --model-dir /b; write {model_dir} there"


def test_a_file_that_is_not_utf8_names_the_line() -> None:
    with pytest.raises(SpecError, match=r"c.yaml:2: is not UTF-8 \(byte 0xe9\)"):
        decode(b"roles: {}\nname: \xe9t\xe9", "c.yaml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the cluster spec: No such file or directory"):
        read_spec(tmp_path / "no.yaml")


def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no file; name a cluster spec"):
        read_spec(tmp_path)


@pytest.mark.parametrize(("written", "meant"), [("modeldir", "model_dir"), ("ROLE", "role"), ("indx", "index")])
def test_a_misspelt_placeholder_is_no_word_of_the_program(written: str, meant: str) -> None:
    (problem,) = problems(GOOD.replace("train.py", f'train.py, "--out={{{written}}}"'))
    assert problem == f"c.yaml:1: command: has {{{written}}}, which is not filled in; did you mean {{{meant}}}?"


def test_other_braces_are_the_program_s_own() -> None:
    parse_spec(GOOD.replace("train.py", """train.py, '{"role": "{lr}"}', "{model}", "{0}", "{index}" """), "c.yaml")
