"""Another user of this machine, who means harm. Needs root, which makes him."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest

SOMEBODY = 61_234  # a user that nobody is
root_only = pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users")


def as_somebody(work: Callable[[], object], uid: int = SOMEBODY) -> None:
    """Does it as the other user, and waits until it is done."""
    with somebody_does(lambda ready: work(), uid) as pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@contextmanager
def somebody_does(work: Callable[[Callable[[], object]], object], uid: int = SOMEBODY) -> Iterator[int]:
    """The process in which the other user does it, from when he has called what he is given, or has ended; it is killed
    in the end."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(uid, lambda: work(lambda: os.write(tell, b"x")))
    os.close(tell)
    os.read(told, 1)
    os.close(told)
    try:
        yield pid
    finally:
        with suppress(ChildProcessError, ProcessLookupError):
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def _become(uid: int, work: Callable[[], object]) -> NoReturn:
    code = 1
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def take(path: Path, how: str, precious: Path) -> None:
    """Takes the name before anybody else does: as a folder that is open to all, a link, or a file."""
    if how == "folder":
        path.mkdir()
        path.chmod(0o777)
        (path / "file").touch()
    elif how == "link":
        path.symlink_to(precious)
    else:
        path.touch()
