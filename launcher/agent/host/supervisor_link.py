"""The agent's end of the line to the supervisor: control first, output when there is nothing else to say."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from launcher.agent.host.fence import clock
from launcher.agent.host.outbox import Outbox
from launcher.agent.system.accept import Acceptor
from launcher.agent.system.loop import Loop
from launcher.agent.system.wire import Wire
from launcher.agent.tasks.output import Outputs
from launcher.wire import protocol

_SEND_BYTES = 131072  # what the kernel may hold: control waits behind no more output than this
_POLL_S = 0.02
_LONGEST_POLL_S = 0.25
_POLL_GROWTH = 1.5


class SupervisorLink:
    """At most one supervisor speaks; a newer connection replaces the older one when it has said its ``Hello``.

    ``on_command`` gets every command but ``Hello``, ``Ack``, ``Ping`` and ``Heard``; ``on_change(connected)`` is called
    when the supervisor comes or goes. ``heard_at``: when he was last heard (monotonic seconds). ``on_heard`` gets the
    moment of a word of ours that he has, by ``clock``."""

    def __init__(
        self, loop: Loop, listener: socket.socket, outbox: Outbox, outputs: Outputs, welcome: protocol.Welcome, run: str
    ) -> None:
        self._loop = loop
        self._outbox = outbox
        self._outputs = outputs
        self._welcome = welcome
        self._run = run
        self._wire: Wire | None = None
        self._received = 0
        self._poll_s = _POLL_S
        self.heard_at = time.monotonic()
        self.on_command: Callable[[protocol.Message], None] = lambda message: None
        self.on_change: Callable[[bool], None] = lambda connected: None
        self.on_heard: Callable[[float], None] = lambda at: None
        self.on_ack: Callable[[], None] = lambda: None
        self.on_abandoned: Callable[[bool], None] = lambda now: None
        self._acceptor = Acceptor(loop, listener, self._accept)
        self._poll_output()

    @property
    def connected(self) -> bool:
        return self._wire is not None

    def say(self, body: protocol.Message) -> None:
        """Numbers an event and sends it, now or to the next connection."""
        line = self._outbox.add(body)
        if self._wire is not None:
            self._wire.send(line)

    def expect_words(self, silence_s: float) -> None:
        """From now on a line on which nothing was heard for ``silence_s`` counts as lost."""
        if self._wire is not None and time.monotonic() - self.heard_at > silence_s:
            wire, self._wire = self._wire, None
            wire.close()
            self.on_change(False)
        self._loop.later(silence_s / 4, lambda: self.expect_words(silence_s))

    def hang_up(self) -> None:
        """Sends what waits and closes. Blocks, within bounds."""
        if self._wire is not None:
            self._wire.flush(1.0)
            self._wire.close()
            self._wire = None

    def _accept(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        wire = Wire(self._loop, connection, max_line_bytes=protocol.MAX_LINE_BYTES)
        wire.on_line = lambda line: self._hear(wire, line)
        wire.on_closed = lambda: self._lost(wire)
        wire.on_drained = lambda: self._ship(wire)
        wire.open()

    def _lost(self, wire: Wire) -> None:
        if wire is self._wire:
            self._wire = None
            self.heard_at = time.monotonic()
            self.on_change(False)

    def _hear(self, wire: Wire, line: bytes) -> None:
        try:
            message = protocol.decode(line)
        except (protocol.ProtocolError, RecursionError):
            return
        if isinstance(message, protocol.Hello):
            self._greet(wire, message)
            return
        if isinstance(message, protocol.Abandoned):
            self._abandon(wire, message)
            return
        if wire is not self._wire:
            return
        self.heard_at = time.monotonic()
        if isinstance(message, protocol.Ping):
            wire.send(protocol.encode(protocol.Pong(at=clock())))
        elif isinstance(message, protocol.Heard):
            self.on_heard(message.at)
        elif isinstance(message, protocol.Ack):
            self._outbox.acknowledge(message.seq)
            self._outputs.acknowledge(message.output)
            self.on_ack()
        else:
            self._received += 1
            self.on_command(message)

    def _greet(self, wire: Wire, hello: protocol.Hello) -> None:
        if hello.run != self._run or hello.version != protocol.VERSION:
            text = f"this is the agent of run {self._run}, version {protocol.VERSION}; connect to your own"
            wire.send(protocol.encode(protocol.Refused(command="hello", message=text)))
            return
        if self._wire is not None and self._wire is not wire:
            self._wire.close()
        self._wire = wire
        self.heard_at = time.monotonic()
        if hello.incarnation in ("", self._outbox.incarnation):
            self._outbox.acknowledge(hello.acked)
        self._outputs.resume(hello.output)
        wire.send(protocol.encode(protocol.changed(self._welcome, received=self._received, at=clock())))
        for line in self._outbox.unacknowledged():
            wire.send(line)
        wire.want_drain()
        self.on_change(True)

    def _abandon(self, wire: Wire, message: protocol.Abandoned) -> None:
        """Somebody says that there is no supervisor any more. That is believed while none is connected."""
        if message.run == self._run and self._wire is None:
            self.on_abandoned(message.now)
        else:
            text = "its supervisor is connected" if message.run == self._run else f"this is the agent of {self._run}"
            wire.send(protocol.encode(protocol.Refused(command=message.kind, message=text)))

    def _ship(self, wire: Wire) -> None:
        """Everything said so far has left: one piece of output, then see again."""
        if wire is self._wire and (frame := self._outputs.next_frame()):
            self._poll_s = _POLL_S
            wire.send(frame)
            wire.want_drain()

    def _poll_output(self) -> None:
        """Looks for new output now and then; while some is on its way, ``_ship`` does."""
        if self._wire is not None:
            self._wire.want_drain()
        self._loop.later(self._poll_s, self._poll_output)
        self._poll_s = min(_LONGEST_POLL_S, self._poll_s * _POLL_GROWTH)
