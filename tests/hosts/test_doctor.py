"""``tflaunch doctor`` over hosts: every check has a planted fault that it finds, and hosts in order are found so."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.running import Finished, tflaunch
from tests.hosts.fixtures import require_hosts
from tests.hosts.namespaces import HOME, SHARED, Host, Network, Options, network
from tests.hosts.running import spec, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.hosts]

BIN = f"{HOME}/bin"
PATH = f"{BIN}:/usr/bin:/bin"
LISTENER = "import socket, time; held = socket.create_server(('', 20000)); time.sleep(1e6)"
# One core, little memory, few files to open, a run that nobody has ended, and a port that somebody else has.
POOR = f"""
taskset -p -c {min(os.sched_getaffinity(0))} $$ >/dev/null
printf 'MemTotal: 262144 kB\\nMemAvailable: 131072 kB\\n' > /run/meminfo
mount --bind /run/meminfo /proc/meminfo
TFLAUNCH_RUN=night-20260101-000000.0badcafe sleep 100000 &
{sys.executable} -c "{LISTENER}" &
ulimit -n 80
"""
# A firewall that swallows the answers from half of the range, a model_dir without room, and a cache folder from which
# nothing can be loaded.
WALLED = f"""
ip rule add sport 21500-21999 ipproto tcp blackhole
mount -t tmpfs -o size=16k none /mnt/shared
mkdir -p {HOME}/.cache
mount -t tmpfs -o noexec,mode=700 none {HOME}/.cache
"""
OPTIONS = {
    "a": Options(),
    "b": Options(
        sshd=f"MaxSessions 1\nSetEnv PATH={PATH} http_proxy=http://user:s3cr3t@10.0.0.9:3128 TF_CONFIG=left",
        extra=POOR,
        shared=False,
    ),
    "c": Options(path=PATH, extra=WALLED),
}
# A Python whose clock is a minute and a half ahead: namespaces have no clock of their own for the time of day.
AHEAD = "import sys, time; real = time.time; time.time = lambda: real() + 90; exec(sys.argv[1])"
FAST_CLOCK = f"#!/bin/sh\nexec {sys.executable} -I -S -c '{AHEAD}' \"$4\"\n"
ROLES = {
    "ps": {"on": ["a"]},
    "chief": {"on": ["a"]},
    "worker": {"count": 4, "on": ["b", "c"]},
    "evaluator": {"on": ["c"]},
}
FOUND = {  # (check, host): level, message, advice
    ("reachable", "gone"): ("failed", r":2 refuses connections", r"is sshd running there"),
    ("sessions", "b"): ("warning", r"allows 1 session .*MaxSessions", r"sshd_config"),
    ("python", "b"): ("failed", r"Python 3\.9\.18, where a, c have 3\.", r"install Python 3\."),
    ("tensorflow", "b"): ("failed", r"TensorFlow 2\.14\.0, where a, c have 2\.15\.1", r"install TensorFlow 2\.15\.1"),
    ("import", "b"): ("warning", r"tf\.estimator does not work", r"pip install tensorflow-estimator==2\.15\.0"),
    ("import", "c"): ("failed", r"libcudart\.so\.12: cannot open", r"see the whole error there: .*/bin/python"),
    ("command", "b"): ("failed", r"the tasks' folder /home/train/work: it is not there", r"copy the code there"),
    ("command", "c"): ("failed", r"there is no train\.py in /home/train/work", r"copy the code there"),
    ("ports", "b"): (
        "failed",
        r"1 free port in 20000-20001 for 2 tasks; process \d+ \(.*held = socket",
        r"hosts\[\]\.ports",
    ),
    ("guard", "c"): ("warning", r"can run code as you: .*guard-\w+\.so lies on .* \(noexec\)", r"firewall"),
    ("network", "a"): (
        "failed",
        r"does not reach c at .*:2\d+.* \(some ports only; no answer",
        r"let a reach ports 21000",
    ),
    ("network", "b"): ("warning", r"does not reach c .*need not", r"let b reach"),
    ("model_dir", "b"): ("failed", r"/mnt/shared/model is another folder than that of a", r"all of them mount"),
    ("model_dir", "c"): ("failed", r"cannot write to /mnt/shared/model: No space left", r"make room"),
    ("clock", "c"): ("warning", r"its clock is \d+\.\d s ahead of the others", r"chrony"),
    ("disk", "c"): ("failed", r"/mnt/shared/model: \d MiB left for checkpoints", r"make room"),
    ("memory", "b"): ("warning", r"128 MiB available for 2 tasks", r"fewer tasks"),
    ("cores", "b"): ("warning", r"2 trainers share 1 core", r"fewer workers"),
    ("GPUs", "b"): ("failed", r"it has \d+ of the 64 GPUs", r"hosts\[\]\.gpus"),
    ("open files", "b"): ("failed", r"may open 80 files; with 7 tasks .* need 92", r"nofile"),
    ("proxies", "b"): ("failed", r"http_proxy is set there, .* reach a, b, c, gone by that proxy", r"no_proxy"),
    ("TF_CONFIG", "b"): ("warning", r"TF_CONFIG is set in the environment", r"start-up files"),
    ("old runs", "b"): (
        "warning",
        r"run night-20260101-000000 is alive there: 1 process, .* pid \d+",
        r"tflaunch stop",
    ),
}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    require_hosts()
    with network(tmp_path_factory.mktemp("net"), ["a", "b", "c"], OPTIONS) as made:
        for host in made.hosts:
            furnish(host)
        (made.host("b").home / "work" / "train.py").unlink()
        (made.host("b").home / "work").rmdir()
        (made.host("c").home / "work" / "train.py").unlink()
        write_program(made.host("c").home / "bin" / "python3", FAST_CLOCK)
        yield made


def furnish(host: Host) -> None:
    """A stand-in for TensorFlow, and a program: the Python of ``hosts`` that finds them is ~/bin/python."""
    version = {"b": "2.14.0"}.get(host.name, "2.15.1")
    site = host.home / "site"
    package = site / "tensorflow"
    package.mkdir(parents=True)
    (site / f"tensorflow-{version}.dist-info").mkdir()
    (site / f"tensorflow-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: tensorflow\nVersion: {version}\n"
    )
    trouble = "raise ImportError('libcudart.so.12: cannot open shared object file')\n" if host.name == "c" else ""
    estimator = "" if host.name == "b" else "class estimator:\n    Estimator = object\n"
    (package / "__init__.py").write_text(f"{trouble}__version__ = {version!r}\n{estimator}")
    if host.name == "b":
        (site / "sitecustomize.py").write_text("import platform\nplatform.python_version = lambda: '3.9.18'\n")
    (host.home / "bin").mkdir()
    write_program(host.home / "bin" / "python", f'#!/bin/sh\nPYTHONPATH={HOME}/site exec {sys.executable} "$@"\n')
    (host.home / "work").mkdir()
    (host.home / "work" / "train.py").write_text("")


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def written(hosts: Network, **keys: object) -> dict[str, Any]:
    made = spec(
        hosts,
        command=["python", "train.py"],
        cwd="~/work",
        python={"path": f"{BIN}/python"},
        preload=["tensorflow"],
        model_dir=f"{SHARED}/model",
        roles=ROLES,
        **keys,
    )
    made["hosts"][1] |= {"ports": "20000-20001", "gpus": 64}
    made["hosts"][2] |= {"ports": "21000-21999"}
    return made


def examine(hosts: Network, cwd: Path, made: dict[str, Any], *options: str) -> Finished:
    (cwd / "spec.yaml").write_text(yaml.safe_dump(made))
    return tflaunch("doctor", "spec.yaml", *options, cwd=cwd, HOME=str(hosts.user_home))


def test_every_check_finds_its_planted_fault(hosts: Network, tmp_path: Path) -> None:
    made = written(hosts)
    made["hosts"].append({"name": "gone", "address": f"10.231.{hosts.number}.1", "ssh": {"port": 2}})
    done = examine(hosts, tmp_path, made, "--json")
    assert done.code == 3, done.stdout + done.stderr
    assert "s3cr3t" not in done.stdout + done.stderr
    said = json.loads(done.stdout)
    faults = {
        (found["check"], found["host"]): found for found in said["checks"] if found["level"] in ("warning", "failed")
    }
    for key, (level, message, advice) in FOUND.items():
        found = faults.pop(key)
        assert (key, found["level"]) == (key, level), found
        assert re.search(message, found["message"]) and re.search(advice, found["advice"]), found
    assert not faults
    everything = {found["check"] for found in said["checks"]} - {
        "run folder",
        "requirements",
    }  # of Slurm's nodes, of deploy
    assert {check for check, _ in FOUND} == everything, "a check without a planted fault"
    for host in hosts.hosts:
        wait_until(lambda host=host: not [w for w in host.ours().values() if "sleep" not in w])  # type: ignore[misc]
        assert host.run("find", "/mnt", "-name", ".tflaunch-doctor-*") == ""
    assert list(hosts.shared.iterdir()) == []


def test_hosts_in_order_and_one_that_hangs(hosts: Network, tmp_path: Path) -> None:
    """The last two of the three are left out of this one: what is left is in order, but for a host that hangs."""
    made = written(hosts)
    made["hosts"] = made["hosts"][:1]
    made["roles"] = {"ps": {}, "chief": {}, "worker": {"count": 1}}
    good = examine(hosts, tmp_path, made)
    assert good.code == 0, good.stdout + good.stderr
    assert "✗" not in good.stdout and "ready: the host" in good.stdout
    address = f"10.231.{hosts.number}.1"
    with socket.create_server((address, 0)) as silent:
        ssh = {"port": silent.getsockname()[1], "connect_timeout_s": 2}
        made["hosts"].append({"name": "hangs", "address": address, "ssh": ssh})
        bad = examine(hosts, tmp_path, made)
    assert bad.code == 3 and re.search(r"✗ reachable +hangs: (no answer|.* does not speak SSH)", bad.stdout), bad.stdout
    assert re.search(r"^tensorflow +✓ 2\.15\.1", bad.stdout, re.MULTILINE), bad.stdout
