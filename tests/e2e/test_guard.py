"""The ports of a real run, and those who are not of it: they get nothing, and the run trains on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launcher.agent.inside.guard import addresses, build, library
from launcher.agent.inside.guard.addresses import Address
from launcher.agent.ports import ports
from tests.e2e.running import TIMEOUT_S, environment, tflaunch_argv
from tests.launcher.agent.inside.guarded import is_cut_off, stranger

CANNED = Path(__file__).parent / "canned.py"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
CLIENT = """
import os, sys, tensorflow.compat.v1 as tf
cluster = {"ps": ["127.0.0.1:" + sys.argv[1]], "worker": ["127.0.0.1:" + sys.argv[2]]}
server = tf.train.Server(cluster, job_name="worker", task_index=0)
with tf.Graph().as_default(), tf.device("/job:ps/task:0"):
    one = tf.constant(1)
    try:
        print("session", tf.Session(server.target).run(one), flush=True)
    except tf.errors.UnavailableError:
        print("refused", flush=True)
os._exit(0)
"""

pytestmark = [pytest.mark.tensorflow, pytest.mark.e2e, pytest.mark.legacy]


class Run:
    """A run of the canned job that goes on until it is stopped."""

    def __init__(self, folder: Path) -> None:
        self.events_file = folder / "run" / "events.jsonl"
        arguments = ("local", "--workers", "1", "--ps", "1", "--run-dir", "run", "--plain", "--", "python", str(CANNED))
        with (folder / "output").open("w") as output:
            self.process = subprocess.Popen(
                [*tflaunch_argv(*arguments), "--steps", "1000000", "--model_dir", str(folder / "model")],
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def events(self, kind: str) -> list[dict[str, object]]:
        text = self.events_file.read_text() if self.events_file.exists() else ""
        return [event for event in map(json.loads, text.splitlines()) if event["kind"] == kind]

    def step(self) -> int:
        """How far it has trained."""
        return max((int(str(event["global_step"])) for event in self.events("progressed")), default=0)

    def wait_for_steps(self, more: int = 1) -> int:
        """Waits until it has trained so many steps more than it has by now."""
        wanted, deadline = self.step() + more, time.monotonic() + TIMEOUT_S
        while self.step() < wanted:
            assert self.process.poll() is None and time.monotonic() < deadline, "it does not train"
            time.sleep(0.05)
        return self.step()

    def ports(self) -> dict[str, int]:
        return {str(task): int(port) for task, port in dict(self.events("generation_bound")[-1]["ports"]).items()}  # type: ignore[call-overload]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    build.ensure()
    if library.obstacle():
        pytest.skip(library.obstacle())
    started = Run(tmp_path)
    yield started
    started.process.kill()
    started.process.wait()


def connect(port: int, **env: str) -> str:
    """What a TensorFlow client of this user has from a ps at that port: a session or a refusal."""
    held = ports.reserve(None, None)
    argv = [sys.executable, "-c", CLIENT, str(port), str(held.number)]
    given = environment(TF_GRPC_REUSE_PORT="1", **env)
    try:
        done = subprocess.run(argv, env=given, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    finally:
        held.release()
    return done.stdout.split()[0]


def listening(port: int) -> set[str]:
    """The addresses at which anybody listens on this port, as the kernel writes them."""
    tables = (Path(f"/proc/self/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6"))
    rows = [line.split() for table in tables for line in table]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}


def test_strangers_get_nothing_while_the_run_trains_on(run: Run, tmp_path: Path) -> None:
    """Clients of TensorFlow without the key and with that of another run; a thousand connections; a look around."""
    run.wait_for_steps()
    places = run.ports()
    for task in ("ps:0", "chief:0", "worker:0"):
        assert listening(places[task]) == {"0000000000000000FFFF00000100007F"}
    other = tmp_path / "other"
    addresses.write(str(other), [Address("127.0.0.1", port, os.urandom(32)) for port in places.values()])
    of_another_run = {"LD_PRELOAD": library.path(), addresses.VARIABLE: str(other)}
    before = run.step()
    with ThreadPoolExecutor() as pool:
        tries = [pool.submit(connect, places["ps:0"], **env) for env in ({}, of_another_run)]
        assert [one.result() for one in tries] == ["refused", "refused"]
    connections = [stranger(places["ps:0"], PREFACE) for _ in range(1000)]
    assert all(map(is_cut_off, connections))
    for connection in connections:
        connection.close()
    assert run.step() >= before
    run.wait_for_steps()
    assert all(event["attempt"] == 1 for event in run.events("task_changed")), "somebody had to start again"
    run.process.terminate()
    assert run.process.wait(TIMEOUT_S) == 143
