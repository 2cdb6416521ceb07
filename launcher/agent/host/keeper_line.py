"""The agent's end of the line to its keeper."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence

from launcher.agent.system.loop import Loop

_PATIENCE_S = 5.0


class KeeperLine:
    """What the keeper holds for this agent and for those that may follow it, by name.

    ``held`` is what was held already when this agent was forked: the same descriptors, in this process.
    """

    def __init__(self, line: socket.socket, held: dict[str, tuple[int, ...]]) -> None:
        self._line = line
        self.held = held

    def watch(self, loop: Loop, on_lost: Callable[[], None]) -> None:
        """Calls ``on_lost`` when the keeper has died; it says nothing on its own."""
        loop.watch(self._line.fileno(), read=on_lost)

    def hold(self, name: str, fds: Sequence[int]) -> None:
        """Has the keeper hold duplicates of these."""
        self.held[name] = tuple(os.dup(fd) for fd in fds)
        socket.send_fds(self._line, [json.dumps({"do": "hold", "name": name}).encode()], fds)

    def drop(self, name: str) -> None:
        """Has them let go, here and there."""
        for fd in self.held.pop(name, ()):
            os.close(fd)
        self._line.send(json.dumps({"do": "drop", "name": name}).encode())

    def forget(self) -> None:
        """Closes everything held, in this process."""
        for fds in self.held.values():
            for fd in fds:
                os.close(fd)
        self.held.clear()

    def done(self) -> None:
        """Says that the run is over, and waits until the keeper has let go of everything. Blocks."""
        self._line.settimeout(_PATIENCE_S)
        try:
            self._line.send(b'{"do":"done"}')
            self._line.recv(64)
        except OSError:
            return
