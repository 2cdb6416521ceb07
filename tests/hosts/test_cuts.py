"""Links that are cut and parts that are killed: nothing is lost while the lease runs, and nothing is left after it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.agent.inside.guard import addresses, build, library
from tests.fake_task import spam_bytes
from tests.hosts.fixtures import require_hosts, three_hosts
from tests.hosts.namespaces import SHARED, Host, Network, network
from tests.hosts.running import ENDLESS, GOOD, StartLive, left, live, part_of, spec, wait_until, wait_until_gone
from tests.launcher.agent.inside.guarded import KEY, LIMIT_S, Guarded, listen, write

__all__ = ["live", "three_hosts"]

pytestmark = [pytest.mark.e2e, pytest.mark.hosts]

LEASE_S = 6.0
PORT = 20001
SPAM_BYTES = 3_000_000
PATIENT = {"lease_s": LEASE_S, "grace_s": 1.0, "restarts": 0}
FAMILY = "gate,ready,step=1,child,child-setsid,hang"


def drop_connections(host: Host) -> None:
    """What a firewall does that forgets its connections: the SSH session is dead, and nobody has said so."""
    for pid, words in host.processes().items():
        if words.startswith("sshd: root"):
            os.kill(pid, signal.SIGSTOP)


def test_a_short_cut_costs_nothing(three_hosts: Network, live: StartLive) -> None:
    mark, go = f"{SHARED}/cut-1", three_hosts.shared / "cut-2"
    after = f"touch={mark},spam={SPAM_BYTES}:7,wait-file={SHARED}/cut-2,finished=9"
    words = {"worker:1": f"gate,ready,step=9:288,{after}", **GOOD}
    run = live(three_hosts, spec(three_hosts, words=words, policy={**PATIENT, "lease_s": 30.0}))
    wait_until((three_hosts.shared / "cut-1").exists)
    host = three_hosts.host("b")
    drop_connections(host)
    host.cut()
    run.wait_for("task_changed", task="worker:0", state="succeeded")
    host.mend()
    go.touch()
    assert run.end() == 0, run.said
    data = (run.folder / "logs" / "worker-1.log").read_bytes()
    assert hashlib.sha256(data).hexdigest() == hashlib.sha256(spam_bytes(SPAM_BYTES, 7)).hexdigest()
    assert all(len(task["attempts"]) == 1 for task in run.report()["tasks"])
    assert run.events("host_changed", state="lost") == []


def test_a_long_cut_ends_the_tasks_there_and_the_run_here(three_hosts: Network, live: StartLive) -> None:
    run = live(three_hosts, spec(three_hosts, words={**ENDLESS, "worker": FAMILY}, policy=PATIENT))
    run.until_training()
    host = three_hosts.host("c")
    host.cut()
    try:
        wait_until(lambda: not host.ours(), f"for the end on c: {host.ours()}")
        assert run.end() == 3, run.said
    finally:
        host.mend()
    cause = run.report()["cause"]
    assert (cause["kind"], cause["host"]) == ("host", "c")
    wait_until_gone(three_hosts)


@pytest.mark.parametrize("victim", ["client", "supervisor", "agent", "keeper", "agent and keeper", "sshd's session"])
def test_nothing_is_left_when_a_part_is_killed(three_hosts: Network, live: StartLive, victim: str) -> None:
    words = {**ENDLESS, "worker": FAMILY, "ps": "listen,child,child-setsid,hang"}
    run = live(three_hosts, spec(three_hosts, words=words, policy=PATIENT))
    run.until_training()
    host = three_hosts.host("b")
    parts = host.processes()
    keeper, agent = (part_of(parts, name) for name in ("keeper", "agent"))
    victims = {
        "client": [run.client.pid],
        "supervisor": [run.supervisor()],
        "agent": [agent],
        "keeper": [keeper],
        "agent and keeper": [agent, keeper],
        "sshd's session": [pid for pid, words in parts.items() if words.startswith("sshd: root")],
    }
    for pid in victims[victim]:
        os.kill(pid, signal.SIGKILL)
    if victim == "sshd's session":  # which costs nothing
        wait_until(lambda: any(words.startswith("sshd: root") for words in host.processes().values()), "for a new one")
        assert run.events("host_changed", state="lost") == []
        run.client.terminate()
    code = run.end()
    if victim in ("agent", "keeper", "agent and keeper"):
        assert code in (1, 3), run.said
    wait_until_gone(three_hosts)
    assert left(three_hosts) == {}


@pytest.fixture
def guarded() -> Iterator[Callable[..., Guarded]]:
    """Starts processes under the guard, and ends them."""
    build.ensure()
    if library.obstacle():
        pytest.skip(library.obstacle())
    with contextlib.ExitStack() as ends:

        def start(file: Path, **options: Any) -> Guarded:
            process = Guarded(library.path(), file, **options)
            ends.callback(process.said)
            return process

        yield start


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with a message on its way"])
def test_connections_of_tasks_end_when_the_link_is_cut_for_longer_than_the_lease(
    three_hosts: Network, guarded: Callable[..., Guarded], tmp_path: Path, busy: bool
) -> None:
    """Without that TensorFlow waits for ever, or, with a message on its way, for a quarter of an hour."""
    host = three_hosts.host("a")
    liveliness = addresses.Liveliness.for_lease(2.0)
    file = write(tmp_path / "guard", {PORT: KEY}, ip=host.address, liveliness=liveliness)
    server = guarded(file, within=("nsenter", "--target", str(host.init), "--net"))
    client = guarded(file)
    listen(server, PORT)
    client(f"c = socket.create_connection(({host.address!r}, {PORT}))")
    server("d, name = s.accept()")
    for process, name in ((client, "c"), (server, "d")):
        process(f"{name}.settimeout({LIMIT_S})")
    host.cut()
    try:
        if busy:
            client("c.send(b'word')")
            server("d.send(b'word')")
        for process, name in ((client, "c"), (server, "d")):
            with pytest.raises(RuntimeError, match=r"Connection timed out|No route to host"):
                process(f"{name}.recv(4)")
    finally:
        host.mend()


def test_a_host_that_dies_ends_the_run_and_leaves_nothing_on_the_others(
    tmp_path_factory: pytest.TempPathFactory, live: StartLive
) -> None:
    require_hosts()
    with network(tmp_path_factory.mktemp("net"), ["a", "b", "c"]) as hosts:
        run = live(hosts, spec(hosts, words={**ENDLESS, "worker": FAMILY}, policy=PATIENT))
        run.until_training()
        hosts.host("c").crash()
        assert run.end() == 3, run.said
        assert run.report()["cause"]["host"] == "c"
        wait_until(lambda: not hosts.host("a").ours() and not hosts.host("b").ours(), "for the end on the others")
