"""Writes the file by which the library knows the run's addresses and their keys; ``guard.h`` says what is in it.

Standard library only: agents do this. The file holds secrets, is the user's own (0600), and never seen half-written.
"""

from __future__ import annotations

import math
import os
import socket
import struct
from collections.abc import Iterable

from launcher.wire.forms.named import NamedTuple

VARIABLE = "TFLAUNCH_GUARD"
KEY_BYTES = 32
PATIENCE_S = 10.0
_LONGEST_S = 86400.0  # keep-alive knows hours, not weeks
_HEADER = struct.Struct("=8sIIII40x")
_RECORD = struct.Struct("=16sHH12x32s")
_MAGIC, _VERSION = b"tflguard", 1
_OWN, _ANYWHERE = 1, 2


class Address(NamedTuple):
    """Where a task listens: an IP address and a port, and the key that a connection to it begins with.

    ``own``: a task of this host, which is to listen there; ``anywhere``: on all addresses of the host, since this one
    is none of them.
    """

    ip: str
    port: int
    key: bytes
    own: bool = False
    anywhere: bool = False


class Liveliness(NamedTuple):
    """How soon the silence of a peer is noticed; 0 leaves it to the system. ``keepalive_s``: after that long it is
    asked whether it lives, three times; ``unanswered_s``: how long what was sent may stay unanswered."""

    keepalive_s: int = 0
    unanswered_s: int = 0

    @classmethod
    def for_lease(cls, lease_s: float) -> Liveliness:
        """For a run whose hosts may be silent for as long: that costs no connection, and more ends it, whether or not
        something is on its way. The second limit holds for what is asked, too: TCP_USER_TIMEOUT in tcp(7)."""
        limit_s = math.ceil(min(max(lease_s, 1.0), _LONGEST_S))
        return cls(keepalive_s=max(1, limit_s // 6), unanswered_s=limit_s)


def write(
    path: str,
    addresses: Iterable[Address],
    *,
    patience_s: float = PATIENCE_S,
    liveliness: Liveliness = Liveliness(),  # noqa: B008 - a frozen value
) -> None:
    """Puts a new file in the place of the former one; raises OSError. ``patience_s``: how long a connection may take to
    show its key."""
    draft = f"{path}.{os.getpid()}"
    header = _HEADER.pack(
        _MAGIC, _VERSION, round(patience_s * 1000), liveliness.keepalive_s, liveliness.unanswered_s * 1000
    )
    data = header + b"".join(map(_record, addresses))
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(file, "wb") as stream:
            stream.write(data)
        os.rename(draft, path)  # noqa: PTH104 - pathlib costs an agent too much
    except OSError:
        os.unlink(draft)  # noqa: PTH108
        raise


def _record(address: Address) -> bytes:
    flags = address.own * _OWN | address.anywhere * _ANYWHERE
    return _RECORD.pack(_packed(address.ip), address.port, flags, address.key)


def _packed(ip: str) -> bytes:
    """The 16 bytes of an IP address, those of an IPv4 address as IPv6 writes them."""
    return socket.inet_pton(socket.AF_INET6, ip if ":" in ip else f"::ffff:{ip}")
