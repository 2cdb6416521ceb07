"""Makes a forked process look to the program as a new interpreter would.

Each function puts one thing right. What they cannot: see ``preload.py``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import linecache
import logging
import multiprocessing.process
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)  # Python/pylifecycle.c, init_signals


def signals() -> None:
    """The dispositions, the mask and the wake-up descriptor of an interpreter that has just started."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def output(output_fd: int) -> None:
    """Reads /dev/null, writes both streams to ``output_fd``."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output_fd, 1), (output_fd, 2)):
        os.dup2(source, target)


def close_descriptors(*, besides: int = 0) -> None:
    """Closes all but the first three, and ``besides``."""
    # Not up to the limit of open files, which may be millions: not every C library has close_range(2).
    for fd in sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir()):
        if fd > 2 and fd != besides:
            with contextlib.suppress(OSError):  # the one that the listing itself had open
                os.close(fd)


def streams() -> None:
    """Makes ``sys.stdin``, ``sys.stdout`` and ``sys.stderr`` anew for what the descriptors are now.

    The objects stay the same, since modules that are imported already hold them (the handlers of logging, of absl).
    Encodings are those of the preloaded interpreter, which was started with the same environment. Output is flushed
    at every line, so that a log can be followed.
    """
    for fd, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if isinstance(stream, io.TextIOWrapper):
            _reopen(stream, fd)


def _reopen(stream: io.TextIOWrapper, fd: int) -> None:
    text: Any = stream
    settings = {"encoding": text.encoding, "errors": text.errors, "newline": "\n", "line_buffering": True}
    settings["write_through"] = text.write_through
    mode = "rb" if fd == 0 else "wb"
    # What is below is made anew: it remembers whether it could seek, as a log can and a pipe cannot.
    raw: Any = io.FileIO(fd, mode, closefd=False)
    raw.name = f"<{('stdin', 'stdout', 'stderr')[fd]}>"
    if isinstance(text.buffer, io.FileIO):  # unbuffered Python has no buffer between
        buffer = raw
    else:
        buffer = io.BufferedReader(raw) if fd == 0 else io.BufferedWriter(raw)
    text.__init__(buffer, **settings)
    text.mode = mode[0]


def environment(env: Mapping[str, str], cwd: str) -> None:
    """The environment, the folder and the time zone of the task."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()


def search_path(path: list[str], preload_cwd: str) -> None:
    """``sys.path`` without the entry that depends on the program. Relative entries of PYTHONPATH, which Python makes
    absolute at its start, are taken from the task's folder."""
    given = os.environ.get("PYTHONPATH")
    relative = [entry for entry in given.split(os.pathsep) if not entry.startswith("/")] if given else []
    moved = {_absolute(preload_cwd, entry): _absolute(str(Path.cwd()), entry) for entry in relative}
    sys.path[:] = [moved.get(entry, entry) for entry in path]


def _absolute(folder: str, entry: str) -> str:
    return os.path.normpath(f"{folder}/{entry}")  # as getpath.py does, which writes //lib for lib in /


def caches(numpy_random: Any) -> None:
    """What modules of the standard library have worked out for the process that they were imported in, and the state
    of ``numpy.random`` if that is imported."""
    random.seed()
    if numpy_random is not None:
        numpy_random.seed()
    tempfile.tempdir = None
    vars(logging)["_startTime"] = time.time_ns() if sys.version_info >= (3, 13) else time.time()
    process: Any = multiprocessing.process
    process.ORIGINAL_DIR = str(Path.cwd())
    process.current_process().authkey = os.urandom(32)


def set_warning_filters(filters: Sequence[Any]) -> None:
    """Makes these the filters of module warnings, the first one first."""
    module: Any = warnings
    module.filters[:] = dict.fromkeys(filters)
    module._filters_mutated()


def forget(modules: Mapping[str, ModuleType]) -> None:
    """Forgets which warnings have been shown, which folders hold what, and the lines of source files.

    For the preloaded interpreter, before tasks are forked: it touches every module, which a fork would have to copy.
    """
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
    for name, entry in [*linecache.cache.items()]:
        if len(entry) == 1 or entry[1] is not None:  # what is in no file cannot be read again
            del linecache.cache[name]
    vars(warnings)["onceregistry"].clear()
    for module in modules.values():
        registry = getattr(module, "__dict__", {}).get("__warningregistry__")
        if registry:
            registry.clear()
