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
from launcher.agent.ports import reserving
from launcher.record.reading import load_view
from launcher.record.runs import RunFolder
from launcher.wire.private import registry
from tests.e2e.fake_runs import run_id
from tests.e2e.running import TIMEOUT_S, environment, tflaunch, tflaunch_argv
from tests.launcher.agent.inside.guarded import is_cut_off, stranger

TRIES = 1000
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
SESSIONS = """
import collections, concurrent.futures, json, os, sys, tensorflow.compat.v1 as tf
target, tries = "grpc://127.0.0.1:" + sys.argv[1], int(sys.argv[2])
config = tf.ConfigProto(operation_timeout_in_ms=10_000)
def outcome(_):
    with tf.Graph().as_default(), tf.Session(target, config=config) as session:
        try:
            return f"session {session.run(tf.constant(1))}"
        except (tf.errors.UnavailableError, tf.errors.DeadlineExceededError):
            return "refused"
with concurrent.futures.ThreadPoolExecutor(250) as pool:
    print(json.dumps(collections.Counter(pool.map(outcome, range(tries)))), flush=True)
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
        return load_view(RunFolder(self.events_file.parent)).global_step or 0

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
    held = reserving.reserve(None, None)
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


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_a_session_is_for_who_has_the_key(run: Run, tmp_path: Path) -> None:
    """Asked for directly, a thousand times, at a parameter server of a run that trains on."""
    run.wait_for_steps()
    ps = run.ports()["ps:0"]
    homes = [Path(home.path, "guard") for home in registry.of_run(run_id(run.events_file.parent))]
    (own,) = filter(Path.exists, homes)  # the supervisor's folder has none
    other = tmp_path / "other"
    addresses.write(str(other), [Address("127.0.0.1", ps, os.urandom(32))])
    files = {"none": "", "another run's": str(other), "the run's": str(own)}
    for whose, file in files.items():
        before = run.step()
        env = {"LD_PRELOAD": library.path(), addresses.VARIABLE: file} if file else {}
        argv = [sys.executable, "-c", SESSIONS, str(ps), str(TRIES)]
        asked = subprocess.run(argv, env=environment(**env), capture_output=True, text=True, check=True)
        outcomes = json.loads(asked.stdout)
        print(f"{whose} key: {outcomes}, {run.step() - before} steps meanwhile", flush=True)
        assert outcomes == {"session 1" if whose == "the run's" else "refused": TRIES}
        run.wait_for_steps()
    assert all(event["attempt"] == 1 for event in run.events("task_changed")), "somebody had to start again"


@pytest.mark.soak
def test_a_parameter_server_with_another_key_is_never_trained_on(tmp_path: Path) -> None:
    """Even if it could be had past the proof of who listens there."""
    (tmp_path / "spec.yaml").write_text(
        "roles: {ps: {count: 1}, chief: {}, worker: {count: 1}}\npolicy: {start_timeout_s: 120, grace_s: 2}\n"
    )
    other_key = str(CANNED.with_name("other_key.py"))
    command = ("python", other_key, str(CANNED), "--steps", "10", "--model_dir", str(tmp_path / "model"))
    done = tflaunch("local", "spec.yaml", "--run-dir", "run", "--plain", "--", *command, cwd=tmp_path)
    assert done.code == 4, done.stdout + done.stderr
    assert done.report is not None and done.report["global_step"] is None
    assert all(done.task(name)["local_steps"] is None for name in ("chief:0", "worker:0"))
    assert "that did not show its key" in done.log("ps:0")
