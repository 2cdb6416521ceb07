"""What a process has from its parent: by it those are told apart who can stand in for one of another process."""

from __future__ import annotations

import os
import resource
from pathlib import Path

_LIMITS = tuple(number for name, number in sorted(vars(resource).items()) if name.startswith("RLIMIT_"))


def circumstances() -> list[object]:
    """What this process hands on to what it starts, beside its environment, its folder and what it has open: umask,
    limits, user and groups, CPUs and priority, namespaces, cgroup. As JSON has it; equal lists are equal places."""
    umask = os.umask(0o077)
    os.umask(umask)
    spaces = [path.stat().st_ino for path in sorted(Path("/proc/self/ns").iterdir())]
    files = [Path("/proc/self", name) for name in ("cgroup", "oom_score_adj")]
    return [
        umask,
        [resource.getrlimit(number) for number in _LIMITS],
        [os.getresuid(), os.getresgid(), sorted(os.getgroups())],
        [sorted(os.sched_getaffinity(0)), os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)],
        [spaces, [file.read_text() for file in files if file.exists()]],
    ]


def installed(path: list[str]) -> list[tuple[str, int]]:
    """When something was installed last, in each folder of ``path`` that is made for it."""
    folders = [Path(entry) for entry in path if entry.endswith("-packages")]
    return [(str(folder), folder.stat().st_mtime_ns) for folder in folders if folder.is_dir()]
