"""Joins standard input and output to the agent's socket, after starting a keeper if there is none.

Every reach runs this program at the far end of its pipe. It knows nothing of what passes, and its death costs
nothing: the pipe is opened again and finds the same agent. Minimal imports, since it is on the way of every start.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable

from launcher.agent.host.options import EXIT_BUSY, Options
from launcher.wire import standby
from launcher.wire.private import peers, registry
from launcher.wire.private.folder import AGENT_SOCKET, Folder
from launcher.wire.variables import READY_MARKER
from launcher.wire.words import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    _T = TypeVar("_T")

EXIT_GONE = 69  # there is no agent, and none may be started
EXIT_LEFT = 70  # the agent has gone, and the run's folder has not: something may be left on this host
_CONNECT_LIMIT_S = 60.0
_LEAVE_LIMIT_S = 2.0
_CHUNK_BYTES = 65536
_FLUSH_LIMIT_S = 5.0


def main(argument: str) -> int:
    """Runs the relay until either side closes; returns the exit code, 0 if the run has ended here. Blocks."""
    options = Options.from_json(argument)
    try:
        found = connect(options)
    except (registry.FolderError, peers.ForeignPeerError, OSError) as error:
        sys.stderr.write(f"{limits.told(error)}\n")
        return 1
    if found is None:
        return 1 if options.start else EXIT_GONE
    agent, home = found
    gc.enable()
    os.write(1, READY_MARKER)
    pump(agent)
    # At once: to take its interpreter down would keep the run from its end.
    os._exit(EXIT_LEFT if any(True for _ in registry.every(options.name)) else _when_all_have_left(home))


def _when_all_have_left(home: Folder) -> int:
    """0 when nobody lives in the folder of a run that is over: its agent goes a moment before those who watched it."""
    deadline, wait_s = time.monotonic() + _LEAVE_LIMIT_S, 0.002
    while home.lived_in() and time.monotonic() < deadline:
        time.sleep(wait_s)  # many hosts may be one machine, and those who are waited for need it
        wait_s = min(2 * wait_s, 0.05)
    return 0


def connect(options: Options) -> tuple[socket.socket, Folder] | None:
    """A connection to the run's agent, and the folder that it lives in; a keeper is started if need be. None if that
    failed: then standard error has the reason. Raises FolderError, ForeignPeerError. Blocks."""
    deadline = time.monotonic() + _CONNECT_LIMIT_S
    while time.monotonic() < deadline:
        found = _try_connect(options.name)
        if found is not None:
            return found
        if not options.start:
            sys.stderr.write(f"the keeper has died, and its agent with it ({options.name})\n")
            return None
        began = time.monotonic()
        code = start_keeper(options)
        deadline += time.monotonic() - began  # it may have been an import, which takes as long as it takes
        if code not in (0, EXIT_BUSY):
            return None
        if code == EXIT_BUSY:
            time.sleep(0.01)
    sys.stderr.write(f"no agent came up within {_CONNECT_LIMIT_S:g} s ({options.name})\n")
    return None


def _try_connect(name: str) -> tuple[socket.socket, Folder] | None:
    for home in registry.every(name):
        try:
            return home.connect(AGENT_SOCKET), home.copy()
        except OSError:  # left over, or not listening yet
            continue
    return None


def start_keeper(options: Options) -> int:
    """Starts a keeper and waits until it listens; returns the exit code of the process that started it.

    A fork, of the interpreter that stands by for the run's owner if one does: another interpreter would take as long to
    start as all the rest of this.
    """
    from launcher.agent.host import keeper

    if wanted := os.environ.pop(standby.VARIABLE, ""):
        from launcher.agent.standby import asking

        with contextlib.suppress(OSError):  # what may go wrong there must not keep a run from its start
            if (code := asking.start_keeper(standby.Wanted.from_json(wanted), options)) is not None:
                return code
    pid = os.fork()
    if pid == 0:
        keeper.become(options)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def pump(agent: socket.socket) -> None:
    """Passes bytes both ways until either side closes. What the agent has said before it closed is still passed on,
    unless nobody takes it: a line that was cut may keep its pipe full for a quarter of an hour."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for fd in (0, 1, agent.fileno()):
        os.set_blocking(fd, False)
    inward, outward = _Flow(0, agent.fileno()), _Flow(agent.fileno(), 1)
    try:
        while not (inward.ended or outward.done):
            poller = select.poll()
            for fd, events in _merged(inward.wants() + outward.wants()).items():
                poller.register(fd, events)
            hung_up = outward.ended
            ready = {fd for fd, event in poller.poll(_FLUSH_LIMIT_S * 1000 if hung_up else None) if event}
            if hung_up and not ready:
                return
            if not outward.ended and not outward.has_room and _is_closed(agent):
                outward.ended = True  # and what is left in the socket is not missed: the agent has another line
            inward.move(ready)
            outward.move(ready)
    except (BrokenPipeError, ConnectionResetError):
        return


class _Flow:
    """One direction: what was read and not yet written waits here, up to a bound."""

    def __init__(self, source: int, target: int) -> None:
        self.source, self.target = source, target
        self.waiting = bytearray()
        self.ended = False

    @property
    def has_room(self) -> bool:
        return len(self.waiting) < _CHUNK_BYTES

    @property
    def done(self) -> bool:
        """Whether its source has ended, and everything was passed on."""
        return self.ended and not self.waiting

    def wants(self) -> list[tuple[int, int]]:
        """What to wait for. A source without room for more is watched for its end alone."""
        source = [] if self.ended else [(self.source, select.POLLIN if self.has_room else 0)]
        return source + ([(self.target, select.POLLOUT)] if self.waiting else [])

    def move(self, ready: set[int]) -> None:
        """Reads and writes what can be without waiting."""
        if self.source in ready and not self.ended and self.has_room:
            data = _unless_blocked(lambda: os.read(self.source, _CHUNK_BYTES))
            if data is not None:
                self.ended = not data
                self.waiting += data
        if self.waiting:
            del self.waiting[: _unless_blocked(lambda: os.write(self.target, self.waiting)) or 0]


def _unless_blocked(work: Callable[[], _T]) -> _T | None:
    try:
        return work()
    except BlockingIOError:
        return None


def _merged(pairs: list[tuple[int, int]]) -> dict[int, int]:
    events: dict[int, int] = {}
    for fd, event in pairs:
        events[fd] = events.get(fd, 0) | event
    return events


def _is_closed(agent: socket.socket) -> bool:
    poller = select.poll()
    poller.register(agent, 0)
    return bool(poller.poll(0))
