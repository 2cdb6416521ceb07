"""Lines of styled text, and numbers as people read them. No terminal library is needed to make, measure or cut them.

A style is a few words that rich understands, too: ``bold``, ``dim``, ``reverse`` and the eight colours.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from launcher.wire.text import one_line

Span = tuple[str, str]  # text, style
Line = tuple[Span, ...]

_CODES = {"bold": 1, "dim": 2, "italic": 3, "reverse": 7}
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_CODES.update({colour: 30 + number for number, colour in enumerate(_COLOURS)})

# --- widths ------------------------------------------------------------------------------------------------------


@lru_cache(4096)
def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def width_of(text: str) -> int:
    """How many cells of a terminal the text takes."""
    return len(text) if text.isascii() else sum(map(_char_width, text))


def crop(text: str, width: int, mark: str = "…") -> str:
    """The text in at most ``width`` cells; ``mark`` at its end says that something is missing."""
    if width_of(text) <= width:
        return text
    room = width - width_of(mark)
    if room < 0:
        return ""
    used, kept = 0, 0
    for kept, char in enumerate(text[: room + 1 if text.isascii() else None]):  # noqa: B007
        used += _char_width(char)
        if used > room:
            break
    return text[:kept] + mark


def pad(text: str, width: int, mark: str = "…", *, right: bool = False) -> str:
    """The text in exactly ``width`` cells; ``right``: set against the right edge."""
    cut = crop(text, width, mark)
    space = " " * (width - width_of(cut))
    return space + cut if right else cut + space


def line_width(line: Iterable[Span]) -> int:
    return sum(width_of(text) for text, _ in line)


def fit(line: Sequence[Span], width: int, mark: str = "…") -> Line:
    """The line in at most ``width`` cells."""
    if line_width(line) <= width:
        return tuple(line)
    fitted: list[Span] = []
    for number, (text, style) in enumerate(line):
        room = width - line_width(fitted)
        rest = line_width(line[number + 1 :])
        if width_of(text) > room or (rest and width_of(text) == room):
            fitted.append((crop(text + mark, room, mark) if rest else crop(text, room, mark), style))
            break
        fitted.append((text, style))
    return tuple(fitted)


def spread(left: Sequence[Span], right: Sequence[Span], width: int, mark: str = "…") -> Line:
    """Both at their edges; the right one goes where there is no room for both."""
    gap = width - line_width(left) - line_width(right)
    if not right or gap < 2:
        return fit(left, width, mark)
    return (*left, (" " * gap, ""), *right)


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` cells, broken at spaces where there are any."""
    lines = [""]
    for word in text.split():
        while width_of(word) > width:
            head = crop(word, width, "")
            if not head:
                break
            lines.append(head)
            word = word[len(head) :]
        if lines[-1] and width_of(lines[-1]) + 1 + width_of(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return [line for line in lines if line] or [""]


def plain(line: Iterable[Span]) -> str:
    return "".join(text for text, _ in line)


def ansi(line: Iterable[Span], *, color: bool = True) -> str:
    """The line for a terminal, made harmless, colours included if ``color``."""
    return "".join(paint(one_line(text), style) if color else one_line(text) for text, style in line)


def paint(text: str, style: str) -> str:
    """The text between the escape sequences of its style."""
    codes = ";".join(str(_CODES[word]) for word in style.split() if word in _CODES)
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text


def encodable(text: str, encoding: str | None) -> str:
    """The text with ``?`` for what the encoding lacks; a stream without one (``io.StringIO``) takes everything."""
    if encoding is None or text.isascii() or encoding.lower().replace("-", "") == "utf8":
        return text
    return text.encode(encoding, "replace").decode(encoding)


# --- symbols -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of a view. ``states`` is in the order of ``launcher.record.states.TaskState``."""

    states: str = "○◔◑●●◆◉◆◌↻✓✗■↩"
    full: str = "━"
    half: str = "╸"
    track: str = "─"
    ticks: str = "▁▂▃▄▅▆▇█"
    dot: str = " · "
    mark: str = "…"
    times: str = "×"  # noqa: RUF001
    bar: str = "▌"
    to: str = "–"  # noqa: RUF001


UNICODE = Glyphs()
ASCII = Glyphs(
    states=".~:oo*@*-!+x#<",
    full="=",
    half=">",
    track="-",
    ticks="_.-=+*#@",
    dot=" | ",
    mark="~",
    times="x",
    bar="|",
    to="-",
)


def glyphs_for(encoding: str | None) -> Glyphs:
    """What a stream of that encoding can show."""
    return UNICODE if (encoding or "").lower().replace("-", "").replace("_", "") in ("utf8", "utf16") else ASCII


def sparkline(values: Sequence[float], ticks: str) -> str:
    """One character a value, from the smallest to the largest; values that are not finite leave a gap."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, span = min(finite), max(finite) - min(finite)
    top = len(ticks) - 1
    return "".join(
        ticks[round((value - low) / span * top) if span > 0 else top // 2] if math.isfinite(value) else " "
        for value in values
    )


# --- numbers -----------------------------------------------------------------------------------------------------


def count(value: float | None) -> str:
    """In at most six cells: ``999``, ``12.1k``, ``3.20M``."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit * (0.99995 if unit == "k" else 1):
            scaled = value / (1e3 if unit == "k" else limit)
            return f"{scaled:.{2 if abs(scaled) < 10 else 1 if abs(scaled) < 100 else 0}f}{unit}"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.1f}"


def number(value: float | None) -> str:
    """A metric: four significant digits; ``nan`` for one that is no finite number."""
    if value is None:
        return "nan"
    if value == int(value) and abs(value) < 1e6 if math.isfinite(value) else False:
        return str(int(value))
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e3 else f"{value:.4g}"


def memory(mib: float | None) -> str:
    if mib is None:
        return ""
    return f"{mib:.0f}M" if mib < 1000 else f"{mib / 1024:.1f}G" if mib < 102400 else f"{mib / 1024:.0f}G"


def duration(seconds: float) -> str:
    """``0:07``, ``2:31``, ``1:02:31``, ``3d 04:10``."""
    whole = max(0, int(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours >= 48:
        return f"{hours // 24}d {hours % 24:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def places(tasks: Mapping[str, str]) -> str:
    """Which tasks go where, in words."""
    by_host: dict[str, list[str]] = {}
    for task, host in tasks.items():
        by_host.setdefault(host, []).append(task)
    return "; ".join(f"{', '.join(names)} to {host}" for host, names in by_host.items())
