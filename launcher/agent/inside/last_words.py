"""What a Python program leaves behind when it fails, for the agent to pick up: files beside the task's socket.

The traceback of the exception that ended it does not have to be found in its output then, among what other threads and
native code write; and when native code crashes there are the Python stacks at all.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence

from launcher.wire.variables import ATTEMPT_VARIABLE, STACKS_SIGNAL, TASK_SOCKET_VARIABLE, TASK_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from launcher.wire.roles import TaskId

FOLDER = "words"
_RAISED, _STACKS = "raised", "stacks"
_MOST_LINKS = 8
_MOST_FRAMES = 40
_MOST_MESSAGE_CHARS = 8000
_MOST_CHARS = 200_000
_HIGH_FD = 200
_BECAUSE = "The above exception was the direct cause of the following exception:"
_MEANWHILE = "During handling of the above exception, another exception occurred:"

_raised: tuple[int, str | None] = (0, None)  # the process and its file
_remarks: Callable[[BaseException], Sequence[str]] | None = None


# --- in the task -------------------------------------------------------------------------------------------------


def watch(environ: Mapping[str, str]) -> None:
    """Prepares for the end: ``note`` will know where to write, and the stacks of all threads are written down when
    native code crashes, and at ``STACKS_SIGNAL``.

    Nothing where the environment names no agent; no stacks where the program has Python's fault handler on already.
    """
    import traceback  # noqa: F401  not in the agent, whose start it would slow; not when there is no memory left

    global _raised
    _raised = (os.getpid(), _path(environ, _RAISED))
    path = _path(environ, _STACKS)
    if path is None or faulthandler.is_enabled():
        return
    with contextlib.suppress(OSError, ValueError):
        fd = _open(path, os.O_APPEND)
        high = fd if resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= _HIGH_FD else _moved(fd)
        faulthandler.enable(file=high)
        faulthandler.register(STACKS_SIGNAL, file=high, all_threads=True)


def _open(path: str, how: int) -> int:
    """Opens one of these files for writing, in a folder of this user's alone: it may be gone, and its name taken."""
    home, _, name = path.rpartition(f"/{FOLDER}/")
    here = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(here).st_uid != os.getuid():
            raise PermissionError(f"{home} belongs to somebody else")
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | how
        return os.open(f"{FOLDER}/{name}", flags, 0o600, dir_fd=here)
    finally:
        os.close(here)


def _moved(fd: int) -> int:
    """The same file as another number, out of the way of programs that count their descriptors."""
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
    os.close(fd)
    return high


def note(error: BaseException) -> None:
    """Writes down the exception that ends this process; not that of a child that it has forked. Never raises."""
    pid, path = _raised
    with contextlib.suppress(Exception):  # nothing that goes wrong here may hide the program's own error
        if path is not None and pid == os.getpid() and not _is_good_end(error):
            with open(_open(path, os.O_TRUNC), "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write("".join(_told(error))[:_MOST_CHARS])
                file.flush()  # to look for remarks may take seconds
                for line in _remarks(error) if _remarks is not None else ():
                    file.write(f"\n{line}\n")


def remark_with(remarks: Callable[[BaseException], Sequence[str]]) -> None:
    """``note`` adds the lines that this function has to say about the exception."""
    global _remarks
    _remarks = remarks


def _is_good_end(error: BaseException) -> bool:
    return isinstance(error, SystemExit) and error.code in (None, 0)


def _told(error: BaseException) -> Iterator[str]:
    """The traceback as Python shows it, with each message cut to a bearable length."""
    import traceback

    for link, words in _chain(error):
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(link.__traceback__, limit=-_MOST_FRAMES)
        said = "".join(traceback.format_exception_only(type(link), link))
        yield said[:_MOST_MESSAGE_CHARS].rstrip("\n") + "\n"
        if words:
            yield f"\n{words}\n\n"


def _chain(error: BaseException) -> list[tuple[BaseException, str]]:
    """The exceptions that led to this one, the first one first, each with the words that join it to the next."""
    found = [(error, "")]
    while len(found) < _MOST_LINKS:
        link = found[0][0]
        former, words = (link.__cause__, _BECAUSE)
        if former is None and not link.__suppress_context__:
            former, words = (link.__context__, _MEANWHILE)
        if former is None or any(former is known for known, _ in found):
            break
        found.insert(0, (former, words))
    return found


def _path(environ: Mapping[str, str], kind: str) -> str | None:
    socket, task = environ.get(TASK_SOCKET_VARIABLE), environ.get(TASK_VARIABLE)
    if not socket or not task:
        return None
    home, _, _ = socket.rpartition("/")
    return f"{home or '.'}/{_name(task.replace(':', '-'), environ.get(ATTEMPT_VARIABLE, '1'), kind)}"


def _name(slug: str, attempt: int | str, kind: str) -> str:
    return f"{FOLDER}/{slug}.{attempt}.{kind}"


# --- in the agent ------------------------------------------------------------------------------------------------


def take_raised(home: Path, task: TaskId, attempt: int) -> str:
    """The traceback of the exception that ended the program; empty if none did."""
    return _taken(home / _name(task.slug, attempt, _RAISED))


def take_crash(home: Path, task: TaskId, attempt: int) -> str:
    """The stacks that were written down when native code crashed; empty if it did not."""
    text = _taken(home / _name(task.slug, attempt, _STACKS))
    at = text.rfind("Fatal Python error")
    return text[at:] if at >= 0 else ""


def take_stacks(home: Path, task: TaskId, attempt: int) -> str:
    """The stacks that have been written down since they were last taken."""
    path = home / _name(task.slug, attempt, _STACKS)
    text = _taken(path)
    with contextlib.suppress(OSError):
        os.truncate(path, 0)
    return text


def forget(home: Path, task: TaskId, attempt: int) -> None:
    """Removes what an attempt has left."""
    for kind in (_RAISED, _STACKS):
        (home / _name(task.slug, attempt, kind)).unlink(missing_ok=True)


def _taken(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[-_MOST_CHARS:]
    except OSError:
        return ""
