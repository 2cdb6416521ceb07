"""Ports are held, and their listeners proven, against real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from launcher.agent.ports import listeners, reserving
from launcher.agent.ports.reserving import PortsError
from launcher.wire import protocol
from tests.launcher.agent.harness import Host, kill, tf_config, until


def bind(port: int, *, family: int = socket.AF_INET, reuse: bool = False, address: str = "") -> socket.socket:
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((address, port))
        bound.listen()
    except OSError:
        bound.close()
        raise
    return bound


@pytest.fixture
def held() -> Iterator[reserving.HeldPort]:
    port = reserving.reserve(None, None)
    yield port
    port.release()


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, ""), (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")]
)
def test_nobody_else_gets_a_held_port(held: reserving.HeldPort, family: int, address: str) -> None:
    with pytest.raises(OSError, match="in use"):
        bind(held.number, family=family, address=address)
    held.release()
    bind(held.number, family=family, address=address).close()


def test_a_task_can_listen_on_it_and_nobody_is_connected_to_the_holder(held: reserving.HeldPort) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", held.number))
    with bind(held.number, reuse=True, family=socket.AF_INET6, address="::"):
        socket.create_connection(("127.0.0.1", held.number)).close()


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
@pytest.mark.parametrize("reuse", [False, True])
def test_a_port_that_somebody_uses_is_not_taken(family: int, address: str, reuse: bool) -> None:
    with bind(0, family=family, address=address, reuse=reuse) as used:
        number = used.getsockname()[1]
        assert reserving.hold(number) is None
        with pytest.raises(PortsError, match=f"between {number} and {number}"):
            reserving.reserve(number, number)


def test_two_launchers_never_share_a_port(held: reserving.HeldPort) -> None:
    assert reserving.hold(held.number) is None


def test_a_port_is_not_one_that_outgoing_connections_get(held: reserving.HeldPort) -> None:
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        low, high = (int(word) for word in file.read().split())
    assert not low <= held.number <= high or low < 12000


def test_two_hundred_reservations_at_once_have_no_port_in_common(make_host: Callable[..., Host]) -> None:
    hosts = [make_host().connect() for _ in range(8)]

    def reserve(host: Host) -> list[int]:
        for generation in range(25):
            tasks = tuple(f"worker:{generation * 5 + n}" for n in range(5))
            host.send(protocol.Reserve(generation=1, tasks=tasks))
        host.wait(protocol.Reserved, lambda body: "worker:124" in body.ports)
        return [port for body in host.bodies(protocol.Reserved) for port in body.ports.values()]

    with ThreadPoolExecutor(len(hosts)) as pool:
        numbers = Counter(port for got in pool.map(reserve, hosts) for port in got)
    assert len(numbers) == 1000
    assert set(numbers.values()) == {1}


def test_the_range_is_honoured_and_its_end_is_refused_naming_who_is_there(host: Host) -> None:
    with bind(0) as used:
        low = high = used.getsockname()[1]
        host.send(protocol.Reserve(generation=1, tasks=("ps:0",), low=low, high=high))
        refused = host.wait(protocol.Refused)
    assert refused.command == "reserve"
    assert refused.foreign["pid"] == os.getpid()
    port = host.reserve("ps:0", low=low, high=high + 200)["ps:0"]
    assert low <= port <= high + 200


def test_asked_again_it_gives_the_same_ports_and_a_new_generation_frees_the_old(host: Host) -> None:
    first = host.reserve("ps:0", "chief:0")
    host.send(protocol.Reserve(generation=1, tasks=("ps:0", "chief:0")))
    host.send(protocol.Reserve(generation=2, tasks=("ps:0",)))
    host.wait(protocol.Reserved, lambda body: body.generation == 2)
    again = host.bodies(protocol.Reserved)[1]
    assert again.ports == first
    until(lambda: free(first["chief:0"]), "the port of the first generation")


def free(port: int) -> bool:
    held = reserving.hold(port)
    if held is not None:
        held.release()
    return held is not None


def test_a_listener_of_the_attempt_is_proven(host: Host) -> None:
    port = host.reserve("ps:0")["ps:0"]
    host.start("ps:0", "listen", "hang", env={"TF_CONFIG": tf_config("ps", 0, port)})
    host.send(protocol.Prove(task="ps:0", attempt=1))
    assert host.wait(protocol.Listening) == protocol.Listening(task="ps:0", attempt=1, port=port)


def test_a_listener_in_a_child_of_the_attempt_is_proven(host: Host) -> None:
    port = host.reserve("ps:0")["ps:0"]
    from tests.launcher.agent.harness import FAKE_TASK

    argv = ("sh", "-c", f"{sys.executable} -S {FAKE_TASK} listen hang & wait")
    host.start("ps:0", argv=argv, env={"TF_CONFIG": tf_config("ps", 0, port)})
    host.send(protocol.Prove(task="ps:0", attempt=1))
    assert host.wait(protocol.Listening).port == port


@pytest.mark.parametrize("also_ours", [False, True])
def test_a_foreign_listener_is_named(host: Host, also_ours: bool) -> None:
    port = host.reserve("ps:0")["ps:0"]
    code = (
        "import socket, time, sys; s = socket.socket(socket.AF_INET6); s.setsockopt(1, 15, 1);"
        f"s.bind(('::', {port})); s.listen(); print(flush=True); time.sleep(3600)"
    )
    environ = {**os.environ, "SECRET": "hunter2"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environ) as foreign:
        assert foreign.stdout is not None
        foreign.stdout.readline()
        words = ("listen", "hang") if also_ours else ("hang",)
        host.start("ps:0", *words, env={"TF_CONFIG": tf_config("ps", 0, port)})
        if also_ours:
            until(lambda: len(listeners.listeners([port])[port]) == 2, "both listeners")
        host.send(protocol.Prove(task="ps:0", attempt=1))
        refused = host.wait(protocol.Refused)
        kill(foreign.pid)
    assert (refused.command, refused.task, refused.foreign["pid"]) == ("prove", "ps:0", foreign.pid)
    assert "time.sleep(3600)" in str(refused.foreign["command"])
    assert "hunter2" not in str(refused)
    assert str(refused.foreign["since"]).endswith("Z")
    assert not host.bodies(protocol.Listening)


def test_held_ports_are_free_when_the_run_is_over(host: Host) -> None:
    port = host.reserve("ps:0")["ps:0"]
    assert not free(port)
    host.send(protocol.Finish())
    host.wait_closed()
    assert free(port)
