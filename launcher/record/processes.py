"""What tells one process, boot and PID namespace of this machine from another."""

from __future__ import annotations

from pathlib import Path


def start_time_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if there is no such process or only a zombie."""
    fields = _fields(pid)
    return None if not fields or fields[0] in ("Z", "X") else int(fields[19])


def state_of(pid: int) -> str:
    """The letter that proc(5) has for what the process does; empty if there is none."""
    fields = _fields(pid)
    return fields[0] if fields else ""


def _fields(pid: int) -> list[str]:
    """Of ``/proc/<pid>/stat``, from the state on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def pid_namespace() -> str:
    """Names the processes that can be seen."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def boot_id() -> str:
    """Names this boot of this kernel."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
