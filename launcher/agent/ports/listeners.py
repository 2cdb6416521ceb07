"""Who listens on a port, from /proc/net/tcp and the descriptors of processes. See proc(5)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from launcher.agent.system import processes
from launcher.wire.forms.named import NamedTuple

_LISTEN = b"0A"


class Listener(NamedTuple):
    """A listening socket: its inode and the user it belongs to."""

    inode: int
    uid: int


def listeners(ports: Iterable[int]) -> dict[int, list[Listener]]:
    """The listening sockets of these ports, of both families, in this network namespace."""
    wanted = {b"%04X" % port: port for port in ports}
    found: dict[int, list[Listener]] = {port: [] for port in wanted.values()}
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        for line in _lines(table):
            field = line.split()
            if field[3] == _LISTEN and (port := wanted.get(field[1].rpartition(b":")[2])) is not None:
                found[port].append(Listener(inode=int(field[9]), uid=int(field[7])))
    return found


def _lines(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read().splitlines()[1:]
    except FileNotFoundError:
        return []  # a host without IPv6


def sockets_of(pid: int) -> set[int]:
    """The inodes of the sockets that a process has open; empty if that may not be seen."""
    found = set()
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                try:
                    facts = entry.stat()
                except FileNotFoundError:
                    continue
                if stat.S_ISSOCK(facts.st_mode):
                    found.add(facts.st_ino)
    except OSError:
        return found
    return found


def owner_of(inode: int) -> int | None:
    """The process that has this socket open; None if it has gone, or belongs to somebody we may not look at."""
    return next((pid for pid in processes.pids() if inode in sockets_of(pid)), None)
