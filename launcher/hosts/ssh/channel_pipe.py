"""A blocking channel as a pair of asyncio streams: one thread for each direction."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Protocol

from launcher.wire.protocol import MAX_LINE_BYTES

Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_CHUNK_BYTES = 65536


class Channel(Protocol):
    """What is used of a channel of an SSH connection; each call blocks."""

    def recv(self, nbytes: int) -> bytes:
        """The next bytes, empty at the end."""

    def sendall(self, s: bytes) -> None:
        """Sends everything."""

    def shutdown_write(self) -> None:
        """Says that nothing more will be sent."""


async def open_pipe(channel: Channel) -> Pipe:
    """The channel's two directions. They end when the far side does, when the channel is closed, and, the sending one,
    when the writer is closed."""
    near, far = socket.socketpair()
    far.setblocking(True)
    for work, name in ((_receive, "ssh-receive"), (_send, "ssh-send")):
        threading.Thread(target=work, args=(channel, far), name=name, daemon=True).start()
    return await asyncio.open_connection(sock=near, limit=MAX_LINE_BYTES)


def _receive(channel: Channel, far: socket.socket) -> None:
    with contextlib.suppress(OSError, EOFError):
        while data := channel.recv(_CHUNK_BYTES):
            far.sendall(data)
    with contextlib.suppress(OSError):
        far.shutdown(socket.SHUT_WR)  # not both ways: a write that fails would hide from the reader what has come


def _send(channel: Channel, far: socket.socket) -> None:
    with contextlib.suppress(OSError, EOFError):
        while data := far.recv(_CHUNK_BYTES):
            channel.sendall(data)
    with contextlib.suppress(OSError, EOFError):
        channel.shutdown_write()
