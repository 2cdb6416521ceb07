"""Tasks forked from a preloaded interpreter, which imports nothing here but the standard library."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

from launcher.agent.system.loop import Loop
from launcher.agent.tasks.interpreters import Preloads
from launcher.wire import protocol
from tests.launcher.agent.harness import FAKE_TASK, Host, alive, kill, until


def preload(host: Host, *modules: str, python: str = sys.executable) -> None:
    host.send(protocol.Preload(key="py", python=(python,), modules=modules))


def fork(host: Host, task: str, *words: str, attempt: int = 1, env: dict[str, str] | None = None) -> None:
    program = (FAKE_TASK, *words)
    host.start(task, attempt=attempt, argv=(sys.executable, *program), program=program, preload="py", env=env or {})


def ready(host: Host, count: int = 1) -> protocol.PreloadState:
    host.wait(
        protocol.PreloadState,
        lambda body: sum(state.state == "ready" for state in host.bodies(protocol.PreloadState)) >= count,
    )
    return [state for state in host.bodies(protocol.PreloadState) if state.state == "ready"][-1]


def kill_after(pid: int, delay_s: float) -> None:
    """At some moment of what happens meanwhile: which one is not this test's to say."""
    timer = threading.Timer(delay_s, kill, [pid])
    timer.start()
    timer.join()


def test_tasks_asked_for_before_it_is_ready_are_forked_from_it(host: Host) -> None:
    preload(host, "json")
    fork(host, "worker:0", "argv", "env=A", "exit=3", env={"A": "ä $(b)\n"})
    exited = host.wait(protocol.Exited)
    assert (host.started("worker:0").start, exited.exit_code) == ("fork", 3)
    lines = host.wait_output("worker-0.1", exited.output_bytes).splitlines()
    assert [json.loads(line) for line in lines] == [["argv", "env=A", "exit=3"], ["A", "ä $(b)\n"]]


@pytest.mark.parametrize("size", [50_000, 120_000])
def test_long_environments_arrive(host: Host, size: int) -> None:
    preload(host)
    fork(host, "worker:0", "env=A", "env=B", env={"A": "a" * size, "B": "b" * size})
    exited = host.wait(protocol.Exited)
    assert exited.exit_code == 0, exited.tail
    assert exited.output_bytes == 2 * (size + len('["A", ""]\n'))


def test_forked_tasks_stop_and_take_their_children_along(host: Host, tmp_path: Path) -> None:
    preload(host)
    fork(host, "ps:0", "ignore-term", "child", "child-setsid", f"touch={tmp_path}/up", "hang")
    until((tmp_path / "up").exists, "the task")
    state = ready(host)
    host.send(protocol.Stop(task="ps:0", attempt=1, grace_s=0.05))
    exited = host.wait(protocol.Exited)
    assert (exited.signal, exited.stopped) == (9, True)
    assert host.welcome is not None
    assert {pid for pid in host.members if alive(pid)} == host.own | {state.pid}


def test_orphans_of_one_task_are_told_from_those_of_another(host: Host, tmp_path: Path) -> None:
    """A grandchild in a session of its own, made and orphaned between two looks; a ps's would still hold its port."""
    preload(host)
    fork(host, "worker:0", "child-setsid", f"touch={tmp_path}/up", "hang")
    until((tmp_path / "up").exists, "the worker")
    fork(host, "ps:0", "child-setsid", "exit=3")
    host.wait(protocol.Exited)
    worker = host.started("worker:0").pid
    state = ready(host)
    assert host.welcome is not None
    left = {pid for pid in host.members if alive(pid)} - host.own - {state.pid, worker}
    assert len(left) == 1 and alive(worker), left  # the worker's own grandchild


def test_its_death_ends_no_task_and_it_is_started_again(host: Host, tmp_path: Path) -> None:
    preload(host)
    fork(host, "worker:0", f"touch={tmp_path}/up", "hang")
    until((tmp_path / "up").exists, "the program's first line; one that dies before that has never begun")
    pid = host.started("worker:0").pid
    kill(ready(host).pid)
    ready(host, 2)
    assert alive(pid)
    fork(host, "worker:1", "exit=0")
    assert host.wait(protocol.Exited).task == "worker:1"
    assert host.started("worker:1").start == "fork"


@pytest.mark.parametrize("delay_ms", [0, 1, 2, 3, 5, 8, 12, 20, 30, 45])
def test_whenever_it_is_killed_every_task_runs_once(host: Host, delay_ms: int) -> None:
    """Among its forks some have answered and some have not; these must leave, since others take their place."""
    preload(host)
    pid = ready(host).pid
    names = [f"worker:{index}" for index in range(10)]
    for name in names:
        fork(host, name, "argv", "exit=0")
    kill_after(pid, delay_ms / 1000)
    ends = {}
    for name in names:
        ends[name] = host.wait(protocol.Exited, lambda body, name=name: body.task == name)
        assert ends[name].exit_code == 0, ends[name]
        text = host.wait_output(f"{name.replace(':', '-')}.1", ends[name].output_bytes)
        assert text.count(b'"exit=0"') == 1, text
    started = [body.task for body in host.bodies(protocol.Started)]
    assert sorted(started) == names
    assert not host.bodies(protocol.Refused)


HALF_READ = """
import json, os, signal, socket
link = socket.socket(fileno=int(os.environ["TFLAUNCH_PRELOAD_FD"]))
link.recv(65536)
link.send(json.dumps({"kind": "ready"}).encode())
link.recv(65536)
link.recv(1, socket.MSG_PEEK)
os.kill(os.getpid(), signal.SIGSTOP)
link.send(json.dumps({"kind": "started", "task": "worker:0", "attempt": 1, "pid": 7}).encode())
"""


def test_answers_count_although_it_died_with_requests_unread(tmp_path: Path) -> None:
    """The kernel says once that what was sent was not read, before it hands out what has arrived."""
    program = tmp_path / "half_read.py"  # no executable, which a fork of others could keep open for writing
    program.write_text(HALF_READ)
    preloads = Preloads(
        Loop(), lambda _: None, base=os.environ, home=tmp_path, open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    )
    started: list[str] = []
    preloads.on_started = lambda task, attempt, pid: started.append(task)
    preloads.prepare(protocol.Preload(key="py", python=(sys.executable, str(program)), modules=()))
    (pid,) = preloads.pids
    for task in ("worker:0", "worker:1"):
        command = protocol.Start(task=task, attempt=1, generation=1, argv=(), cwd="/", preload="py")
        assert preloads.submit(command, {}, lambda: os.open(os.devnull, os.O_WRONLY))
    until(lambda: preloads.hear() or preloads.outstanding, "the requests")  # type: ignore[func-returns-value]
    os.waitpid(pid, os.WUNTRACED)
    os.kill(pid, signal.SIGCONT)
    _, status = os.waitpid(pid, 0)
    assert preloads.child_ended(pid, status)
    for successor in preloads.pids:
        kill(successor)
        os.waitpid(successor, 0)
    assert started == ["worker:0"]


def test_what_is_asked_for_as_it_dies_waits_for_the_next_one(host: Host) -> None:
    preload(host)
    pid = ready(host).pid
    os.kill(pid, signal.SIGSTOP)  # it reads no more, so that what is asked for is answered by its death alone
    for index in range(3):
        fork(host, f"worker:{index}", "exit=0")
    kill(pid)
    for index in range(3, 6):
        fork(host, f"worker:{index}", "exit=0")
    for index in range(6):
        assert host.wait(protocol.Exited, lambda body, index=index: body.task == f"worker:{index}").exit_code == 0
    assert not host.bodies(protocol.Refused)


def test_a_greeting_of_another_process_counts_for_nothing(host: Host, tmp_path: Path) -> None:
    preload(host)
    fork(host, "worker:0", f"touch={tmp_path}/up", "hang")
    until((tmp_path / "up").exists, "the task")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.connect(str(host.home / "task.sock"))
        hello = protocol.TaskHello(task="worker:0", attempt=1, pid=os.getpid())
        stranger.sendall(protocol.encode(hello) + protocol.encode(protocol.Finished(global_step=7, local_steps=7)))
        fork(host, "worker:1", "exit=0")
        host.wait(protocol.Exited)
    host.send(protocol.Stop(task="worker:0", attempt=1, grace_s=0))
    host.wait(protocol.Exited, lambda body: body.task == "worker:0")
    assert not [body for body in host.bodies(protocol.Reported) if isinstance(body.report, protocol.Finished)]


@pytest.mark.parametrize(("modules", "python"), [(("no_such_module",), sys.executable), ((), "/no/such/python")])
def test_when_it_cannot_be_had_tasks_are_started_by_exec(host: Host, modules: tuple[str, ...], python: str) -> None:
    preload(host, *modules, python=python)
    fork(host, "worker:0", "exit=4")
    assert host.wait(protocol.Exited).exit_code == 4
    assert host.started("worker:0").start == "exec"
    died = host.wait(protocol.PreloadState)
    assert died.state == "died"
    assert (modules[0] if modules else python) in died.message


def test_a_task_that_is_stopped_before_its_fork_never_runs(host: Host, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        f"import time, pathlib\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)"
    )
    command = protocol.Preload(key="py", python=(sys.executable,), modules=("slow",), env={"PYTHONPATH": str(tmp_path)})
    host.send(command)
    fork(host, "worker:0", f"touch={tmp_path}/ran")
    host.send(protocol.Stop(task="worker:0", attempt=1, grace_s=5))
    exited = host.wait(protocol.Exited)
    assert (exited.stopped, exited.signal) == (True, 15)
    (tmp_path / "go").touch()
    fork(host, "worker:0", "exit=0", attempt=2)
    host.wait(protocol.Exited, lambda body: body.attempt == 2)
    assert not (tmp_path / "ran").exists()


def test_forked_tasks_die_with_the_agent(host: Host, tmp_path: Path) -> None:
    preload(host)
    fork(host, "worker:0", "child-setsid", f"touch={tmp_path}/up", "hang")
    until((tmp_path / "up").exists, "the task")
    kill(host.keeper)
    until(lambda: not host.members, "the end of everything")
