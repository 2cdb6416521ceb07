"""What is known about the end of a task: what it said last, and which of it counts."""

from __future__ import annotations

import signal as signals
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from launcher.causes.cause import Cause
from launcher.causes.traces import Raised, Trace, gist, last_trace, native_words, unread_source
from launcher.wire import protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the run knows besides: the folder in which the chief trains, and the metrics of its evaluations."""

    model_dir: str | None = None
    metrics: tuple[str, ...] = ()


NOTHING = Known()


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """An end, and what is known about it. ``trace``: what Python raised, if that is how it ended."""

    body: protocol.Exited
    known: Known
    trace: Trace | None
    native: str
    make: Callable[..., Cause]

    @property
    def log(self) -> str:
        return f"tflaunch logs RUN {self.body.task}"


def gather(host: str, body: protocol.Exited, known: Known) -> Evidence:
    """Puts together what is known about the end that an agent has reported."""
    number = _signal_of_shell(body)
    body = body if number is None else protocol.changed(body, exit_code=None, signal=number)
    return Evidence(
        body=body,
        known=known,
        trace=_told_once(_trace(body)),
        native=native_words(f"{body.excerpt}\n{body.tail}"),
        make=partial(
            Cause,
            task=body.task,
            host=host,
            tail=body.tail,
            exit=-body.signal if body.signal is not None else body.exit_code,
        ),
    )


def _signal_of_shell(body: protocol.Exited) -> int | None:
    """The signal that a shell reports of the program that it ran, by the exit code 128 and its number."""
    number = (body.exit_code or 0) - 128
    return number if number in _FATAL_SIGNALS and not body.raised else None


_FATAL_SIGNALS = frozenset(
    {int(signals.SIGKILL), int(signals.SIGSEGV), int(signals.SIGABRT), int(signals.SIGBUS), int(signals.SIGILL)}
)


def _trace(body: protocol.Exited) -> Trace | None:
    """What Python raised. What merely stands in the output counts only where Python's exit code goes with it."""
    if body.raised:
        return last_trace("\n".join(line for line in body.raised.splitlines() if not line.startswith("[tflaunch] ")))
    if body.exit_code == 1:
        return last_trace(body.excerpt) or last_trace(body.tail) or unread_source(body.tail)
    return last_trace(body.tail) if body.exit_code else None


def _told_once(trace: Trace | None) -> Trace | None:
    """TensorFlow raises an exception again with a longer text, the end of which may be cut off: then what the former
    one says holds."""
    if trace is None:
        return None
    links: list[Raised] = []
    for link in trace.links:
        if links and links[-1].name == link.name and not gist(link.text):
            link = replace(link, text=f"{link.text}\n{links[-1].text}")
        links.append(link)
    return replace(trace, links=tuple(links))


def remark(evidence: Evidence, name: str) -> str:
    """What the task has noted beside its traceback; empty if it has not."""
    found = [line for line in evidence.body.raised.splitlines() if line.startswith(f"{name}: ")]
    return found[-1].removeprefix(f"{name}: ") if found else ""


def decisive(trace: Trace) -> tuple[Raised, str]:
    """The exception that matters, and its text with those of the ones that it was raised from.

    An exception that was raised on purpose stands for those before it. One that happened while another was handled
    does not, nor does the exit code with which a handler ends the program.
    """
    at = len(trace.links) - 1
    while at > 0 and not trace.links[at].explicit and not on_purpose(trace.links[at]):
        at -= 1
    first = at
    while first > 0 and (trace.links[first].explicit or trace.links[first - 1].name == trace.links[first].name):
        first -= 1
    text = "\n".join(f"{link.name}: {link.text}" for link in trace.links[first : at + 1])
    return trace.links[at], text


def on_purpose(link: Raised) -> bool:
    if link.short_name == "SystemExit":
        return not link.text.strip().lstrip("-").isdigit() and bool(link.text.strip())
    return link.deliberate
