"""Answers questions about this host: JSON lines on standard input, an answer for each on standard output.

A question is ``{"id": 1, "ask": "system", "with": {…}}``, its answer ``{"id": 1, "answer": {…}}`` or, if there is none,
``{"id": 1, "trouble": "…"}``. Each is answered in a thread of its own, so that a file system that hangs keeps no other
answer waiting. When the input ends, or the time is up, everything that was made is taken away again.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from launcher.agent.doctor.network import Ports
from launcher.agent.doctor.shared_folder import SharedFolder
from launcher.agent.doctor.system import system
from launcher.agent.doctor.task_python import Pythons
from launcher.wire.variables import READY_MARKER

_LEAVE_LIMIT_S = 2.0

Answer = Mapping[str, object]


def main(argument: str) -> NoReturn:
    """Answers until the input ends. Of the options only ``limit_s`` counts: after that long it ends by itself."""
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    probe = Probe()
    clock = threading.Timer(json.loads(argument)["limit_s"], probe.leave)
    clock.daemon = True
    clock.start()
    os.write(1, READY_MARKER)
    with open(0, "rb", closefd=False) as stream:
        for line in stream:
            probe.take(json.loads(line))
    probe.leave()


class Probe:
    """What this host has been asked to hold: ports, files, interpreters."""

    def __init__(self) -> None:
        self._writing = threading.Lock()
        self._ports, self._folder, self._pythons = Ports(), SharedFolder(), Pythons()
        self._answers: dict[str, Callable[..., Answer]] = {
            "system": system,
            "python": self._pythons.look,
            "listen": self._ports.listen,
            "connect": self._ports.connect,
            "write": self._folder.write,
            "read": self._folder.read,
            "forget": self._folder.forget,
        }

    def take(self, question: dict[str, Any]) -> None:
        """Answers in a thread; the time at once, since that answer is worth little when it is late."""
        if question["ask"] == "time":
            self._say({"id": question["id"], "answer": {"time": time.time()}})
            return
        threading.Thread(target=self._answer, args=(question,), daemon=True).start()

    def _answer(self, question: dict[str, Any]) -> None:
        said: dict[str, object] = {"id": question["id"]}
        try:
            said["answer"] = self._answers[question["ask"]](**question["with"])
        except Exception as error:  # noqa: BLE001 - the top of a thread: the launcher says it to the user
            said["trouble"] = f"{type(error).__name__}: {error}"
        self._say(said)

    def _say(self, message: Mapping[str, object]) -> None:
        data = json.dumps(message).encode() + b"\n"
        with self._writing:
            while data:
                data = data[os.write(1, data) :]

    def leave(self) -> NoReturn:
        """Takes away what is left, for as long as that is reasonable, and ends the process."""
        cleaning = threading.Thread(target=self._clean, daemon=True)
        cleaning.start()
        cleaning.join(_LEAVE_LIMIT_S)
        os._exit(0)

    def _clean(self) -> None:
        self._pythons.kill()
        self._folder.forget_folders()
