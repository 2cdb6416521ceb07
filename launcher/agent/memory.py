"""Whether the kernel has killed for want of memory."""

from __future__ import annotations


def oom_kills() -> int:
    """How many processes the kernel has killed for memory, in this process's cgroup where that is counted, else on the
    whole host. See memory.events in the kernel's cgroup-v2 document, and oom_kill in /proc/vmstat."""
    for path in (*_cgroup_files(), "/proc/vmstat"):
        count = _count(path)
        if count is not None:
            return count
    return 0


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
