"""What the kernel grants too few of, processes and open files, in words that name the limit."""

from __future__ import annotations

import errno
import resource

_ADVICE = {
    "ulimit -u": "raise the limit of processes before the start (ulimit -u, or pids.max of the cgroup)",
    "ulimit -n": "raise the limit of open files before the start (ulimit -n)",
    "fs.file-max": "close what holds them, or raise the host's limit (sysctl fs.file-max)",
}


def told(error: BaseException) -> str:
    """What the error says; where a limit was met, which one it is and what it allows."""
    text, number = str(error), getattr(error, "errno", None)
    if number == errno.EMFILE:
        return f"too many files are open (ulimit -n is {_limit(resource.RLIMIT_NOFILE)})"
    if number == errno.ENFILE:
        return "too many files are open on the whole host (fs.file-max)"
    # The same number says of a pipe that it would block; Python's words are others then.
    no_fork = number == errno.EAGAIN and "Resource temporarily unavailable" in text
    if no_fork or "can't start new thread" in text:
        return f"no more processes or threads can be started (ulimit -u is {_limit(resource.RLIMIT_NPROC)})"
    return text


def advice(text: str) -> str:
    """What to do, if the text speaks of such a limit; else empty."""
    return next((words for name, words in _ADVICE.items() if f"({name}" in text), "")


def _limit(which: int) -> str:
    soft, _ = resource.getrlimit(which)
    return "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
