"""What commands and live views say to a run's supervisor, over the run's socket.

A client says ``Own`` once if the run is to end with it (a run in the foreground); the rest are requests, answered by
``Done``. What a run does is not told here: clients read the run folder.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import time
from collections.abc import Callable

from launcher.record.states import StopHow
from launcher.wire import protocol
from launcher.wire.private import peers, registry
from launcher.wire.private.folder import CONTROL_SOCKET, Folder
from launcher.wire.protocol import Message

SIGNALS = {
    signal.SIGINT: StopHow.INTERRUPT,
    signal.SIGTERM: StopHow.TERMINATE,
    signal.SIGHUP: StopHow.HANGUP,
}


class Own(Message, kind="own"):
    """The run is to be ended, as by a hang-up, when this connection is lost."""


class Disown(Message, kind="disown"):
    """The run goes on without this connection."""


class AskStop(Message, kind="ask_stop"):
    """End the run. ``how``: a ``StopHow``; ``by`` says who asks, for people."""

    how: str
    by: str = ""


class AskRestart(Message, kind="ask_restart"):
    """Restart one task in place."""

    task: str


class AskScale(Message, kind="ask_scale"):
    """Have so many workers. ``forced``: although the program may divide its input by another number."""

    count: int
    forced: bool = False


class AskDrain(Message, kind="ask_drain"):
    """Have everything leave a host in order."""

    host: str


class Done(Message, kind="done"):
    """The request was taken, or not: ``error`` says why."""

    error: str = ""


class Ended(Message, kind="ended_with"):
    """The run has ended, says the supervisor to whoever is connected: its folder may be gone, or full."""

    exit_code: int


class ControlServer:
    """The supervisor's side. ``on_request(message)`` gives an error text, empty for none; ``on_orphaned()`` is called
    when the client that owns the run is gone."""

    def __init__(self, on_request: Callable[[Message], str], on_orphaned: Callable[[], None]) -> None:
        self._on_request = on_request
        self._on_orphaned = on_orphaned
        self._server: asyncio.AbstractServer | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, home: Folder) -> None:
        self._server = await asyncio.start_unix_server(self._serve, sock=home.listen(CONTROL_SOCKET))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        owns = False
        self._writers.add(writer)
        try:
            peers.check(writer.get_extra_info("socket"), "the run's socket")
            while line := await reader.readline():
                message = protocol.decode(line)
                owns = isinstance(message, Own) or (owns and not isinstance(message, Disown))
                error = "" if isinstance(message, (Own, Disown)) else self._on_request(message)
                writer.write(protocol.encode(Done(error=error)))
        except asyncio.CancelledError:
            owns = False  # the supervisor itself ends
        except (OSError, ValueError, protocol.ProtocolError, peers.ForeignPeerError) as error:
            writer.write(protocol.encode(Done(error=str(error))))
        finally:
            self._writers.discard(writer)
            writer.close()
            if owns:
                self._on_orphaned()

    def close(self, exit_code: int) -> None:
        """Stops listening, tells every client how the run ended, and hangs up."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.write(protocol.encode(Ended(exit_code=exit_code)))
            writer.close()


def watch_owner(pipe: int, on_orphaned: Callable[[], None]) -> None:
    """Calls ``on_orphaned`` when nobody holds the pipe's other end any more, unless a byte has come before: then the
    run goes on without its owner."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        loop.remove_reader(pipe)
        if not os.read(pipe, 1):
            on_orphaned()

    loop.add_reader(pipe, look)


class Control:
    """A client's side: a connection to a supervisor. Raises OSError if there is none at ``path``, or none that is to be
    trusted. ``exit_code``: how the run has ended, and ``answered_at`` when it last answered to what was posted (by the
    steady clock), once ``is_open`` has heard of it."""

    def __init__(self, path: str, timeout_s: float = 60.0) -> None:
        self._socket = _connected(path)
        self._socket.settimeout(timeout_s)
        self._answers = self._socket.makefile("rb")
        self._heard = b""
        self.exit_code: int | None = None
        self.answered_at = 0.0

    def ask(self, message: Message) -> str:
        """Sends one request and waits for the answer: an error text, empty if it was taken.

        Raises TimeoutError if the supervisor lives and does not answer.
        """
        try:
            self._socket.sendall(protocol.encode(message))
            line = self._answers.readline()
        except ConnectionError:  # it ended, with our request or after it
            line = b""
        if not line:
            return "the run has just ended"
        answer = protocol.decode(line)
        return answer.error if isinstance(answer, Done) else f"unexpected answer: {answer.kind}"

    def post(self, message: Message) -> None:
        """Sends one request and does not wait, so that a signal handler may call it."""
        try:
            self._socket.sendall(protocol.encode(message))
        except OSError:
            return  # the run has just ended

    def is_open(self) -> bool:
        """Whether the supervisor still holds the other end. Does not block."""
        while select.select([self._socket], [], [], 0)[0]:
            try:
                data = self._socket.recv(4096)
            except OSError:
                return False
            if not data:
                return False
            *lines, self._heard = (self._heard + data).split(b"\n")
            for message in map(protocol.decode, lines):
                if isinstance(message, Ended):
                    self.exit_code = message.exit_code
                else:
                    self.answered_at = time.monotonic()
        return True

    def close(self) -> None:
        self._answers.close()
        self._socket.close()


def _connected(path: str) -> socket.socket:
    try:
        home = registry.at(path.removesuffix(f"/{CONTROL_SOCKET}"))
        if home is None:
            raise FileNotFoundError(path)
        try:
            return home.connect(CONTROL_SOCKET)
        finally:
            home.close()
    except (registry.FolderError, peers.ForeignPeerError) as error:
        raise PermissionError(str(error)) from error
