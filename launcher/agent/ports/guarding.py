"""Has the tasks of this host guarded: they load the library, and find a file that says where the run's tasks listen.

Names of hosts are looked up in a process of its own, since that may take long; meanwhile commands wait.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from launcher.agent.inside.guard import addresses, library
from launcher.agent.inside.guard.addresses import Address
from launcher.agent.system.loop import Loop
from launcher.agent.tasks.environment import LIBRARY_VARIABLE
from launcher.wire import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_FILE = "guard"


class Guarding:
    """What tasks are started with is added to ``base``, the environment that all of them begin with. ``liveliness``:
    of the connections among tasks."""

    def __init__(
        self,
        loop: Loop,
        say: Callable[[protocol.Message], None],
        home: Path,
        base: dict[str, str],
        liveliness: addresses.Liveliness,
    ) -> None:
        self._loop = loop
        self._say = say
        self._home = home
        self._base = base
        self._liveliness = liveliness
        self._waiting: list[Callable[[], None]] = []
        self.busy = False
        base.pop(addresses.VARIABLE, None)  # that of a run which we are a task of

    @property
    def is_on(self) -> bool:
        """Whether tasks are guarded that start now."""
        return addresses.VARIABLE in self._base

    def renew(self, command: protocol.Guard) -> None:
        """From now on tasks are guarded, and know these addresses."""
        self._base[LIBRARY_VARIABLE] = library.loadable(self._home)
        if not command.addresses:
            return  # they are not known yet, but what is preloaded loads the library, too
        self._base[addresses.VARIABLE] = str(self._home / _FILE)
        if all(map(_is_ip, _hosts(command))):
            self._written(self._write(command))
        else:
            self._write_elsewhere(command)

    def when_written(self, call: Callable[[], None]) -> None:
        """Makes the call when the file is there."""
        self._waiting.append(call)

    def _write(self, command: protocol.Guard) -> str:
        """What is to be said of it."""
        records, note = _records(command)
        try:
            addresses.write(str(self._home / _FILE), records, liveliness=self._liveliness)
        except OSError as error:
            return f"the addresses of the run cannot be written ({error.strerror}): no task will open a port"
        return note

    def _write_elsewhere(self, command: protocol.Guard) -> None:
        reader, writer = os.pipe()
        if os.fork() == 0:
            self._write_and_end(command, writer)
        os.close(writer)
        self.busy = True
        said = bytearray()

        def read() -> None:
            if part := os.read(reader, 4096):
                said.extend(part)
                return
            self._loop.forget(reader)
            os.close(reader)
            self.busy = False
            self._written(said.decode())

        self._loop.watch(reader, read=read)

    def _write_and_end(self, command: protocol.Guard, writer: int) -> NoReturn:
        try:
            os.write(writer, self._write(command).encode())
        finally:
            os._exit(0)

    def _written(self, note: str) -> None:
        self._say(protocol.Guarded(note=note))
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()


def _hosts(command: protocol.Guard) -> Iterable[str]:
    return dict.fromkeys(place.rpartition(":")[0] for place in command.addresses)


def _records(command: protocol.Guard) -> tuple[list[Address], str]:
    """The addresses as they are here, and what is to be said of them."""
    ips = {host: _look_up(host) for host in _hosts(command)}
    records, notes = [], {}
    for place, key in command.addresses.items():
        host, _, port = place.rpartition(":")
        mine = _own(ips[host], alone=len(ips) == 1) if place in command.own else ""
        if place in command.own and not mine:
            where = ", ".join(ips[host]) or "not known"
            notes[host] = f"the address of {host} is {where} here, which is none of its own that others reach"
            records.append(Address("::", int(port), bytes.fromhex(key), own=True, anywhere=True))
        records += [Address(ip, int(port), bytes.fromhex(key), own=ip == mine) for ip in ips[host]]
    said = "; ".join(notes.values())
    return records, f"{said}: its ports listen on all addresses, and answer who has the key" if said else ""


def own_ip(host: str, *, alone: bool) -> str:
    """The IP address of this host's tasks, if ``host`` is how the others call it; empty if it is none of its own.
    Blocks as long as names take."""
    return _own(_look_up(host), alone=alone)


def _look_up(host: str) -> Mapping[str, None]:
    """Its IP addresses here, in the order in which programs try them."""
    if _is_ip(host):
        return {host: None}
    try:
        found = socket.getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return {}
    return {str(entry[4][0]).partition("%")[0]: None for entry in found}


def _own(ips: Iterable[str], *, alone: bool) -> str:
    """The first one that a task can listen on, and be reached at by those of other hosts if there are any."""
    reachable = (ip for ip in ips if alone or not (ip.startswith("127.") or ip == "::1"))
    return next(filter(_is_local, reachable), "")


def _is_local(ip: str) -> bool:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((ip, 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def _is_ip(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, UnicodeError):
            continue
        return True
    return False
