from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from launcher.estimator.channel import Channel, LauncherGoneError
from launcher.wire.protocol import (
    Barrier,
    CheckpointSaved,
    Drain,
    ExitNow,
    Finished,
    Gate,
    Step,
    StopTraining,
    TaskHello,
    Waiting,
    decode,
)
from tests.launcher.estimator.cluster import DEADLINE_S, Agent


def channel_to(agent: Agent) -> Channel:
    channel = Channel(path=str(agent.path), task="chief:0", attempt=2)
    assert channel.open()
    return channel


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "tflaunch-channel"]


@pytest.mark.parametrize("path", [None, "/nonexistent/socket"])
def test_without_an_agent_nothing_waits(path: str | None) -> None:
    before = threads()
    channel = Channel(path=path)
    channel.send(Step(global_step=1, local_steps=1))
    assert not channel.open()
    assert channel.wait_gate() is None
    assert channel.flush(DEADLINE_S)
    assert threads() == before


def test_nothing_is_connected_before_it_is_opened(agent: Agent) -> None:
    before = threads()
    channel = Channel(path=str(agent.path), task="chief:0")
    channel.send(Step(global_step=1, local_steps=1))
    assert threads() == before
    channel.open()
    channel.send(Step(global_step=2, local_steps=2))
    agent.expect("chief:0", Step)
    assert [step.global_step for step in agent.of("chief:0", Step)] == [2]
    channel.close()


def test_says_who_it_is_first(agent: Agent) -> None:
    channel = channel_to(agent)
    hello = agent.expect("chief:0", TaskHello)
    assert hello == TaskHello(task="chief:0", attempt=2, pid=os.getpid())
    channel.close()


def test_keeps_what_it_is_told(agent: Agent) -> None:
    channel = channel_to(agent)
    heard: list[object] = []
    channel.subscribe(heard.append)
    agent.expect("chief:0", TaskHello)
    told = (Gate(open=True, variables_alive=True), Barrier(), Drain(global_step=7), StopTraining(reason="deadline"))
    agent.tell("chief:0", *told)
    assert channel.wait(lambda: len(heard) == 4, DEADLINE_S)
    assert (channel.gate, channel.barriers, channel.drained, channel.stop) == (told[0], {""}, {""}, told[3])
    channel.close()


def test_it_ends_its_process_when_told_to(agent: Agent) -> None:
    """In a process of its own, whose main thread waits in C for ever."""
    script = (
        "import ctypes, sys; from launcher.estimator.channel import Channel\n"
        "print('last words'); channel = Channel(path=sys.argv[1], task='ps:0'); channel.open()\n"
        "ctypes.CDLL(None).pause()"
    )
    command = [sys.executable, "-c", script, str(agent.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        agent.expect("ps:0", TaskHello)
        agent.tell("ps:0", ExitNow(code=3))
        assert process.communicate(timeout=DEADLINE_S)[0] == "last words\n"
    assert process.returncode == 3


def test_a_message_of_a_newer_agent_is_passed_over(agent: Agent) -> None:
    channel = channel_to(agent)
    agent.expect("chief:0", TaskHello)
    agent._lines["chief:0"].sendall(b'{"kind":"from the future"}\n{"kind":"bar')
    agent._lines["chief:0"].sendall(b'rier"}\n')
    assert channel.wait(lambda: bool(channel.barriers), DEADLINE_S)
    channel.close()


def test_the_gate_is_waited_for_each_time_it_shuts(agent: Agent) -> None:
    channel = channel_to(agent)
    agent.expect("chief:0", TaskHello)
    agent.tell("chief:0", Gate(open=True))
    assert channel.wait_gate() == Gate(open=True)
    agent.tell("chief:0", Gate(open=False))
    assert channel.wait(lambda: channel.gate == Gate(open=False), DEADLINE_S)
    passed: list[object] = []
    waiter = threading.Thread(target=lambda: passed.append(channel.wait_gate()))
    waiter.start()
    agent.expect("chief:0", Waiting, lambda message: message.what == "gate")
    assert not passed
    agent.tell("chief:0", Gate(open=True, generation=2))
    waiter.join(DEADLINE_S)
    assert passed == [Gate(open=True, generation=2)]
    agent.expect("chief:0", Waiting, lambda message: message.what == "")
    channel.close()


def test_an_agent_that_leaves_opens_no_gate(agent: Agent) -> None:
    channel = channel_to(agent)
    agent.expect("chief:0", TaskHello)
    agent._lines["chief:0"].shutdown(socket.SHUT_RDWR)
    for _ in range(2):  # during the wait, and long after
        with pytest.raises(LauncherGoneError):
            channel.wait_gate()
    channel.send(Step(global_step=1, local_steps=1))
    assert not channel.is_open


def test_a_sender_never_blocks_and_only_steps_are_dropped(folder: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "s"))
    server.listen()
    channel = Channel(path=str(folder / "s"), task="worker:0")
    channel.open()
    line, _ = server.accept()
    count = 20_000  # far more than the socket holds, and nobody reads
    channel.send(CheckpointSaved(global_step=0, path="first"))
    for number in range(count):
        channel.send(Step(global_step=number, local_steps=number))
        if number % 1000 == 0:
            channel.send(CheckpointSaved(global_step=number, path="x" * 100))
    channel.send(Finished(global_step=count, local_steps=count))
    reports = []
    with line.makefile("rb") as lines:
        for text in lines:
            reports.append(decode(text))
            if isinstance(reports[-1], Finished):
                break
    assert sum(isinstance(report, CheckpointSaved) for report in reports) == 1 + count // 1000
    steps = [report.global_step for report in reports if isinstance(report, Step)]
    assert len(steps) < count
    assert steps == sorted(steps)
    assert steps[-1] == count - 1
    channel.close()
    line.close()
    server.close()


def test_a_forked_child_is_not_the_task(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    from launcher.estimator import task as tasks

    channel = channel_to(agent)
    agent.expect("chief:0", TaskHello)
    monkeypatch.setattr(tasks, "_current", tasks.Task(channel=channel))
    pid = os.fork()
    if pid == 0:
        channel.send(Step(global_step=99, local_steps=99))
        is_silent = not channel.is_open and not channel.open() and channel.wait_gate() is None
        os._exit(0 if is_silent else 1)
    assert os.waitpid(pid, 0)[1] == 0
    channel.send(Step(global_step=1, local_steps=1))
    agent.expect("chief:0", Step)
    assert [step.global_step for step in agent.of("chief:0", Step)] == [1]
    channel.close()
