"""How a failure is put into words."""

from __future__ import annotations

import difflib
import signal as signals

from launcher.causes.traces import Raised, Trace, defined_at, gist
from launcher.wire import protocol

_SHOWN_FRAMES = 4
_SHOWN_MESSAGE_LINES = 6


def told(link: Raised) -> str:
    """Name, message and place of an exception."""
    said, where = gist(link.text), place(link)
    return link.short_name + (f": {said}" if said else "") + (f" ({where})" if where else "")


def place(link: Raised) -> str:
    made = defined_at(link.text)
    frame = made if made is not None else link.frame
    return str(frame) if frame is not None else ""


def in_thread(trace: Trace | None) -> str:
    return f" in thread {trace.thread}" if trace is not None and trace.thread else ""


def origin(trace: Trace, link: Raised) -> str:
    """The exception that it came from, where that says something new."""
    at = trace.links.index(link)
    former = trace.links[at - 1] if at > 0 else None
    if former is None or former.short_name == link.short_name:
        return ""
    return f", from {told(former)}"


def shown(link: Raised) -> str:
    """The decisive lines: the user's frames, and what the exception says."""
    own = [frame for frame in link.frames if not frame.is_library] or list(link.frames)
    lines: list[str] = []
    for frame in own[-_SHOWN_FRAMES:]:
        inside = f", in {frame.function}" if frame.function else ""
        lines.append(f'  File "{frame.path}", line {frame.line}{inside}')
        lines += [f"    {frame.source}"] * bool(frame.source)
    text = [line for line in link.text.splitlines() if line.strip()]
    if len(text) > _SHOWN_MESSAGE_LINES:
        text = [gist(link.text, lines=_SHOWN_MESSAGE_LINES)]
    lines.append(f"{link.name}: {text[0]}" if text else link.name)
    return "\n".join([*lines, *text[1:]])


def metrics_there(names: tuple[str, ...], wanted: str) -> str:
    wanted = wanted.strip().strip("'\"")
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.3)
    there = f": there are {', '.join(names)}" if names else ""
    return there + (f"; did you mean {near[0]!r} instead of {wanted!r}?" if near else "")


def peak(body: protocol.Exited) -> str:
    peak_mib = body.facts.get("peak_mib")
    return f" (it used up to {peak_mib:,.0f} MiB)" if isinstance(peak_mib, (int, float)) and peak_mib else ""


def limits(body: protocol.Exited) -> str:
    """The bounds that were set for the task, as far as there are any."""
    named = {
        "address_space_mib": "ulimit -v is {:,.0f} MiB: raise it before the start",
        "memory_limit_mib": "its cgroup allows {:,.0f} MiB",
    }
    facts = [(text, body.facts.get(name)) for name, text in named.items()]
    words = [text.format(value) for text, value in facts if isinstance(value, (int, float)) and value]
    return f" ({'; '.join(words)})" if words else ""


def signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_line(tail: str) -> str:
    lines = [line for line in tail.splitlines() if line.strip()]
    return f": {lines[-1].strip()[:300]}" if lines else ""
