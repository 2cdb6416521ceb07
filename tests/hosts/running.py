"""Runs ``tflaunch`` over namespace hosts, as a user does whose home holds the key and the known hosts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.running import REPORT, Finished, environment, tflaunch, tflaunch_argv
from tests.hosts.namespaces import REPOSITORY, Network

FAKE_CLUSTER = str(REPOSITORY / "tests" / "e2e" / "fake_cluster.py")
DEADLINE_S = 90.0
GOOD = {
    "ps": "listen,ready,hang",
    "chief": "gate,ready,step=10:320,finished=10,barrier,saved=10",
    "worker": "gate,ready,step=9:288,finished=9",
    "evaluator": "ready,drain",
}
ENDLESS = {
    "ps": "listen,ready,hang",
    "chief": "gate,ready,step=1,stop",
    "worker": "gate,ready,step=1,stop",
    "evaluator": "ready,hang",
}
ROLES = {
    "ps": {"count": 2, "on": ["a", "b"]},
    "chief": {"on": ["a"]},
    "worker": {"count": 3, "on": ["a", "b", "c"]},
    "evaluator": {"on": ["c"]},
}


def spec(
    hosts: Network,
    *,
    words: Mapping[str, str] | None = None,
    ssh: Mapping[str, Mapping[str, object]] | None = None,
    **keys: object,
) -> dict[str, Any]:
    """A spec of the fake cluster over these hosts. ``ssh``: what to add to a host's ssh section; ``keys``: what to set
    or replace in the spec."""
    command = ["python", FAKE_CLUSTER, *(f"{task}={text}" for task, text in (words or GOOD).items())]
    return {
        "command": command,
        "hosts": [
            {"name": host.name, "address": host.address, "ssh": dict((ssh or {}).get(host.name, {}))}
            for host in hosts.hosts
        ],
        "roles": ROLES,
        "preload": [],
        "cwd": "~",
        "python": {"path": sys.executable},
        **keys,
    }


def part_of(processes: Mapping[int, str], name: str) -> int:
    """The keeper or the agent among a host's processes, which say what they are."""
    return next(pid for pid, words in processes.items() if words.startswith(f"tflaunch {name} "))


def run_on(hosts: Network, cwd: Path, written: Mapping[str, object], *options: str, **env: str) -> Finished:
    """``tflaunch run`` to its end."""
    return tflaunch(
        *("run", str(_write(cwd, written)), "--plain", "--run-dir", "run", *options),
        cwd=cwd,
        HOME=str(hosts.user_home),
        **env,
    )


def _write(cwd: Path, written: Mapping[str, object]) -> Path:
    path = cwd / "spec.yaml"
    path.write_text(yaml.safe_dump(dict(written), allow_unicode=True))
    return path


def wait_until(what: Callable[[], object], why: str = "", timeout_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, f"waited in vain {why}"
        time.sleep(0.02)


class Live:
    """A run in the foreground of a process of ours."""

    def __init__(self, hosts: Network, cwd: Path, written: Mapping[str, object], *options: str) -> None:
        self.folder = cwd / "run"
        self._hosts = hosts
        self._said = (cwd / "said.txt").open("w+")
        self.client = subprocess.Popen(
            tflaunch_argv("run", str(_write(cwd, written)), "--plain", "--run-dir", "run", *options),
            cwd=cwd,
            env=environment(HOME=str(hosts.user_home)),
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def said(self) -> str:
        self._said.seek(0)
        return self._said.read()

    def events(self, kind: str, **values: object) -> list[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError):
            lines = (self.folder / "events.jsonl").read_text().splitlines()
            found = [json.loads(line) for line in lines if line.endswith("}")]
            return [
                event
                for event in found
                if event["kind"] == kind and all(event[name] == value for name, value in values.items())
            ]
        return []

    def wait_for(self, kind: str, *, timeout_s: float = DEADLINE_S, **values: object) -> dict[str, Any]:
        wait_until(lambda: self.events(kind, **values) or self._ended(), f"for {kind} {values}: {self.said}", timeout_s)
        return self.events(kind, **values)[-1]

    def _ended(self) -> bool:
        assert self.client.poll() is None, self.said
        return False

    def until_training(self, tasks: Sequence[str] = ("chief:0", "worker:0", "worker:1", "worker:2")) -> None:
        for task in tasks:
            self.wait_for("task_changed", task=task, state="training")

    def supervisor(self) -> int:
        return int(json.loads((self.folder / "supervisor.json").read_text())["pid"])

    def end(self) -> int:
        return self.client.wait(DEADLINE_S)

    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / REPORT).read_text()))

    def log(self, task: str) -> str:
        return (self.folder / "logs" / f"{task.replace(':', '-')}.log").read_text(errors="replace")

    def close(self) -> None:
        """Whatever is left of it here; hosts see to themselves."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            os.kill(self.supervisor(), signal.SIGKILL)
        if self.client.poll() is None:
            self.client.kill()
            self.client.wait()
        self._said.close()


def left(hosts: Network) -> dict[str, list[str]]:
    """What still runs on hosts, sshd aside."""
    return {host.name: list(ours.values()) for host in hosts.hosts if (ours := host.ours())}


def wait_until_gone(hosts: Network) -> None:
    """Waits until nothing of a run is left on any host, files included."""
    wait_until(lambda: not left(hosts), f"for the end of what runs on hosts: {left(hosts)}")
    for host in hosts.hosts:
        assert list(host.tmp.glob(f"tflaunch-{os.getuid()}-*")) == []


StartLive = Callable[..., Live]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[StartLive]:
    """Starts runs, and takes away what tests leave of them here."""
    started: list[Live] = []

    def start(hosts: Network, written: Mapping[str, object], *options: str) -> Live:
        started.append(Live(hosts, tmp_path, written, *options))
        return started[-1]

    yield start
    for run in started:
        run.close()


def readable(path: Path) -> bool:
    """Whether the process is still there."""
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
