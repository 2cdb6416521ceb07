"""Starting, stopping and ending of tasks, with real processes."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.agent.system import processes
from launcher.wire import protocol
from launcher.wire.private import folder
from launcher.wire.words.noise import KINDS
from tests.launcher.agent.harness import Host, alive, until

HOSTILE = [
    "$(touch x) `id` ; & | > ' \" \\ {a,b} * ~ !",
    "line\nbreak\ttab",
    "漢字 🙂",
    "",
    "--flag=",
    "%s %d {0}",
    "a" * 100_000,
]


def test_exit_code_tail_and_length_of_output(host: Host) -> None:
    exited = host.run("worker:1", "print=last words", "exit=3")
    assert (exited.exit_code, exited.signal, exited.stopped) == (3, None, False)
    assert (exited.tail, exited.output_bytes) == ("last words", 11)
    assert host.wait_output("worker-1.1", 11) == b"last words\n"


def test_noise_is_no_last_word(host: Host) -> None:
    noise = "\n".join(kind.example for kind in KINDS)
    exited = host.run("worker:0", "print=last words", *[f"print={noise}"] * 20, "exit=3")
    assert exited.output_bytes > 16_000
    assert exited.tail == "last words"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_of_tasks_are_as_open_as_the_user_makes_them(make_host: Callable[..., Host], umask: int) -> None:
    before = os.umask(umask)
    try:
        host = make_host().connect()
    finally:
        os.umask(before)
    exited = host.run("chief:0", "umask", "cwd", cwd="~")
    lines = host.wait_output("chief-0.1", exited.output_bytes).splitlines()
    assert [json.loads(line) for line in lines] == [umask, str(Path.home())]
    sockets = [host.home / name for name in (folder.AGENT_SOCKET, folder.TASK_SOCKET)]
    assert [path.stat().st_mode & 0o777 for path in sockets] == [0o600, 0o600]


def test_a_crash_names_its_signal(host: Host) -> None:
    exited = host.run("worker:0", "crash=SIGSEGV")
    assert (exited.exit_code, exited.signal, exited.out_of_memory) == (None, signal.SIGSEGV, False)


def test_a_kill_from_elsewhere_is_not_taken_for_want_of_memory(host: Host) -> None:
    exited = host.run("worker:0", "crash=SIGKILL")
    assert (exited.signal, exited.out_of_memory, exited.stopped) == (9, False, False)


def test_hostile_arguments_and_values_arrive_unchanged(host: Host, tmp_path: Path) -> None:
    env: dict[str, str | None] = {f"HOSTILE_{n}": value for n, value in enumerate(HOSTILE)}
    words = [f"env={name}" for name in env] + [f"ignored={value}" for value in HOSTILE]
    cwd = tmp_path / "a folder $(with) 'a name'"
    cwd.mkdir()
    exited = host.run("chief:0", "argv", "cwd", *words, env=env, cwd=str(cwd))
    lines = [json.loads(line) for line in host.wait_output("chief-0.1", exited.output_bytes).splitlines()]
    assert lines[0] == ["argv", "cwd", *words]
    assert lines[1] == str(cwd)
    assert lines[2:] == [[name, value] for name, value in env.items()]


def test_a_variable_can_be_unset_and_the_task_is_told_who_it_is(host: Host) -> None:
    names = ["HOME", "TFLAUNCH_TASK", "TFLAUNCH_ATTEMPT", "TFLAUNCH_TASK_SOCKET", "TFLAUNCH_RUN", "TF_GRPC_REUSE_PORT"]
    exited = host.run("ps:0", *(f"env={name}" for name in names), env={"HOME": None})
    lines = host.wait_output("ps-0.1", exited.output_bytes).splitlines()
    got = dict(json.loads(line) for line in lines)
    socket_path = str(host.home / folder.TASK_SOCKET)
    assert list(got.values()) == [None, "ps:0", "1", socket_path, host.options.run, "1"]


def test_a_task_has_no_descriptor_of_the_agent_and_a_session_of_its_own(host: Host) -> None:
    code = "import os; print(sorted(os.listdir('/proc/self/fd'))); print(os.getsid(0) == os.getpgid(0) == os.getpid())"
    exited = host.run("worker:0", argv=(sys.executable, "-I", "-S", "-c", code))
    assert (
        host.wait_output("worker-0.1", exited.output_bytes) == b"['0', '1', '2', '3']\nTrue\n"
    )  # 3: the listing itself


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"argv": ("no-such-program",)}, "command 'no-such-program' not found"),
        ({"argv": ("/no/such/program",)}, "command '/no/such/program' not found"),
        ({"argv": ("/etc/passwd",)}, "make it executable"),
        ({"cwd": "/no/such/folder"}, "cannot work in /no/such/folder"),
        ({"argv": ()}, "no command"),
        ({"env": {"A": "x" * 200_000}}, "shorten its arguments or environment"),
        ({"argv": ("a\0b",)}, "embedded null"),
    ],
)
def test_what_cannot_be_started_is_refused_with_advice(host: Host, fields: dict[str, object], words: str) -> None:
    host.start("worker:0", **fields)
    refused = host.wait(protocol.Refused)
    assert (refused.command, refused.task, refused.attempt) == ("start", "worker:0", 1)
    assert words in refused.message
    assert host.run("worker:0", "exit=0", attempt=2).exit_code == 0


def test_a_second_attempt_is_refused_while_the_first_lives(host: Host) -> None:
    host.start("worker:0", "hang")
    host.started("worker:0")
    host.start("worker:0", "hang", attempt=2)
    assert "has not ended" in host.wait(protocol.Refused).message


def test_the_ladder_kills_what_ignores_term(host: Host, tmp_path: Path) -> None:
    host.start("ps:0", "ignore-term", "child", f"touch={tmp_path}/up", "hang")
    until((tmp_path / "up").exists, "the task")
    host.send(protocol.Stop(task="ps:0", attempt=1, grace_s=0.05))
    exited = host.wait(protocol.Exited)
    assert (exited.signal, exited.stopped, exited.out_of_memory) == (signal.SIGKILL, True, False)
    assert exited.resisted_s == 0.05


def test_the_ladder_begins_with_term(host: Host) -> None:
    host.start("worker:0", "hang")
    host.started("worker:0")
    host.send(protocol.Stop(task="worker:0", attempt=1, grace_s=3600))
    exited = host.wait(protocol.Exited)
    assert (exited.signal, exited.resisted_s) == (signal.SIGTERM, 0.0)


def stopped_task(host: Host) -> None:
    host.start("worker:0", "hang")
    pid = host.started("worker:0").pid
    host.send(protocol.Signal(task="worker:0", attempt=1, signal=signal.SIGSTOP))
    until(lambda: (process := processes.read(pid)) is not None and process.state == "T", "the stop")


def test_a_stopped_process_hears_term_at_once(host: Host) -> None:
    stopped_task(host)
    host.send(protocol.Stop(task="worker:0", attempt=1, grace_s=3600.0))
    assert host.wait(protocol.Exited).signal == signal.SIGTERM


def test_a_stopped_process_can_be_killed(host: Host) -> None:
    stopped_task(host)
    host.send(protocol.Stop(task="worker:0", attempt=1, grace_s=0.0))
    assert host.wait(protocol.Exited).signal == signal.SIGKILL


def test_a_signal_reaches_the_group(host: Host) -> None:
    host.start("worker:0", "hang")
    host.started("worker:0")
    host.send(protocol.Signal(task="worker:0", attempt=1, signal=signal.SIGUSR1))
    exited = host.wait(protocol.Exited)
    assert (exited.signal, exited.stopped) == (signal.SIGUSR1, False)


@pytest.mark.parametrize("kind", ["child", "child-setsid"])
@pytest.mark.parametrize("end", ["exit=0", "crash=SIGKILL"])
def test_grandchildren_are_gone_when_the_end_is_said(host: Host, kind: str, end: str) -> None:
    host.start("evaluator:0", "hang")  # a neighbour, so that nothing is found just because nobody else is there
    before = {*host.members, host.started("evaluator:0").pid}
    exited = host.run("worker:0", kind, kind, end)
    assert exited.since_s > 0, "its end is not its process's"
    assert {pid for pid in host.members if alive(pid)} <= before
    assert alive(host.started("evaluator:0").pid)


def test_reports_and_tells_pass_between_task_and_supervisor(host: Host) -> None:
    host.send(protocol.Tell(task="", message=protocol.Gate(open=False)))
    host.send(protocol.Tell(task="", message=protocol.Gate(open=True)))
    host.start("chief:0", "gate", "ready", "garbage", "step=7:70", "barrier", "finished=8", "exit=0")
    report = host.wait(protocol.Reported, lambda body: isinstance(body.report, protocol.Step))
    assert report.report == protocol.Step(global_step=7, local_steps=7, examples=70)
    host.send(protocol.Tell(task="chief:0", message=protocol.Barrier()))
    assert host.wait(protocol.Exited).exit_code == 0
    kinds = [type(body.report) for body in host.bodies(protocol.Reported)]
    assert kinds == [protocol.Ready, protocol.Step, protocol.Finished]


def test_what_is_told_before_a_task_connects_waits_for_it(host: Host, tmp_path: Path) -> None:
    host.start("evaluator:0", f"wait-file={tmp_path}/go", "drain", "exit=0")
    host.started("evaluator:0")
    host.send(
        protocol.Tell(task="evaluator:0", message=protocol.Drain(global_step=5)), protocol.Prove(task="x", attempt=1)
    )
    host.wait(protocol.Refused)  # the answer to what came after it: the agent has had it
    (tmp_path / "go").touch()
    assert host.wait(protocol.Exited).exit_code == 0


def test_usage_counts_the_whole_attempt(host: Host) -> None:
    host.start("worker:0", argv=("sh", "-c", f"{sys.executable} -S -c 'while True: pass' & wait"))
    busy = host.wait(protocol.Usage, lambda body: body.cpu.get("worker:0", 0) > 0.1)
    assert busy.rss_mib["worker:0"] > 3
