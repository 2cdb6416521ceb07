"""Anything at all is said to an agent, to a relay and to the socket of tasks: they go on, whole and no larger."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from launcher.agent.host.options import Options
from launcher.wire import protocol
from launcher.wire.private import registry
from launcher.wire.private.folder import AGENT_SOCKET, TASK_SOCKET
from tests.launcher import hostile
from tests.launcher.agent.harness import REPOSITORY, Host, connect_to, until


def say_all(connection: socket.socket, conversation: list[bytes]) -> None:
    """Says it as far as the other side listens, and reads nothing of what it answers."""
    with connection:
        connection.settimeout(30)
        try:
            connection.sendall(b"".join(conversation))
        except (BrokenPipeError, ConnectionResetError):
            return


def still_works(host: Host, memory_mib: int) -> None:
    """The same agent process takes orders, and is not much larger than it was."""
    assert host.welcome is not None
    incarnation, pid = host.welcome.incarnation, host.welcome.pid
    host.connect()
    assert host.run("evaluator:0", "exit=7").exit_code == 7
    assert host.welcome.incarnation == incarnation
    assert hostile.growth_mib(pid, memory_mib) < hostile.MOST_GROWTH_MIB


@pytest.mark.parametrize("examples", hostile.EXAMPLES)
def test_whatever_strangers_say_to_an_agent_it_obeys_its_supervisor_alone(host: Host, examples: int) -> None:
    """They say no ``Hello`` of this run; with one they would be the supervisor."""
    assert host.welcome is not None
    before = hostile.memory_mib(host.welcome.pid)

    @settings(hostile.QUIET, max_examples=examples)
    @given(seed=hostile.SEEDS)
    def property_(seed: int) -> None:
        conversation = hostile.Speaker(seed).lines(hostile.Speaker.message)
        connection = connect_to(host.options)
        assert connection is not None
        say_all(connection, conversation)

    property_()
    assert not host.bodies(protocol.Started)
    still_works(host, before)


@pytest.mark.parametrize("form", hostile.HEAVY)
def test_one_heavy_message_does_not_make_an_agent_large(host: Host, form: str) -> None:
    assert host.welcome is not None
    before = hostile.forget_peak(host.welcome.pid)
    connection = connect_to(host.options)
    assert connection is not None
    say_all(connection, [hostile.HEAVY[form].encode()])
    assert host.run("worker:1", "exit=7").exit_code == 7  # what came before it has been heard
    assert hostile.memory_mib(host.welcome.pid, "VmHWM:") - before < hostile.MOST_GROWTH_MIB


def talkative(host: Host, folder: Path) -> Callable[[], socket.socket]:
    """Starts worker:1, and gives what connects to its agent through it."""
    path = str(folder / "socket")
    host.start("worker:1", f"pass-on={path}")
    until(lambda: Path(path).exists(), "worker:1")

    def connect() -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.connect(path)
        return made

    return connect


@pytest.mark.parametrize("examples", hostile.EXAMPLES)
def test_whatever_a_task_says_its_agent_goes_on(host: Host, examples: int, tmp_path: Path) -> None:
    assert host.welcome is not None
    before = hostile.memory_mib(host.welcome.pid)
    task = talkative(host, tmp_path)
    hello = protocol.encode(protocol.TaskHello(task="worker:1", attempt=1, pid=os.getpid()))

    @settings(hostile.QUIET, max_examples=examples)
    @given(seed=hostile.SEEDS)
    def property_(seed: int) -> None:
        conversation = hostile.Speaker(seed).lines(hostile.Speaker.message)
        for home in registry.every(host.options.name):
            say_all(home.connect(TASK_SOCKET), [hello, *conversation])  # as somebody who is not of that task
        say_all(task(), conversation)
        host.pump(0.2)
        if host.events:
            host.send(protocol.Ack(seq=host.events[-1].seq))

    property_()
    reported = {(body.task, body.attempt) for body in host.bodies(protocol.Reported)}
    assert reported == {("worker:1", 1)}
    host.send(protocol.Stop(task="worker:1", attempt=1, grace_s=0.0))
    host.wait(protocol.Exited, lambda body: body.task == "worker:1")
    still_works(host, before)


def test_large_messages_of_a_task_wait_until_they_are_wanted(host: Host, tmp_path: Path) -> None:
    assert host.welcome is not None
    pid = host.welcome.pid
    before = hostile.memory_mib(pid)
    with talkative(host, tmp_path)() as connection:
        host.wait(protocol.Connected)
        host.disconnect()
        connection.settimeout(2)
        with pytest.raises(TimeoutError):  # the agent does not listen any more
            connection.sendall(protocol.encode(protocol.Waiting(what="x" * 500_000)) * 200)
    assert hostile.memory_mib(pid) - before < hostile.MOST_GROWTH_MIB
    host.connect()
    host.wait(protocol.Reported)


@pytest.mark.parametrize("examples", hostile.EXAMPLES)
def test_a_relay_passes_on_whatever_it_is_and_nothing_else(examples: int) -> None:
    name = f"fuzz-relay-{os.getpid()}"
    home = registry.make(name, name)
    assert home is not None
    options = Options(run=name, name=name, start=False).to_json()
    main = str(REPOSITORY / "launcher" / "agent" / "__main__.py")
    with home.listen(AGENT_SOCKET) as server:
        server.settimeout(30)
        argv = [sys.executable, "-I", "-S", main, "relay", options]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            agent, _ = server.accept()
            agent.settimeout(30)
            heard = agent.makefile("rb")
            assert process.stdout.readline() == protocol.READY_MARKER
            before = hostile.memory_mib(process.pid)

            @settings(hostile.QUIET, max_examples=examples)
            @given(seed=hostile.SEEDS)
            def property_(seed: int) -> None:
                assert process.stdin is not None and process.stdout is not None
                source = random.Random(seed)  # hypothesis itself would draw six bytes, most often
                inward, outward = (source.randbytes(source.randrange(1, 5000)) for _ in range(2))
                process.stdin.write(inward)
                process.stdin.flush()
                assert heard.read(len(inward)) == inward
                agent.sendall(outward)
                assert process.stdout.read(len(outward)) == outward

            property_()
            assert hostile.growth_mib(process.pid, before) < hostile.MOST_GROWTH_MIB
            heard.close()
            agent.close()
    home.remove()
    home.close()
