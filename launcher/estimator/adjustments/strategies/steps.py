"""The steps of a program that has no session: counted, reported, and where they may end.

All members of a collective must end after the same step, since each step is done by all or by none. None is ahead of
the others by more than the step that it has begun. So when they are told to stop, each says how many steps it has
begun; the largest number is where all end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from launcher.estimator.adjustments.strategies import leaving
from launcher.estimator.task import Task
from launcher.wire.protocol import COORDINATOR, Message, Reached, Ready, Step, StopTraining

_EVERY_S = 1.0


class Steps:
    """Of one task. ``is_collective``: each step is done together with others; ``fits``: Keras tells of the steps, and
    nobody else need look; ``each``: how many there are in what a coordinator schedules; ``offset``: the global step is
    that much larger than the steps of this attempt."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.is_collective = False
        self.fits = False
        self.each = 1
        self.offset = 0
        self._is_ready = False
        self._lock = threading.Lock()
        self._said = 0
        self._due_at = 0.0
        self._begun = 0
        self._last: int | None = None
        self._is_agreed = False
        self._has_counted = False

    def ready(self, global_step: int = 0) -> None:
        """Everything is there that a step needs; training goes on from ``global_step``."""
        self.offset = global_step - self.task.local_steps
        if not self._is_ready and self.task.channel.open():
            self._is_ready = True
            self.task.channel.subscribe(self._hear)
            self.task.channel.send(Ready(global_step=global_step))

    def begin(self) -> None:
        """Before a step. Leaves the program where it is to end; in a collective that may take a while to know."""
        if not self.is_collective:
            if self.task.channel.stop is not None and COORDINATOR not in self.task.uses:  # that leaves elsewhere
                leaving.leave(self.task)
            return
        while not self._may_begin():
            self.task.channel.wait(lambda: self._is_agreed or not self.task.channel.is_open)
            if self._is_agreed and self._begun >= (self._last or 0):
                leaving.leave(self.task)
            if not self.task.channel.is_open:
                return

    def done(self, count: int = 1, loss: Callable[[], float | None] = lambda: None) -> None:
        """After steps. Reports them once a second, and in time for those that are waited for."""
        with self._lock:
            before = self.offset + self.task.local_steps
            self.task.local_steps += count
            self._has_counted = True
            now, reached = monotonic(), before + count
            is_wanted = any(before < step <= reached for step in self.task.report_steps)
            if now >= self._due_at or is_wanted:
                self._due_at = now + _EVERY_S
                self._report(loss())

    def flush(self) -> None:
        """At the end: what was not reported yet. Of steps of a session that reports its own, nothing is known here."""
        with self._lock:
            if self._has_counted and self._said != self.task.local_steps:
                self._report(None)

    def _report(self, loss: float | None) -> None:
        self._said = self.task.local_steps
        step = self.offset + self._said
        self.task.channel.send(Step(global_step=step, local_steps=self._said, examples=self.task.examples, loss=loss))

    def _may_begin(self) -> bool:
        with self._lock:
            if self._last is not None and self._begun >= self._last:
                return False
            self._begun += 1
            return True

    def _hear(self, message: Message) -> None:
        """In the channel's thread: the main one may be in a step that waits for the others."""
        if not isinstance(message, StopTraining) or not self.is_collective:
            return
        with self._lock:
            is_first = self._last is None
            self._last = message.after if message.after is not None else self._last or self._begun
            self._is_agreed = message.after is not None
            begun = self._begun
        if is_first and not self._is_agreed:
            self.task.channel.send(Reached(steps=begun))
        self.task.channel.notify()
