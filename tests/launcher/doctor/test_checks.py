"""What the doctor makes of answers: one line for each fault, and none for hosts that are in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from launcher.doctor.checks import CHECKS, judge
from launcher.doctor.facts import Clock, Disk, Folder, HostFacts, Listening, OldRun, Reached, System, TaskPython
from launcher.doctor.findings import Finding, Level, exit_code
from launcher.doctor.host_rules import is_spared
from launcher.doctor.wanted import Interpreter, Need, Wanted
from launcher.plan.model import PlannedHost, PlannedTask
from launcher.spec.hosts import FAR
from launcher.wire.roles import TaskId

TASKS = {"a": ("ps:0", "chief:0"), "b": ("worker:0", "worker:1"), "c": ("worker:2", "evaluator:0")}


def need(name: str, **host: Any) -> Need:
    tasks = tuple(PlannedTask(task=TaskId.parse(task), host=name, argv=(), cwd="~", env={}) for task in TASKS[name])
    python = Interpreter(python=("python",), program=("train.py",), cwd="~", modules=("tensorflow",), env={})
    planned = PlannedHost(name=name, address=f"10.0.0.{ord(name) - 96}", traits=FAR, **host)
    return Need(host=planned, tasks=tasks, interpreters=(python,), model_dir="/mnt/m")


def wanted(**changed: Need) -> Wanted:
    return Wanted(needs={name: changed.get(name) or need(name) for name in TASKS}, chief="a", model_dir="/mnt/m")


SYSTEM = System(
    python="3.11.2",
    machine="x86_64",
    open_files=(4096, 1048576),
    cores=8,
    memory_mib=32000,
    available_mib=30000,
    disks=(Disk(place="/tmp", free_mib=50000, free_files=10**6),),
    gpus=(),
    listens_at="10.0.0.1",
)
PYTHON = TaskPython(
    python="python",
    version="3.11.2",
    tensorflow="2.15.1",
    import_s=3.0,
    folder="/w",
    program="t.py",
    program_found=True,
)
GOOD = HostFacts(
    connect_s=0.2,
    sessions=10,
    system=SYSTEM,
    pythons=(PYTHON,),
    listening=Listening(ports=(20000,), free=2),
    reached=tuple(Reached(host=name, port=20000, how="ok") for name in TASKS),
    folder=Folder(path="/mnt/m", words={name: name for name in TASKS}),
    clock=Clock(ahead_s=0.01, error_s=0.02),
)


def problems(wants: Wanted | None = None, **changed: HostFacts) -> list[Finding]:
    facts = {name: changed.get(name, GOOD) for name in TASKS}
    return [finding for finding in judge(wants or wanted(), facts) if finding.level >= Level.WARNING]


def test_hosts_in_order_have_no_problem_and_a_value_for_each_check() -> None:
    findings = judge(wanted(), dict.fromkeys(TASKS, GOOD))
    assert [finding for finding in findings if finding.level >= Level.WARNING] == []
    assert {(finding.check, finding.host) for finding in findings} == {(c.name, h) for c in CHECKS for h in TASKS}
    assert exit_code(findings) == 0


def test_requirements_are_judged_without_a_host() -> None:
    lost = replace(GOOD, trouble="no route", advice="look")
    lacking = replace(wanted(), lacks="names tensorflow without tf-keras")
    found = [(each.check, each.host) for each in problems(lacking, a=lost, b=lost, c=lost)]
    assert found == [(check, host) for check in ("reachable", "requirements") for host in TASKS]


def system(**changed: Any) -> HostFacts:
    return replace(GOOD, system=replace(SYSTEM, **changed))


def python(**changed: Any) -> HostFacts:
    return replace(GOOD, pythons=(replace(PYTHON, **changed),))


def folder(**changed: Any) -> HostFacts:
    assert GOOD.folder is not None
    return replace(GOOD, folder=replace(GOOD.folder, **changed))


def reach(how: str, host: str = "a") -> HostFacts:
    others = tuple(Reached(host=name, port=20000, how="ok") for name in TASKS if name != host)
    return replace(GOOD, reached=(*others, Reached(host=host, port=20000, how=how)))


FAULTS: list[tuple[str, HostFacts, str, str]] = [  # check, what host b says, level, words of the line
    ("reachable", HostFacts(trouble="no answer", advice="is it up?"), "failed", "no answer"),
    ("sessions", replace(GOOD, sessions=1), "warning", "MaxSessions"),
    ("python", python(version="3.10.4"), "failed", "Python 3.10.4, where a, c have 3.11.2"),
    ("python", python(version="3.11.9"), "warning", "Python 3.11.9, where a, c have 3.11.2"),
    ("tensorflow", python(tensorflow="2.15.0"), "failed", "TensorFlow 2.15.0, where a, c have 2.15.1"),
    ("import", python(start_problem="No such file", version=None, tensorflow=None), "failed", "cannot run python"),
    ("import", python(version=None, tensorflow=None, exit=1, last_words="boom"), "failed", "does not work: boom"),
    ("import", python(import_s=None, exit=1, last_words="No module named 'tensorflow'"), "failed", "No module named"),
    ("import", python(import_s=None, exit=-4), "failed", "killed by SIGILL"),
    ("import", python(import_s=None, exit=-9), "failed", "killed by SIGKILL"),
    ("import", python(import_s=None, exit=None, last_words="it has not ended within 9 s"), "failed", "within 9 s"),
    ("import", python(estimator_problem="ImportError: no"), "warning", "tf.estimator does not work"),
    ("command", python(folder_problem="it is not there"), "failed", "/w: it is not there"),
    ("command", python(program_found=False), "failed", "there is no t.py in /w"),
    ("ports", replace(GOOD, listening=Listening(free=1, problem="full")), "failed", "1 free port (full) for 2 tasks"),
    *(
        ("network", reach(how), "failed", "does not reach a at 10.0.0.1:20000")
        for how in ("timeout", "refused", "forbidden")
    ),
    *(("network", reach(how), "failed", "does not reach a") for how in ("no such name", "unreachable", "Odd error")),
    ("network", reach("somebody else"), "failed", "another machine or program answers there"),
    ("network", reach("timeout", "c"), "warning", "they need not"),
    ("model_dir", folder(problem="Permission denied"), "failed", "cannot write to /mnt/m: Permission denied"),
    ("model_dir", folder(words={"b": "b"}), "failed", "another folder than that of a"),
    ("run folder", replace(GOOD, sees_runs=False), "failed", "is not there, or is another folder than here"),
    ("clock", replace(GOOD, clock=Clock(ahead_s=-5.0, error_s=0.1)), "warning", "5.0 s behind the others"),
    ("clock", replace(GOOD, clock=Clock(ahead_s=4000.0, error_s=0.1)), "failed", "4,000.0 s ahead of the others"),
    ("disk", system(disks=(Disk(place="/tmp", free_mib=3),)), "failed", "/tmp: 3 MiB left for the output of tasks"),
    ("disk", system(disks=(Disk(place="/mnt/m", free_mib=300),)), "warning", "300 MiB left for checkpoints"),
    ("disk", system(disks=(Disk(place="/tmp", free_mib=9000, free_files=3),)), "failed", "no room for names"),
    ("disk", system(disks=(Disk(place="/tmp", free_mib=9000, read_only=True),)), "failed", "read-only"),
    ("memory", system(available_mib=500), "warning", "500 MiB available for 2 tasks"),
    ("cores", system(cores=1.5), "warning", "2 trainers share 1.5 cores"),
    ("open files", system(open_files=(80, 80)), "failed", "may open 80 files; with 6 tasks"),
    ("open files", system(open_files=(512, 4096)), "warning", "may open 512 files"),
    ("proxies", system(proxies=("http_proxy",)), "failed", "http_proxy is set there"),
    ("proxies", system(proxies=("http_proxy",), no_proxy="10.0.0.1,10.0.0.2"), "failed", "would reach c by"),
    ("guard", system(open_ports="its C library is not glibc"), "warning", "its C library is not glibc"),
    ("guard", system(listens_at=""), "warning", "10.0.0.2 is no address of its own"),
    ("TF_CONFIG", system(tf_config=True), "warning", "TF_CONFIG is set"),
    ("old runs", system(runs=(OldRun(run="night.0badcafe", pid=7),)), "warning", "run night is alive there"),
]


@pytest.mark.parametrize(("check", "said", "level", "words"), FAULTS, ids=[f"{f[0]}-{f[3]}" for f in FAULTS])
def test_each_fault_has_one_line(check: str, said: HostFacts, level: str, words: str) -> None:
    found = [finding for finding in problems(b=said) if finding.host == "b"]
    assert [(finding.check, str(finding.level)) for finding in found] == [(check, level)], found
    assert words in found[0].message and found[0].advice


def test_every_check_has_a_fault_here() -> None:
    assert {check for check, *_ in FAULTS} | {"GPUs", "requirements"} == {check.name for check in CHECKS}


def test_gpus_that_the_spec_promises() -> None:
    wants = wanted(b=need("b", gpus=2))
    (missing,) = problems(wants, b=system(gpus=("GPU 0: T4",)))
    assert (missing.check, missing.level) == ("GPUs", Level.FAILED) and "1 of the 2 GPUs" in missing.message
    unseen = replace(system(gpus=("GPU 0", "GPU 1")), pythons=(replace(PYTHON, gpus=0),))
    assert "TensorFlow sees 0 of its 2 GPUs" in problems(wants, b=unseen)[0].message
    seen = replace(system(gpus=("GPU 0", "GPU 1")), pythons=(replace(PYTHON, gpus=2),))
    assert problems(wants, b=seen) == []


def test_a_locked_model_dir_is_told_once_by_the_chiefs_host() -> None:
    held = folder(holder={"run": "night", "host": "a", "pid": 7, "since": "noon"})
    (found,) = problems(a=held, b=held, c=held)
    assert (found.host, found.level) == ("a", Level.FAILED)
    assert "in use by run night (host a, pid 7, since noon)" in found.message


def test_a_question_without_an_answer_fails_its_checks_alone() -> None:
    found = problems(b=replace(GOOD, folder=None, unanswered={"write": "not within 20 s"}))
    assert [(finding.check, finding.host) for finding in found if finding.host == "b"] == [("model_dir", "b")]
    assert "not within 20 s" in found[-1].message


def test_the_version_of_the_chiefs_host_counts_among_equals() -> None:
    wants = Wanted(needs={name: need(name) for name in ("b", "a")}, chief="a", model_dir=None)
    findings = judge(wants, {"a": GOOD, "b": python(tensorflow="2.14.0")})
    assert [finding.host for finding in findings if finding.level is Level.FAILED] == ["b"]


def test_clocks_are_compared_with_what_most_have() -> None:
    fast = replace(GOOD, clock=Clock(ahead_s=60.0, error_s=0.1))
    assert problems(a=fast, b=fast, c=fast) == []  # then it is this machine's that is off
    unsure = replace(GOOD, clock=Clock(ahead_s=3.0, error_s=2.5))
    assert problems(b=unsure) == []


@pytest.mark.parametrize(
    ("no_proxy", "spared"),
    [
        ("", False),
        ("10.0.0.7", True),
        (" .example.org , 10.0.0.7", True),
        ("10.0.0.0/8", True),
        ("10.1.0.0/16", False),
        ("*", True),
        (".0.7", True),
        ("nonsense/8", False),
    ],
)
def test_no_proxy_as_grpc_reads_it(no_proxy: str, spared: bool) -> None:
    assert is_spared("10.0.0.7", no_proxy) is spared


def test_a_spec_can_spare_the_hosts_the_proxy() -> None:
    said = system(proxies=("http_proxy",))
    python = replace(need("b").interpreters[0], env={"no_proxy": "10.0.0.0/24"})
    assert problems(wanted(b=replace(need("b"), interpreters=(python,))), b=said) == []
