"""What this host is and has: limits, memory, cores, disks, GPUs, variables, and runs that are still alive here."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from launcher.agent.inside.guard import library
from launcher.agent.ports import guarding
from launcher.agent.system import processes
from launcher.agent.tasks import environment
from launcher.wire.private import cores
from launcher.wire.variables import RUN_VARIABLE

_MIB = 1024 * 1024
_GPU_LIMIT_S = 10.0
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # those that gRPC obeys, in its order
_NO_PROXIES = ("no_grpc_proxy", "no_proxy")
_CGROUPS = Path("/sys/fs/cgroup")


def system(places: Sequence[str], gpus: bool, address: str, alone: bool) -> dict[str, object]:
    """All of it. ``places``: folders whose disks count; ``gpus``: whether to look for them, which may take seconds;
    ``address``: how the other hosts call this one, if it is not ``alone``."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "hostname": platform.node(),
        "open_files": _limit(resource.RLIMIT_NOFILE),
        "cores": round(cores.usable(os.environ), 2),
        "memory_mib": _memory_mib("MemTotal"),
        "available_mib": min(_memory_mib("MemAvailable"), *_cgroup_room_mib()),
        "disks": [_disk(place) for place in dict.fromkeys(places)],
        "gpus": _gpus() if gpus else None,
        "proxies": [name for name in _PROXIES if os.environ.get(name)],
        "no_proxy": next((os.environ[name] for name in _NO_PROXIES if os.environ.get(name)), ""),
        "tf_config": "TF_CONFIG" in os.environ,
        "open_ports": library.obstacle(),
        "listens_at": guarding.own_ip(address, alone=alone),
        "runs": list(_runs()),
    }


def _limit(kind: int) -> list[int | None]:
    return [None if value == resource.RLIM_INFINITY else value for value in resource.getrlimit(kind)]


# --- memory, as far as this process may use them


def _memory_mib(key: str) -> int:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) // 1024
    return 0


def _cgroup_room_mib() -> Iterator[int]:
    yield 1 << 40
    for folder in _cgroup_folders("memory"):
        for most, now in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit, used = _text(folder / most), _text(folder / now)
            if limit.isdigit() and used.isdigit():
                yield max(0, int(limit) - int(used)) // _MIB


def _cgroup_folders(controller: str) -> Iterator[Path]:
    """This process's control groups of that kind and those above, of version 2 and 1; see cgroups(7)."""
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        if kinds in ("", controller) or controller in kinds.split(","):
            top = _CGROUPS / kinds if kinds else _CGROUPS
            own = top / path.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


# --- disks and GPUs


def _disk(place: str) -> dict[str, object]:
    """The room where ``place`` is, or will be made."""
    path = Path(environment.at_home(place, os.environ))
    there = next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))
    facts = os.statvfs(there)
    return {
        "place": place,
        "free_mib": facts.f_bavail * facts.f_frsize // _MIB if facts.f_blocks else None,  # some do not count
        "free_files": facts.f_favail if facts.f_files else None,
        "read_only": bool(facts.f_flag & os.ST_RDONLY),
        "device": there.stat().st_dev,
    }


def _gpus() -> list[str]:
    """The GPUs, by what nvidia-smi says; where there is none, by their device files."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_GPU_LIMIT_S, errors="replace", check=False
        )
        if done.returncode == 0:
            return [line.partition(" (UUID")[0] for line in done.stdout.splitlines() if line.startswith("GPU ")]
    except (OSError, subprocess.TimeoutExpired):
        pass
    return sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))


# --- runs


def _runs() -> Iterator[Mapping[str, object]]:
    """Each run of ours that has a living process here, with its oldest one."""
    found: dict[bytes, list[processes.Process]] = {}
    for pid in processes.pids():
        run = processes.environment(pid).get(RUN_VARIABLE.encode())
        process = processes.read(pid) if run and pid != os.getpid() else None
        if run and process is not None and process.alive:
            found.setdefault(run, []).append(process)
    for run, members in sorted(found.items()):
        oldest = min(members, key=lambda process: (process.started_ticks, process.pid))
        name = run.decode("utf-8", "replace")
        yield {"run": name, "pid": oldest.pid, "processes": len(members), "since": processes.since(oldest)}
