"""Whether hosts reach each other's ports: some listen as TensorFlow's servers would, the others connect.

Who listens answers with a word of its own, so that an address which leads to another machine is found, too.
"""

from __future__ import annotations

import errno
import selectors
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from launcher.agent.ports import reservations, reserving
from launcher.agent.ports.reserving import HeldPort, PortsError

_AT_A_TIME = 64
_NEAR_THE_END = 32  # so many ports are tried at each end of a range
_MAX_LISTENING = 4
_MAX_ANSWER_BYTES = 200
_NO_GOODBYE = struct.pack("ii", 1, 0)  # closing resets the connection, so that neither end waits (TIME_WAIT)
_HOW = {
    errno.ECONNREFUSED: "refused",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EACCES: "forbidden",
    errno.EPERM: "forbidden",
    errno.ETIMEDOUT: "timeout",
}


class Ports:
    """The ports that are held and listened on until this process ends."""

    def __init__(self) -> None:
        self._held: list[HeldPort] = []

    def listen(self, token: str, tasks: int, low: int | None, high: int | None) -> dict[str, object]:
        """Holds a port for each of ``tasks``, and one near each end of the range, if there is one; answers ``token`` on
        the lowest, the highest and some between. ``free``: how many were to be had, counted no further than needed."""
        problem = ""
        try:
            for _ in range(tasks):
                self._held.append(reserving.reserve(low, high))
        except (PortsError, OSError) as error:
            problem = str(error)
        free = len(self._held)
        if low is not None and high is not None:
            self._hold_one_of(range(low, min(low + _NEAR_THE_END, high + 1)))
            self._hold_one_of(range(high, max(high - _NEAR_THE_END, low - 1), -1))
        chosen = _spread(sorted(self._held))
        for held in chosen:
            held.holder.listen(128)
        if chosen:
            threading.Thread(target=_greet, args=(chosen, token.encode()), daemon=True).start()
        foreign = reservations.in_the_way(low, high) if problem else {}
        return {"ports": [held.number for held in chosen], "free": free, "problem": problem, "foreign": foreign}

    def _hold_one_of(self, numbers: range) -> None:
        if any(held.number in numbers for held in self._held):
            return
        for number in numbers:
            if (held := reserving.hold(number)) is not None:
                self._held.append(held)
                return

    def connect(self, targets: Sequence[Mapping[str, object]], each_s: float) -> dict[str, object]:
        """Connects to each of ``targets`` (host, address, port, token), and says how it went within ``each_s``."""
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            hows = list(pool.map(lambda target: _reach(target, each_s), targets))
        pairs = zip(targets, hows, strict=True)
        return {"reached": [{"host": target["host"], "port": target["port"], "how": how} for target, how in pairs]}


def _spread(held: Sequence[HeldPort]) -> list[HeldPort]:
    """The first, the last, and some between."""
    if len(held) <= _MAX_LISTENING:
        return list(held)
    step = (len(held) - 1) / (_MAX_LISTENING - 1)
    return [held[round(step * number)] for number in range(_MAX_LISTENING)]


def _greet(listening: Sequence[HeldPort], word: bytes) -> None:
    """Says the word to everybody who connects, for ever. Who connects hangs up first: the port would else stay taken
    for a minute after this process (TIME_WAIT), and a run that follows at once would find a narrow range full."""
    selector = selectors.DefaultSelector()
    for held in listening:
        held.holder.setblocking(False)
        selector.register(held.holder, selectors.EVENT_READ, "door")
    while True:
        for key, _ in selector.select():
            line = key.fileobj
            assert isinstance(line, socket.socket)
            try:
                if key.data == "door":
                    caller, _ = line.accept()
                    caller.sendall(word)
                    selector.register(caller, selectors.EVENT_READ, "caller")
                    continue
                line.recv(_MAX_ANSWER_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                pass
            if key.data == "caller":
                selector.unregister(line)
                line.close()


def _reach(target: Mapping[str, object], limit_s: float) -> str:
    """``ok``, or in a word why not."""
    word = str(target["token"]).encode()
    try:
        with socket.create_connection((str(target["address"]), int(str(target["port"]))), limit_s) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_GOODBYE)
            heard = b""
            while len(heard) < len(word) and (part := line.recv(_MAX_ANSWER_BYTES)):
                heard += part
    except TimeoutError:
        return "timeout"
    except socket.gaierror:
        return "no such name"
    except OSError as error:
        return _HOW.get(error.errno or 0, error.strerror or type(error).__name__)
    return "ok" if heard == word else "somebody else"
