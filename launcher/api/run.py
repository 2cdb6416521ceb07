"""A run that this process has started: watched, asked, waited for."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from launcher.api.record import RunRecord
from launcher.api.result import Result
from launcher.record.events import EvaluationDone, Recorded, to_line
from launcher.record.reading import RunReader, as_recorded
from launcher.record.states import StopHow
from launcher.supervise import control, pulse
from launcher.wire.errors import HostError, UsageError
from launcher.wire.protocol import Message

POLL_S = 0.02
_END_PATIENCE_S = 60.0


class Run(RunRecord):
    """A run from its start on. It ends with this process, even if that is killed, unless it is told to ``detach``.

    As a context manager it is over, and nothing of it is left, when the block is.
    """

    def __init__(self, folder: Path, owner: int) -> None:
        """``owner``: the pipe with which the run ends."""
        super().__init__(folder)
        self._owner: int | None = owner
        _owned.add(self)

    def events(self) -> Iterator[dict[str, Any]]:
        """What happens, as ``tflaunch attach --json`` tells it, from the beginning: each as it comes, until the run is
        over. How far tasks are is among it (``progressed``), as closely as it is still known."""
        for recorded in self._events():
            yield json.loads(to_line(recorded))

    def metrics(self) -> Iterator[dict[str, float]]:
        """The metrics of each evaluation as it comes, and their ``global_step``."""
        for recorded in self._events():
            if isinstance(recorded.event, EvaluationDone):
                found = {name: value for name, value in recorded.event.metrics.items() if value is not None}
                yield {**found, "global_step": recorded.event.global_step}

    def _events(self) -> Iterator[Recorded]:
        reader = RunReader(self._files, from_start=True)
        over = False
        while not over:
            over = not self.live
            for news in reader.read(final=over):
                yield from [news] if isinstance(news, Recorded) else as_recorded(news, reader.view)
            time.sleep(0 if over else POLL_S)

    def wait(self, timeout_s: float | None = None) -> Result:
        """Blocks until the run is over. Raises TimeoutError if it is not within ``timeout_s``; it goes on then."""
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while self.live:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} goes on after {timeout_s:g} s")
            time.sleep(POLL_S)
        self._let_go()
        return self.result()

    def stop(self, *, now: bool = False) -> Result:
        """Ends it as ``tflaunch stop`` does, with a last save and evaluation, or at once. Blocks until it is over."""
        self.ask_to_stop(now=now)
        return self.wait()

    def ask_to_stop(self, *, now: bool = False) -> None:
        """``stop`` that does not wait for the end. Raises HostError if its supervisor is alive and does not answer."""
        self._ask(control.AskStop(how=(StopHow.KILL if now else StopHow.STOP).value, by="the process that owns it"))

    def scale(self, workers: int, *, force: bool = False) -> None:
        """Has the run go on with so many workers; the others are not restarted. Returns when the request is taken.

        Raises UsageError where the program divides its input by their number; ``force``: do it although it may.
        """
        if error := self._ask(control.AskScale(count=workers, forced=force)):
            raise UsageError(error)

    def drain(self, host: str) -> None:
        """Has everything leave a host in order, and the run go on on its others. Returns when the request is taken.
        Raises UsageError if it cannot be."""
        if error := self._ask(control.AskDrain(host=host)):
            raise UsageError(error)

    def restart(self, task: str) -> None:
        """Restarts one task in place, such as ``worker:0``. Raises UsageError if there is none to restart."""
        if error := self._ask(control.AskRestart(task=task)):
            raise UsageError(error)

    def detach(self) -> None:
        """The run goes on when this process ends."""
        if self._owner is not None:
            with contextlib.suppress(BrokenPipeError):  # it has just ended
                os.write(self._owner, b".")
        self._let_go()

    def close(self) -> None:
        """Sees to it that nothing of it is left. Blocks, at most a minute."""
        deadline = time.monotonic() + _END_PATIENCE_S
        if self.live:
            with contextlib.suppress(HostError):  # it ends when it goes on, since nobody owns it any more
                self.ask_to_stop(now=True)
        self._let_go()
        while self.live and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, message: Message) -> str:
        """An error text, empty if the supervisor took it."""
        error = pulse.ask(self._files, message)
        return "the run has ended" if error is None else error

    def _let_go(self) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            os.close(owner)


_owned: weakref.WeakSet[Run] = weakref.WeakSet()


def _forget() -> None:
    """In a fork: it is the process that started them with which runs end."""
    for run in list(_owned):
        run._let_go()


os.register_at_fork(after_in_child=_forget)
