"""Who is at the other end of a unix socket, and what this process is able to see."""

from __future__ import annotations

import os
import socket
import sys


class ForeignPeerError(Exception):
    """At the other end of a socket is a process of somebody else; the text says whose."""


def check(connection: socket.socket, what: str) -> None:
    """Raises ForeignPeerError unless the process at the other end is this user's (SO_PEERCRED, see unix(7))."""
    facts = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid = int.from_bytes(facts[4:8], sys.byteorder)
    if uid != os.getuid():
        raise ForeignPeerError(f"at the other end of {what} is a process of {user(uid)}, not of {user(os.getuid())}")


def identity(pid: int) -> str:
    """Names a process of this machine for good, as ``PID.STARTED``: its pid, and when it was started, in ticks since
    boot. Raises OSError if there is none."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return f"{pid}.{int(file.read().rpartition(b')')[2].split()[19])}"


def watch(name: str) -> int:
    """A descriptor that can be read when the process of that name has ended. Raises OSError if it has already."""
    pid = int(name.partition(".")[0])
    fd = os.pidfd_open(pid)
    if identity(pid) == name:
        return fd
    os.close(fd)
    raise ProcessLookupError(f"{name} has ended")


def user(uid: int) -> str:
    """The user's name, for people."""
    import pwd

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def where() -> dict[str, object]:
    """Names this machine, this boot of it, and the processes that can be seen from here."""
    return {"host": socket.gethostname(), "boot": boot_id(), "processes": pid_namespace()}


def boot_id() -> str:
    """Names this boot of this kernel; empty if it is not told."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def pid_namespace() -> str:
    """Names the processes that can be seen, as in namespaces(7); empty if that is not told."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - pathlib costs the relay too much
    except OSError:
        return ""
