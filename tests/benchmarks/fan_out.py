"""``python3 -c pass`` on fifty hosts made of namespaces: ``tflaunch run`` against pdsh and clush, alternating.

Seconds from the start of the command until all have ended. The agent is cached on the hosts, as after a first run, and
our modules are compiled here, as those of an installed package are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import yaml

from tests.e2e.running import environment, tflaunch_argv
from tests.hosts.namespaces import Network, network

HOSTS = 50
FAN_OUT = "64"
PYTHON = "/usr/bin/python3"
TIMEOUT_S = 120.0


def measure(rounds: int) -> dict[str, list[float]]:
    """Samples by tool; a tool that is not installed has none."""
    folder = Path(tempfile.mkdtemp(prefix="tflaunch-fan-out-"))
    names = [f"n{number:02d}" for number in range(HOSTS)]
    samples: dict[str, list[float]] = {}
    try:
        with network(folder / "net", names) as hosts:
            _tflaunch(hosts, folder, "first")
            for number in range(rounds):
                samples.setdefault("tflaunch", []).append(_tflaunch(hosts, folder, f"run-{number}"))
                for tool, command in _others(hosts).items():
                    if shutil.which(tool):
                        samples.setdefault(tool, []).append(_seconds(command, dict(os.environ)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return samples


def _seconds(command: list[str], env: dict[str, str], cwd: Path = Path("/")) -> float:
    began = time.monotonic()
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    took_s = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return took_s


def _tflaunch(hosts: Network, folder: Path, name: str) -> float:
    spec = folder / "spec.yaml"
    spec.write_text(
        yaml.safe_dump(
            {
                "command": ["python", "-c", "pass"],
                "python": {"path": PYTHON},
                "cwd": "~",
                "hosts": [{"name": host.name, "address": host.address, "ssh": {}} for host in hosts.hosts],
                "roles": {
                    "ps": {"on": [hosts.hosts[0].name]},
                    "chief": {"on": [hosts.hosts[1].name]},
                    "worker": {"count": HOSTS - 2, "on": [host.name for host in hosts.hosts[2:]]},
                },
            }
        )
    )
    command = tflaunch_argv("run", str(spec), "--plain", "--run-dir", str(folder / name))
    return _seconds(command, environment(HOME=str(hosts.user_home), PYTHONDONTWRITEBYTECODE=""), folder)


def _others(hosts: Network) -> dict[str, list[str]]:
    known = hosts.user_home / ".ssh" / "known_hosts"
    options = f"-i {hosts.key} -o UserKnownHostsFile={known}"
    addresses = ",".join(host.address for host in hosts.hosts)
    task = [PYTHON, "-c", "pass"]
    return {
        "pdsh": ["env", f"PDSH_SSH_ARGS_APPEND={options}", "pdsh", "-R", "ssh", "-f", FAN_OUT, "-w", addresses, *task],
        "clush": ["clush", "-S", "-f", FAN_OUT, "-o", options, "-w", addresses, *task],
    }
