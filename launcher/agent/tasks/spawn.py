"""Starts a program in a session of its own that dies with the agent."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping, Sequence

from launcher.agent.system import linux
from launcher.wire.words import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_STAGES = ("folder", "command")


class SpawnError(Exception):
    """The program could not be started; the text says why and what to do."""


def spawn(
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    output_fd: int,
    open_files: int,
    keep_fd: int | None = None,
) -> int:
    """Starts ``argv`` and returns its pid once it is that program; raises SpawnError.

    It leads a session and a group of its own, reads /dev/null, writes both streams to ``output_fd``, has default
    signals and no descriptor of ours except ``keep_fd``. Only for a process of one thread: it forks.
    """
    reader, writer = os.pipe()
    agent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(argv, cwd, env, (output_fd, open_files, keep_fd, writer, agent))
    os.close(writer)
    with open(reader, "rb") as pipe:
        trouble = pipe.read().decode("utf-8", "surrogateescape")
    if trouble:
        os.waitpid(pid, 0)
        raise SpawnError(_explain(trouble, argv[0], cwd))
    return pid


def _become(
    argv: Sequence[str], cwd: str, env: Mapping[str, str], facts: tuple[int, int, int | None, int, int]
) -> NoReturn:
    output_fd, open_files, keep_fd, writer, agent = facts
    stage = 0
    try:
        os.setsid()
        linux.die_with(agent)
        reset_signals()
        linux.set_open_files(open_files)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output_fd, 1), (output_fd, 2)):
            os.dup2(source, target)
        if keep_fd is not None:
            os.set_inheritable(keep_fd, True)
        os.chdir(cwd)
        stage = 1
        os.execvpe(argv[0], list(argv), dict(env))
    except OSError as error:
        os.write(writer, f"{_STAGES[stage]} {error.errno or 0} {error.strerror}".encode())
    except ValueError as error:
        os.write(writer, f"{_STAGES[stage]} 0 {error}".encode())
    finally:
        os._exit(127)


def reset_signals() -> None:
    """Default dispositions and an empty mask, as a program that a shell starts has them."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except OSError:
                continue  # those that the C library keeps for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _explain(trouble: str, program: str, cwd: str) -> str:
    stage, number, text = trouble.split(" ", 2)
    words = limits.told(OSError(int(number), text))
    if limits.advice(words):
        return words
    if stage == "folder":
        return f"cannot work in {cwd}: {text}; make that folder on this host, or name another (cwd)"
    if int(number) == errno.ENOENT:
        where = "" if "/" in program else " in the task's PATH"
        return f"command {program!r} not found{where}; install it on this host or give its full path"
    if int(number) in (errno.EACCES, errno.ENOEXEC):
        return f"command {program!r}: {text}; make it executable and begin it with a #! line, or run it with python"
    if int(number) == errno.E2BIG:
        return f"command {program!r}: {text}; shorten its arguments or environment (128 KiB at most for each string)"
    return f"command {program!r}: {text}"
