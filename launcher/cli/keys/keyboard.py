"""The keyboard while a run is shown: keys are read without waiting, and what they want is done."""

from __future__ import annotations

import contextlib
import os
import select
import termios
import tty
from collections.abc import Callable
from typing import Any

from launcher.cli.keys.prompt import Prompt, Wanted, Wish
from launcher.record.view import RunView
from launcher.supervise import control
from launcher.views.console import LiveConsole, RunConsole
from launcher.wire.errors import HostError, TflaunchError
from launcher.wire.protocol import Message
from launcher.wire.roles import Role

_MOST_BYTES = 256


class Keyboard:
    """Of the terminal on standard input, while a picture is shown. ``ask``: sends a request to the run, and gives why
    not, empty if it was taken."""

    def __init__(self, view: RunView, console: RunConsole, ask: Callable[[Message], str]) -> None:
        self._view = view
        self._console = console if isinstance(console, LiveConsole) else None
        self._ask = ask
        self._prompt = Prompt()
        self._before: list[Any] | None = None

    def start(self) -> None:
        """Keys come as they are pressed, and are not shown; Ctrl-C stays what it is. Not where the terminal is another
        process's just now."""
        with contextlib.suppress(OSError, termios.error, ValueError):
            if self._console is not None and os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp():
                self._before = termios.tcgetattr(0)
                tty.setcbreak(0, termios.TCSANOW)
                self._console.has_keys = True

    def stop(self) -> None:
        """Gives the terminal back as it was. May be called more than once."""
        if self._before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, self._before)
            self._before = None

    def poll(self) -> bool:
        """Does what was wanted since; whether whoever looks wants to leave, and the run to go on."""
        if self._before is None or self._console is None:
            return False
        leave = False
        for key in self._pressed():
            leave |= self.take(key)
        self._console.footer = self._prompt.footer
        return leave

    def _pressed(self) -> str:
        if not select.select([0], [], [], 0)[0]:
            return ""
        try:
            keys = os.read(0, _MOST_BYTES).decode(errors="ignore")
        except OSError:
            return ""
        return "" if len(keys) > 1 and keys.startswith("\x1b") else keys  # an arrow, or the like

    def take(self, key: str) -> bool:
        """Does what one key wants; see ``poll``."""
        wanted = self._prompt.take(key)
        if wanted is None:
            return False
        if wanted.wish is Wish.LAST_LINES and self._console is not None:
            self._console.shows_last_lines = not self._console.shows_last_lines
        elif wanted.wish is not Wish.DETACH:
            self._request(wanted)
        return wanted.wish is Wish.DETACH

    def _request(self, wanted: Wanted) -> None:
        message, words = self._message(wanted)
        try:
            error = self._ask(message)
        except HostError as failed:
            error = failed.message
        except (OSError, TflaunchError) as failed:
            error = str(failed)
        self._prompt.say(error or words, "red" if error else "green")

    def _message(self, wanted: Wanted) -> tuple[Message, str]:
        if wanted.wish is Wish.RESTART:
            return control.AskRestart(task=wanted.what), f"{wanted.what} is restarted"
        if wanted.wish is Wish.DRAIN:
            return control.AskDrain(host=wanted.what), f"everything leaves {wanted.what}"
        workers = sum(task.task.role is Role.WORKER and not task.state.final for task in self._view.tasks.values())
        count = max(0, workers + (1 if wanted.wish is Wish.MORE_WORKERS else -1))
        return control.AskScale(count=count), f"{count} worker{'s' * (count != 1)} instead of {workers}"
