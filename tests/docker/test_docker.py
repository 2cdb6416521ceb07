"""The image is built and the compose cluster started for real, and trains: ``make test-docker``, as root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.docker.engine import REPOSITORY, Cluster, build, make_base, run

HOSTS = ("host-1", "host-2", "host-3")
SPEC = "cluster_specs/docker.yaml"
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
SHORT_JOB = ("python", "-m", "jobs.esmm", "train", "--model-dir", "{model_dir}", "--max-steps", "200")
WHEELS = REPOSITORY / "docker" / "wheels"


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image, built without a registry and without an index; removed at the end."""
    mark = f"{os.getpid()}"
    base, made = f"localhost/tflaunch-base:{mark}", f"localhost/tflaunch:{mark}"
    try:
        fill_wheels()
        make_base(tmp_path_factory.mktemp("base"), base)
        build(made, base)
        yield made
    finally:
        subprocess.run(["podman", "rmi", "--force", made, base], capture_output=True)


def fill_wheels() -> None:
    """Everything that the lock names, once; this Python must be of the version that the base has."""
    if not list(WHEELS.glob("tensorflow-2*.whl")):
        lock = REPOSITORY / "requirements" / "lock.txt"
        pip = (sys.executable, "-m", "pip", "wheel", "--quiet")
        wheel = [*pip, "-w", str(WHEELS), "-c", str(lock), ".", "setuptools>=77"]
        run(wheel, timeout_s=1800)
    for own in WHEELS.glob("tflaunch-*.whl"):
        own.unlink()


@pytest.fixture(scope="session")
def cluster(image: str) -> Iterator[Cluster]:
    made = Cluster(f"tflaunch-test-{os.getpid()}", image)
    try:
        made.up()
        wait_for_keys(made)
        yield made
    finally:
        made.down()


def wait_for_keys(cluster: Cluster) -> None:
    """Until all hosts have made their keys; raises AssertionError after a minute."""
    until = time.monotonic() + 60
    known = ""
    while not all(f"[{host}]" in known for host in HOSTS):
        assert time.monotonic() < until, f"the hosts have not made their keys: {known}"
        known = cluster.inside("head", "sh", "-c", "cat /keys/known_hosts 2>/dev/null || true")


def test_the_image_holds_no_key(image: str) -> None:
    find = "find / -xdev ( -name *_key -o -name id_* -o -name host_ed25519* ) -path *ssh* -type f"
    made = run(
        ["podman", "--runtime", "runc", "run", "--rm", "--user", "0", *LIMITS, image, *find.split()], timeout_s=60
    )
    assert made.strip() == ""


def test_the_cluster_trains_offline_from_its_head_and_leaves_nothing_alive(cluster: Cluster) -> None:
    routes = cluster.inside("host-1", "cat", "/proc/net/route").splitlines()[1:]
    assert all(line.split()[1] != "00000000" for line in routes), "there is a way out of the cluster's network"
    cluster.inside("head", "tflaunch", "run", SPEC, "--plain", "--", *SHORT_JOB, timeout_s=600)
    report = json.loads(cluster.inside("head", "sh", "-c", "cat runs/*/report.json"))
    assert (report["outcome"], report["exit_code"], report["cause"]) == ("succeeded", 0, None)
    assert report["global_step"] >= 200
    assert {task["state"] for task in report["tasks"] if task["task"] != "ps:0"} == {"succeeded"}
    for container in ("head", *HOSTS):
        assert processes(cluster, container) == ["sshd"], container


def processes(cluster: Cluster, container: str) -> list[str]:
    """The names of what runs in a container beside the program that asks."""
    script = "import psutil; print(*(p.name() for p in psutil.process_iter() if p.pid != psutil.Process().pid))"
    return cluster.inside(container, "python", "-c", script).split()
