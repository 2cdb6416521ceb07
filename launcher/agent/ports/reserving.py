"""Reserves ports: held from the plan to the end, yet free for the task to listen on.

A port is held by a socket that is bound with SO_REUSEPORT and never listens, on the wildcard address of both families,
as TensorFlow's server binds (with ``TF_GRPC_REUSE_PORT=1``). Nobody without SO_REUSEPORT and no other user gets the
port then. Among launchers, of any user, an abstract socket named after the port is the claim; that nobody else holds it
is proven by binding it once without SO_REUSEPORT. Linux, socket(7) and unix(7).
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import Iterator

from launcher.wire.forms.named import NamedTuple

REUSE_VARIABLE = "TF_GRPC_REUSE_PORT"
_FIRST_PORT = 10000
_ENOUGH_PORTS = 2000


class PortsError(Exception):
    """No port was to be had."""


class HeldPort(NamedTuple):
    """A port and the two sockets that hold it: the claim among launchers, and the bound socket."""

    number: int
    claim: socket.socket
    holder: socket.socket

    def release(self) -> None:
        """Gives the port up, as far as this process holds it."""
        self.holder.close()
        self.claim.close()


def reserve(low: int | None, high: int | None) -> HeldPort:
    """Holds a free port out of ``low`` to ``high``; raises PortsError if there is none, OSError (EMFILE)."""
    for number in _candidates(low, high):
        if (held := hold(number)) is not None:
            return held
    raise PortsError(f"no free port between {low} and {high}; free one, or give the host a wider range of ports")


def _candidates(low: int | None, high: int | None) -> Iterator[int]:
    if low is None or high is None:
        first, last = _quiet_range()
    else:
        first, last = low, high
    # At random, so that launchers that start at the same time seldom try the same one; each port comes once.
    count = max(1, last + 1 - first)
    at, step = (int.from_bytes(os.urandom(8), "big") for _ in range(2))
    while math.gcd(step, count) != 1:
        step += 1
    return (first + (at + number * step) % count for number in range(count))


def _quiet_range() -> tuple[int, int]:
    """Ports that the kernel gives to no outgoing connection, if there are enough of them."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            low, high = (int(word) for word in file.read().split())
    except (OSError, ValueError):
        return _FIRST_PORT, 65535
    if low - _FIRST_PORT >= _ENOUGH_PORTS:
        return _FIRST_PORT, low - 1
    return (high + 1, 65535) if 65535 - high >= _ENOUGH_PORTS else (_FIRST_PORT, 65535)


def hold(number: int) -> HeldPort | None:
    """Holds that port; None if somebody has it. Raises OSError for other reasons (no descriptors left)."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    holder = None
    try:
        claim.bind(f"\0tflaunch-port-{number}")
        _wildcard(number, reuse=False).close()
        holder = _wildcard(number, reuse=True)
    except OSError as error:
        claim.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        return None
    return HeldPort(number, claim, holder)


def _wildcard(number: int, *, reuse: bool) -> socket.socket:
    """A socket bound to the port on every address of both families, or of IPv4 on a host without IPv6."""
    try:
        return _bind(socket.AF_INET6, "::", number, reuse=reuse)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
    return _bind(socket.AF_INET, "0.0.0.0", number, reuse=reuse)


def _bind(family: int, address: str, number: int, *, reuse: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if reuse:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((address, number))
    except OSError:
        bound.close()
        raise
    return bound


def adopted(fds: tuple[int, ...]) -> HeldPort:
    """The port that the keeper has held for a former agent."""
    claim, holder = (socket.socket(fileno=os.dup(fd)) for fd in fds)
    return HeldPort(int(holder.getsockname()[1]), claim, holder)
