"""Of many failures the one to name, with the others folded under it."""

from __future__ import annotations

import signal as signals
from dataclasses import replace

from launcher.causes.cause import Cause

CRASHES = frozenset({int(signals.SIGSEGV), int(signals.SIGABRT), int(signals.SIGBUS), int(signals.SIGFPE)})


def first(failures: tuple[Cause, ...], fatal: Cause) -> Cause:
    """The failure to name, with what followed from it: the fatal one, unless it is the consequence of another, or
    several tasks failed in the same way: then the earliest of those.

    ``failures``: all that are known, in order; those that came after the fatal one may be among them.
    """
    named = _root(failures, fatal)
    earlier = failures[: failures.index(named)] if named in failures else failures
    rest = [failure for failure in (*failures, fatal) if failure not in earlier and not _is_of(failure, named)]
    followed = {(failure.task, failure.kind, failure.message): failure for failure in rest}
    return replace(named, followed=tuple(followed.values()))


def _is_of(failure: Cause, named: Cause) -> bool:
    """Whether it is the failure that is named, or another one of the same task."""
    return failure is named or (failure.task is not None and failure.task == named.task)


def _root(failures: tuple[Cause, ...], fatal: Cause) -> Cause:
    if not fatal.knock_on:
        return next((failure for failure in failures if _alike(failure, fatal)), fatal)
    # Of several hosts the one with the consequence may be heard first.
    others = [failure for failure in failures if not failure.knock_on and failure.task != fatal.task]
    roots = [failure for failure in others if _is_server(failure)] or others
    at = failures.index(fatal) if fatal in failures else len(failures)
    before = [failure for failure in roots if failures.index(failure) < at]
    return (before[-1] if before else roots[0]) if roots else fatal


def _is_server(cause: Cause) -> bool:
    return (cause.task or "").startswith("ps:")


def _alike(one: Cause, other: Cause) -> bool:
    """Whether two tasks failed in the same way."""
    return one.kind == other.kind and (one.kind not in _MANIFOLD or _without_task(one) == _without_task(other))


def _without_task(cause: Cause) -> str:
    return cause.message.replace(cause.task or "", "", 1)


_MANIFOLD = ("exception", "exit", "signal", "timeout", "hang", "host")


def used_up(cause: Cause, role: str, restarts: int) -> Cause:
    """The failure of a task that may not be started again, having been started so often."""
    why = its_restarts(restarts) if restarts else f"policy.restarts.{role} is 0"
    if cause.kind not in ("signal", "out_of_memory", "ps_unreachable"):
        return replace(cause, message=f"{cause.message}; {why}") if restarts else cause
    more = f"allow it more restarts (--restarts {role}={2 * restarts or 3}), and go on from the last checkpoint"
    return replace(cause, message=f"{cause.message}; {why}", advice=_joined(cause, more))


def _joined(cause: Cause, more: str) -> str:
    """Native code that crashes does so again: that comes first."""
    crashed = cause.kind == "signal" and -(cause.exit or 0) in CRASHES
    return f"{cause.advice}; or {more}" if crashed else f"{more}; {cause.advice}"


def its_restarts(number: int) -> str:
    return "its one restart is used up" if number == 1 else f"its {number} restarts are used up"
