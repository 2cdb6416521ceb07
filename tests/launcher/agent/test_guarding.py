"""Tasks of a host are guarded: they load the library and find the run's addresses."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.agent.inside.guard import addresses, build, library
from launcher.agent.ports import listeners
from launcher.agent.tasks import environment
from launcher.wire import protocol
from tests.launcher.agent.harness import FAKE_TASK, Host, tf_config, until
from tests.launcher.agent.inside.guarded import KEY, OTHER_KEY, is_cut_off, stranger


@pytest.fixture(autouse=True)
def built() -> None:
    build.ensure()
    if library.obstacle():
        pytest.skip(library.obstacle())


def guard(host: Host, *names: str, address: str = "127.0.0.1") -> int:
    """Has ports for these tasks, all with one key; the first one's port."""
    ports = host.reserve(*names)
    places = {f"{address}:{port}": KEY.hex() for port in ports.values()}
    host.send(protocol.Guard(addresses=places, own=tuple(places)))
    return ports[names[0]]


def serve(host: Host, port: int) -> None:
    """Starts ps:0, which listens, and waits for the proof of that."""
    host.start("ps:0", "listen", "sleep=60", env={"TF_CONFIG": tf_config("ps", 0, port)})
    host.send(protocol.Prove(task="ps:0", attempt=1))
    assert host.wait(protocol.Listening).port == port


def test_a_task_listens_on_loopback_and_answers_who_has_the_key(host: Host) -> None:
    port = guard(host, "ps:0")
    serve(host, port)
    assert is_cut_off(stranger(port, OTHER_KEY))
    with stranger(port, KEY) as friend:
        friend.setblocking(False)
        with pytest.raises(BlockingIOError):
            friend.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1", port))
    assert len(listeners.listeners([port])[port]) == 1
    assert host.wait(protocol.Guarded).note == ""


def test_names_are_looked_up_before_a_task_starts(host: Host) -> None:
    """Commands that come meanwhile are carried out in their order."""
    port = guard(host, "ps:0", address="localhost")
    serve(host, port)
    assert is_cut_off(stranger(port, OTHER_KEY))
    assert host.wait(protocol.Guarded).note == ""


@pytest.mark.parametrize("address", ["192.0.2.1", "no-such-host.invalid"])
def test_a_host_behind_another_address_says_that_it_listens_on_all(host: Host, address: str) -> None:
    port = guard(host, "ps:0", address=address)
    serve(host, port)
    note = host.wait(protocol.Guarded).note
    assert note.startswith(f"the address of {address} is")
    assert note.endswith("its ports listen on all addresses, and answer who has the key")
    assert is_cut_off(stranger(port, OTHER_KEY))
    stranger(port, KEY, host="::1").close()


def test_loopback_is_no_address_for_other_hosts(host: Host) -> None:
    """Debian gives a host's own name the address 127.0.1.1."""
    port = host.reserve("ps:0")["ps:0"]
    places = {f"localhost:{port}": KEY.hex(), "192.0.2.1:1": KEY.hex()}
    host.send(protocol.Guard(addresses=places, own=(f"localhost:{port}",)))
    assert "which is none of its own that others reach" in host.wait(protocol.Guarded).note


@pytest.mark.parametrize(("far", "told"), [({}, (0, 0)), ({"lease_s": 60.0, "silence_s": 20.0}, (10, 60_000))])
def test_a_host_that_may_fall_silent_has_its_connections_end_with_the_lease(
    make_host: Callable[..., Host], far: dict[str, float], told: tuple[int, int]
) -> None:
    """The test of cuts shows that they do."""
    host = make_host(**far).connect()
    guard(host, "ps:0")
    host.wait(protocol.Guarded)
    assert struct.unpack_from("=II", (host.home / "guard").read_bytes(), 16) == told


def test_without_an_order_nothing_is_guarded(host: Host) -> None:
    port = host.reserve("ps:0")["ps:0"]
    serve(host, port)
    with stranger(port, OTHER_KEY, host="::1") as anybody:
        anybody.setblocking(False)
        with pytest.raises(BlockingIOError):
            anybody.recv(1)
    host.start("worker:0", f"env={addresses.VARIABLE}", "env=LD_PRELOAD")
    wanted = b'["TFLAUNCH_GUARD", null]\n["LD_PRELOAD", null]\n'
    assert host.wait_output("worker-0.1", len(wanted)) == wanted


SERVER = """
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(argv[argc - 1]))};
  int on = 1, s = socket(AF_INET6, SOCK_STREAM, 0);
  setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  return bind(s, (void *)&at, sizeof at) || listen(s, 9) || pause();
}
"""


@pytest.mark.parametrize("way", ["without LD_PRELOAD", "without the addresses", "env -i", "static"])
def test_a_task_that_goes_without_the_guard_is_told_of(host: Host, tmp_path: Path, way: str) -> None:
    """And one that has it, however it came to it, is not."""
    port = guard(host, "ps:0", "worker:0")
    beside = host.bodies(protocol.Reserved)[0].ports["worker:0"]
    python = (sys.executable, "-I", "-S", FAKE_TASK, "listen", "hang")
    wrapped = ("sh", "-c", '"$@" & wait', "sh", *python)
    host.start("worker:0", argv=wrapped, env={"TF_CONFIG": tf_config("worker", 0, beside)})
    until(lambda: listeners.listeners([beside])[beside], "worker:0")
    argv = {
        "without LD_PRELOAD": ("env", "-u", "LD_PRELOAD", *python),
        "without the addresses": ("env", "-u", addresses.VARIABLE, *python),
        "env -i": ("sh", "-c", 'env -i "TF_CONFIG=$TF_CONFIG" "$@"', "sh", *python),
        "static": (str(tmp_path / "server"), str(port)),
    }[way]
    if way == "static":
        (tmp_path / "server.c").write_text(SERVER)
        subprocess.run(["cc", "-static", "-o", argv[0], str(tmp_path / "server.c")], check=True)
    host.start("ps:0", argv=argv, env={"TF_CONFIG": tf_config("ps", 0, port)})
    host.send(protocol.Prove(task="ps:0", attempt=1))
    assert host.wait(protocol.Listening).port == port  # it is of the run, after all
    said = host.wait(protocol.Guarded, lambda body: body.note != "").note
    assert said.startswith("the port of ps:0 is open, and whoever reaches it can run code as you: process ")
    assert [body.note for body in host.bodies(protocol.Guarded) if body.note] == [said]
    host.send(protocol.Stop(task="ps:0", attempt=1, grace_s=0.0))  # an empty environment hides it later
    host.wait(protocol.Exited, lambda body: body.task == "ps:0")


def test_the_users_own_library_comes_first(tmp_path: Path) -> None:
    ours = "/venv/guard-x86_64.so"
    base = {environment.LIBRARY_VARIABLE: ours, "LD_PRELOAD": "/a.so /b.so"}
    assert environment.changed(base, {}) == {"LD_PRELOAD": f"/a.so:/b.so:{ours}"}
    assert environment.changed(base, {"LD_PRELOAD": "/c.so"}) == {"LD_PRELOAD": f"/c.so:{ours}"}
    assert environment.changed(base, {"LD_PRELOAD": None}) == {"LD_PRELOAD": ours}
    outer = {**base, "LD_PRELOAD": "/a.so:/other/guard-x86_64.so"}  # in a task of another run
    assert environment.changed(outer, {}) == {"LD_PRELOAD": f"/a.so:{ours}"}


def test_the_key_is_in_no_environment_and_on_no_command_line(host: Host) -> None:
    port = guard(host, "ps:0")
    serve(host, port)
    for pid in host.members:
        for name in ("environ", "cmdline"):
            assert KEY.hex().encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert json.dumps(KEY.hex()) not in repr(host.events)
