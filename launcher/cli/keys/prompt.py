"""Keys become wishes; some ask a question first, on the last line of the picture. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from launcher.views.spans import Line, Span

ENTER, ESCAPE, BACKSPACE = ("\r", "\n"), "\x1b", ("\x7f", "\b")
_LONGEST = 80


class Wish(Enum):
    """What somebody wants of the picture, or of the run."""

    LAST_LINES = auto()
    RESTART = auto()
    MORE_WORKERS = auto()
    FEWER_WORKERS = auto()
    DRAIN = auto()
    DETACH = auto()


@dataclass(frozen=True, slots=True)
class Wanted:
    wish: Wish
    what: str = ""


_AT_ONCE: Mapping[str, Wish] = MappingProxyType(
    {"l": Wish.LAST_LINES, "+": Wish.MORE_WORKERS, "-": Wish.FEWER_WORKERS, "q": Wish.DETACH}
)
_ASKED: Mapping[str, tuple[Wish, str]] = MappingProxyType(
    {"r": (Wish.RESTART, "restart which task?"), "d": (Wish.DRAIN, "drain which host?")}
)
HELP: Line = tuple(
    span
    for key, words in (
        ("l", "last lines"),
        ("r", "restart"),
        ("+ -", "workers"),
        ("d", "drain"),
        ("q", "detach"),
        ("Ctrl-C", "end"),
        ("?", "close"),
    )
    for span in ((key, "bold"), (f" {words}  ", "dim"))
)


class Prompt:
    """``footer``: what stands on the last line, empty: nothing of ours."""

    def __init__(self) -> None:
        self.footer: Line = ()
        self._asks: tuple[Wish, str] | None = None
        self._typed = ""

    def say(self, text: str, style: str = "yellow") -> None:
        """Something that is to be read; the next key takes it away."""
        self.footer = ((text, style),)

    def take(self, key: str) -> Wanted | None:
        """One key; gives what is wanted, if that is known now."""
        if self._asks is not None:
            return self._answer(key, *self._asks)
        shown, self.footer = self.footer, ()
        if key == "?" and shown != HELP:
            self.footer = HELP
        elif key in _ASKED:
            self._asks = _ASKED[key]
            self._show()
        return Wanted(_AT_ONCE[key]) if key in _AT_ONCE else None

    def _answer(self, key: str, wish: Wish, question: str) -> Wanted | None:
        if key in ENTER or key == ESCAPE:
            typed, self._typed, self._asks, self.footer = self._typed.strip(), "", None, ()
            return Wanted(wish, typed) if typed and key != ESCAPE else None
        if key in BACKSPACE:
            self._typed = self._typed[:-1]
        elif key.isprintable() and len(self._typed) < _LONGEST:
            self._typed += key
        self._show()
        return None

    def _show(self) -> None:
        question: Span = (f"{self._asks[1]} " if self._asks else "", "bold")
        self.footer = (question, (self._typed, ""), ("_", "dim"), ("   Enter, or Escape", "dim"))
