"""A client's side of a supervisor that may not answer: requests with a bounded wait, and what it is that is silent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from launcher.record.reachable import mute, stopped
from launcher.record.runs import RunFolder, read_supervisor
from launcher.supervise.control import Control, Disown, Own
from launcher.wire.errors import HostError

if TYPE_CHECKING:
    from launcher.wire.protocol import Message

ANSWER_S = 10.0  # many times what one takes that has thousands of tasks
_LOOK_S = 1.0
QUIET_S = 3.0


def connect(folder: RunFolder, answer_s: float | None = None) -> Control | None:
    """A line to the run's supervisor on this machine; None if there is none to be had."""
    record = read_supervisor(folder)
    if record is None:
        return None
    try:
        return Control(record.socket, ANSWER_S if answer_s is None else answer_s)
    except OSError:
        return None


def ask(folder: RunFolder, message: Message) -> str | None:
    """Sends one request: an error text, empty if it was taken; None if nobody listens.

    Raises HostError if the supervisor is alive and does not answer.
    """
    if why := stopped(folder):
        raise HostError(folder.run, f"{why}; it was asked for nothing")
    line = connect(folder)
    if line is None:
        return None
    try:
        return line.ask(message)
    except TimeoutError:
        why = stopped(folder) or mute(folder, ANSWER_S)
        raise HostError(folder.run, why, "it was asked, and may do it yet") from None
    finally:
        line.close()


def answers(folder: RunFolder) -> bool:
    """Whether the supervisor of a live run answers within a moment, or there is no line on which to ask it."""
    line = connect(folder, QUIET_S)
    if line is None:
        return True
    try:
        line.ask(Disown())
    except OSError:
        return False
    finally:
        line.close()
    return True


class Pulse:
    """Of the supervisor behind a line that is open: whether it lives on while nothing comes of it. ``own``: the run
    ends with this line."""

    def __init__(self, folder: RunFolder, line: Control | None, *, own: bool) -> None:
        self._folder = folder
        self._line = line
        self._says_nothing_new = Own() if own else Disown()
        self._heard_at = self._looked_at = self._asked_at = time.monotonic()
        self.trouble = ""

    def look(self, *, has_news: bool) -> str:
        """Why nothing comes of it; empty while it is well. ``has_news``: something of the run has just come. Does not
        block, and looks once a second."""
        now = time.monotonic()
        if has_news or (self._line is not None and self._line.answered_at > self._heard_at):
            self._heard_at = now
        if now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            self.trouble = self._look(now)
        return self.trouble

    def _look(self, now: float) -> str:
        if why := stopped(self._folder):
            return why
        if self._line is None or now - self._heard_at < QUIET_S:
            return ""
        if self._asked_at <= self._heard_at:  # nothing may have happened
            self._line.post(self._says_nothing_new)
            self._asked_at = now
        silent_s = now - self._asked_at
        return mute(self._folder, silent_s) if silent_s >= QUIET_S else ""
