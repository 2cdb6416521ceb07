"""What tells one process, boot and PID namespace of this machine from another."""

from __future__ import annotations

from pathlib import Path


def start_time_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if there is no such process or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


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
