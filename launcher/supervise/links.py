"""The supervisor's end of the line to one host's agent.

Keeps the line up: a lost one is opened again until the lease has passed. Nothing is lost with it: events are numbered,
commands are counted, output is asked for from the byte that is still missing.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections import deque
from collections.abc import Callable

from launcher.hosts.agents import Agents
from launcher.hosts.reach import ReachError
from launcher.plan.model import PlannedHost
from launcher.supervise.orders import Orders
from launcher.supervise.output_files import OutputFiles
from launcher.wire import protocol
from launcher.wire.words import limits

_ACK_AFTER_S = 0.2
_RETRY_S = 0.2
_LONGEST_RETRY_S = 2.0
_LIED = "somebody else may speak for it: look after that host before it is used again"


class BreachError(Exception):
    """A host claims what is none of its business; the text says what."""


class AgentLink:
    """One host's agent. ``run`` keeps the line; what arrives goes to the callbacks, in order.

    ``on_welcome(host, welcome, renewed)``; ``on_event(host, body)``; ``on_lost(host, message, advice)`` when the agent
    cannot be had within ``patience_s``. Where a line may be cut unnoticed, a third of that without a word ends it, and
    the agent hears which of its words have arrived (``protocol.Heard``): its lease runs from the newest of them, which
    was said before it came, so that the agent's ends before ours. ``heard_at``: when it was last heard (monotonic
    seconds); ``lied``: it was given up because it claimed what was none of its business."""

    def __init__(
        self,
        host: PlannedHost,
        agents: Agents,
        run: str,
        output: OutputFiles,
        orders: Orders,
        *,
        patience_s: float,
    ) -> None:
        self.host = host
        self._agents = agents
        self._run = run
        self._output = output
        self._orders = orders
        self._patience_s = patience_s
        self._writer: asyncio.StreamWriter | None = None
        self._welcomed_at = math.inf
        self._has_news = False
        self._finishing = False
        self._incarnation = ""
        self._acked = 0
        self._ack_due = False
        self._least_lag_s = math.inf
        self._sent = 0
        self._unconfirmed: deque[protocol.Message] = deque()
        self.heard_at = 0.0
        self._down_at = 0.0
        self.lied = False
        self.on_welcome: Callable[[PlannedHost, protocol.Welcome, bool], None] = lambda *_: None
        self.on_event: Callable[[PlannedHost, protocol.Message], None] = lambda *_: None
        self.on_lost: Callable[[PlannedHost, str, str], None] = lambda *_: None

    @property
    def leased_from(self) -> float:
        """From when on the lease of the host runs that is not heard any more (monotonic seconds)."""
        return self.heard_at if self.host.traits.can_fall_silent else self._down_at

    def send(self, message: protocol.Message) -> None:
        """Says ``message`` now, or when the line is up again."""
        self._sent += 1
        self._unconfirmed.append(message)
        self._orders.note(message, time.monotonic())
        if self._writer is not None and self._is_welcomed:
            self._writer.write(protocol.encode(message))

    def finish(self) -> None:
        """Ends the agent; ``run`` returns when it has gone."""
        self._finishing = True
        self.send(protocol.Finish())

    async def run(self) -> None:
        """Holds the line until cancelled, or until the agent cannot be had any more."""
        try:
            await self._hold()
        except Exception as error:  # noqa: BLE001  the top of a task: nobody would hear of it, and the run would wait
            sys.excepthook(*sys.exc_info())
            message = limits.told(error)
            if not limits.advice(message):
                message = f"tflaunch itself has failed here: {type(error).__name__}: {error}".splitlines()[0]
            advice = limits.advice(message) or "supervisor.log in the run's folder says where; please report it"
            self.on_lost(self.host, message, advice)

    async def _hold(self) -> None:
        clock = time.monotonic
        deadline, retry_s, reached = clock() + self._patience_s, _RETRY_S, False
        while True:
            advice = ""
            try:
                reader, self._writer = await self._open(deadline)
                if not reached:  # an agent that was not greeted in time, however slow the way, may be started again
                    reached, deadline = True, clock() + self._patience_s
                try:
                    await self._talk(reader)
                finally:
                    self._down_at = clock()
                message = "the link was closed"
            except BreachError as error:
                message, advice, deadline, self.lied = f"it claims {error}", _LIED, 0.0, True
            except (OSError, ReachError, asyncio.IncompleteReadError, protocol.ProtocolError) as error:
                message = limits.told(error)
                advice = limits.advice(message)
                if isinstance(error, ReachError):
                    advice, deadline = error.advice or advice, 0.0 if error.final else deadline
            finally:
                lasted_s = clock() - self._welcomed_at
                self._hang_up()
            if self._finishing:
                return
            if deadline and (self._has_news or lasted_s > self._patience_s):
                # A line that was opened in vain gains its host no time.
                deadline, retry_s, self._has_news = self.leased_from + self._patience_s, _RETRY_S, False
            if clock() >= deadline:
                self.on_lost(self.host, message, advice)
                return
            await asyncio.sleep(min(retry_s, max(0.0, deadline - clock())))
            retry_s = min(_LONGEST_RETRY_S, 2 * retry_s)

    async def _open(self, deadline: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A line to the agent. One that had been there before is not tried for longer than it may last, and whatever is
        in its way may pass: an sshd that is being updated, too, lets nobody in."""
        opening = self._agents.open(self.host)
        try:
            if not self._may_be_over:
                return await opening
            return await asyncio.wait_for(opening, max(0.0, deadline - time.monotonic()))
        except asyncio.TimeoutError as error:
            raise ReachError(f"nothing was heard of it for {self._patience_s:g} s") from error
        except ReachError as error:
            error.final = error.gone or (error.final and not self._incarnation)
            raise

    @property
    def _is_welcomed(self) -> bool:
        return math.isfinite(self._welcomed_at)

    @property
    def _may_be_over(self) -> bool:
        """Whether its lease runs while nothing is heard of it."""
        return bool(self._incarnation) and self.host.traits.can_fall_silent

    def _lease_over(self, now: float) -> bool:
        return self._may_be_over and now > self.heard_at + self._patience_s

    def _hang_up(self) -> None:
        self._welcomed_at = math.inf
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _talk(self, reader: asyncio.StreamReader) -> None:
        both = {asyncio.create_task(self._listen(reader)), asyncio.create_task(self._watch())}
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)

    async def _watch(self) -> None:
        """Ends the line when what must come does not: the welcome, the answer to an order, and, where a line may be cut
        unnoticed, a word now and then, for which we say that we live."""
        began_at = time.monotonic()
        welcome_by = began_at + self._orders.answer_s
        while True:
            now = time.monotonic()
            if not self._is_welcomed and now > welcome_by:
                raise ReachError(f"its agent does not answer within {self._orders.answer_s:g} s", final=True)
            if not self._is_welcomed and self._lease_over(now):
                return
            if late := self._orders.overdue(now):
                raise ReachError(f"its agent answers, but owes {late} for too long", final=True)
            if self.host.traits.can_fall_silent:
                if now - max(began_at, self.heard_at) > self._patience_s / 3:
                    return
                self._say(protocol.Ping())
            await asyncio.sleep(self._patience_s / 12)

    def _say(self, message: protocol.Message) -> None:
        if self._writer is not None:
            self._writer.write(protocol.encode(message))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        output = dict(self._output.received)
        self._say(protocol.Hello(run=self._run, incarnation=self._incarnation, acked=self._acked, output=output))
        while line := await _line(reader):
            message = protocol.decode(line)
            self.heard_at = time.monotonic()
            if isinstance(message, protocol.Output):
                await self._take_output(message, reader)
            elif isinstance(message, protocol.Event):
                self._event(message)
            elif isinstance(message, protocol.Welcome):
                self._welcome(message)
                self._have_heard(message.at)
            elif isinstance(message, protocol.Pong):
                self._have_heard(message.at)
            elif isinstance(message, protocol.Refused):
                raise ReachError(message.message, final=True)

    def _have_heard(self, at: float) -> None:
        if self.host.traits.can_fall_silent:
            self._say(protocol.Heard(at=at))

    async def _take_output(self, message: protocol.Output, reader: asyncio.StreamReader) -> None:
        self._check(message)
        if not 0 <= message.size <= protocol.MAX_OUTPUT_BYTES:
            raise protocol.ProtocolError(f"its agent announces {message.size} bytes of output in one piece")
        self._output.write(message, await reader.readexactly(message.size))
        self._has_news = True
        self._ack_soon()

    def _check(self, said: protocol.Message) -> None:
        """The one place that decides whether a host is to be believed."""
        if claim := self._orders.hear(said):
            raise BreachError(claim)

    def _welcome(self, welcome: protocol.Welcome) -> None:
        if welcome.version != protocol.VERSION:
            raise protocol.ProtocolError(f"its agent speaks version {welcome.version}, not {protocol.VERSION}")
        renewed = bool(self._incarnation) and welcome.incarnation != self._incarnation
        first = not self._incarnation
        self._incarnation = welcome.incarnation
        if renewed:
            self._acked = 0
            self._sent = 0
            self._unconfirmed.clear()
            self._orders.forgive()
        confirmed = welcome.received - (self._sent - len(self._unconfirmed))
        for _ in range(min(max(0, confirmed), len(self._unconfirmed))):
            self._unconfirmed.popleft()
        self._welcomed_at = time.monotonic()
        for message in self._unconfirmed:
            self._say(message)
        if first or renewed:
            self.on_welcome(self.host, welcome, renewed)

    def _event(self, event: protocol.Event) -> None:
        if event.incarnation != self._incarnation or event.seq <= self._acked:
            return
        self._check(event.body)
        self._acked = event.seq
        self._has_news = True
        late_s = self._late_s(event.at)
        body = event.body
        if isinstance(body, protocol.Exited):
            body = protocol.changed(body, since_s=body.since_s + late_s)
        self.on_event(self.host, body)
        self._ack_soon()

    def _late_s(self, at: float) -> float:
        """How much longer than the quickest event this one was on its way; two hosts' clocks may differ by anything."""
        lag_s = time.time() - at
        self._least_lag_s = min(self._least_lag_s, lag_s)
        return lag_s - self._least_lag_s

    def _ack_soon(self) -> None:
        if not self._ack_due:
            self._ack_due = True
            asyncio.get_running_loop().call_later(_ACK_AFTER_S, self._ack)

    def _ack(self) -> None:
        self._ack_due = False
        self._say(protocol.Ack(seq=self._acked, output=dict(self._output.received)))


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line of an agent; raises ProtocolError if it is longer than any of theirs."""
    try:
        line = await reader.readline()
    except ValueError as error:
        raise protocol.ProtocolError("its agent sends a line without end") from error
    if len(line) > protocol.MAX_EVENT_BYTES:
        raise protocol.ProtocolError(f"its agent sends a line of {len(line)} bytes")
    return line
