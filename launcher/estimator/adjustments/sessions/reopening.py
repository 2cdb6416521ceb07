"""roaming: a trainer whose parameter server has gone elsewhere lets go of its session, and opens the next one.

A call to a host that has fallen silent would hang, and the next one would wait for a connection; so the connections to
the former address are shut down in this process, which TensorFlow takes for their end.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import stat
import threading
from collections.abc import Iterable
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.sessions.trainer import Hook, Trainer
from launcher.estimator.task import Task
from launcher.wire.protocol import Gate, Message, Wait, Waiting

SESSION = "tensorflow.python.client.session"
_SOCKETS = "/proc/self/fd"


class Reopen(Hook):
    """Ends a session of former addresses before its next step, as the loss of a parameter server does."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._task = trainer, trainer.task
        self._saves = 0

    def before_run(self, run_context: Any) -> None:
        if self._is_to_hold():
            self._hold(run_context.session)
        elif self._task.channel.saves > self._saves:  # its host has not been heard for some time
            self._save(run_context.session)
        if self._task.has_moved_servers:
            errors: Any = importlib.import_module("tensorflow.python.framework.errors_impl")
            raise errors.UnavailableError(None, None, "a parameter server has gone to another address")

    def _is_to_hold(self) -> bool:
        gate = self._task.channel.gate
        return gate is not None and gate.hold and not self._task.has_moved_servers and not self._task.is_stopping

    def _hold(self, session: Any) -> None:
        """Begin no step for now; the chief saves if it is told to."""
        channel = self._task.channel
        channel.send(Waiting(what=Wait.HOLD))
        while channel.is_open and self._is_to_hold():
            channel.wait(lambda: not channel.is_open or not self._is_to_hold() or channel.saves > self._saves)
            if channel.saves > self._saves:
                self._save(session)
                channel.send(Waiting(what=Wait.SAVED))
        channel.send(Waiting(what=""))

    def _save(self, session: Any) -> None:
        self._saves = self._task.channel.saves
        if self._trainer.is_chief and not self._task.has_moved_servers:
            self._trainer.save(session)


def watch_gate(patches: Patches, task: Task) -> None:
    """Shut down the connections to an address as soon as it is known to be a former one."""

    def hear(message: Message) -> None:
        if isinstance(message, Gate) and message.ps and task.told_ps:
            former = [place for index, place in task.told_ps.items() if message.ps.get(index, place) != place]
            if former:  # not in the thread that listens, since names may have to be looked up
                threading.Thread(target=hang_up, args=(former,), name="tflaunch-hang-up", daemon=True).start()

    task.channel.subscribe(hear)


def hang_up(places: Iterable[str]) -> None:
    """Shut down every connection of this process to one of ``places`` (``host:port``)."""
    known = {address for place in places for address in _addresses(place)}
    for name in os.listdir(_SOCKETS):  # noqa: PTH208  these are numbers
        # A listening socket behind the guard has a name of its port, and a peer without any.
        with contextlib.suppress(OSError, ValueError):
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as connection:
                if connection.family in (socket.AF_INET, socket.AF_INET6) and _peer(connection) in known:
                    connection.shutdown(socket.SHUT_RDWR)


def _addresses(place: str) -> Iterable[tuple[str, int]]:
    host, _, port = place.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return []
    return [(str(entry[4][0]), int(entry[4][1])) for entry in found]


def _peer(connection: socket.socket) -> tuple[str, int]:
    host, port = connection.getpeername()[:2]
    return host.removeprefix("::ffff:"), port
