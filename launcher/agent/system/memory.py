"""Whether the kernel has killed for want of memory."""

from __future__ import annotations

import resource

_MIB = 1024 * 1024
_NO_LIMIT_BYTES = 1 << 60


def oom_kills() -> int:
    """A number that rises whenever the kernel has killed for want of memory: the kills in this process's cgroup, where
    they are counted, and those on the whole host. See memory.events in the kernel's cgroup-v2 document, and oom_kill
    in /proc/vmstat."""
    return sum(_count(path) or 0 for path in (*_cgroup_files(), "/proc/vmstat"))


def limit_mib() -> int | None:
    """How much memory this process's cgroup allows; None without a bound."""
    for path in _cgroup_files():
        folder = path.rpartition("/")[0]
        for name in ("memory.max", "memory.limit_in_bytes"):
            for line in _lines(f"{folder}/{name}"):
                if line.isdigit() and int(line) < _NO_LIMIT_BYTES:
                    return int(line) // _MIB
    return None


def address_space_mib() -> int | None:
    """The limit of virtual memory (``ulimit -v``), which tasks inherit; None without one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft // _MIB


def _cgroup_files() -> list[str]:
    files = []
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files.append(f"/sys/fs/cgroup{path}/memory.events")
        elif "memory" in controllers.split(","):
            files.append(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
    return files


def _count(path: str) -> int | None:
    for line in _lines(path):
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return None


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []
