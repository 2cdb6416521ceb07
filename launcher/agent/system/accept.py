"""Accepts connections of this user's processes, and outlasts a shortage of descriptors."""

from __future__ import annotations

import socket
from collections.abc import Callable

from launcher.agent.system.loop import Loop
from launcher.wire.private import peers

_PAUSE_S = 0.2


class Acceptor:
    """Gives each new connection of a listening socket to ``on_connection``; those of other users are closed."""

    def __init__(self, loop: Loop, listener: socket.socket, on_connection: Callable[[socket.socket], None]) -> None:
        self._loop = loop
        self._listener = listener
        self._on_connection = on_connection
        self._watch()

    def _watch(self) -> None:
        self._loop.watch(self._listener.fileno(), read=self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:
            # No descriptor left: the connection waits in the backlog, and would wake us again at once.
            self._loop.forget(self._listener.fileno())
            self._loop.later(_PAUSE_S, self._watch)
            return
        try:
            peers.check(connection, "a connection")
        except peers.ForeignPeerError:
            connection.close()
            return
        self._on_connection(connection)
