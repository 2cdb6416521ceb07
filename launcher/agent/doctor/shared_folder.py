"""Whether a folder can be written here, and whether it is the one that others see."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from launcher.agent.host import lock
from launcher.agent.tasks import environment

_PADDING = b" " * 65536  # a file that fits into an inode would be written on a full disk, too


class SharedFolder:
    """What was written, so that it can be taken away."""

    def __init__(self) -> None:
        self._files: list[Path] = []
        self._made: list[Path] = []

    def write(self, path: str, name: str, word: str) -> dict[str, object]:
        """Writes a file ``name`` with ``word`` in it, making the folder if need be. ``problem``: why that failed;
        ``holder``: the living run that has locked the folder."""
        folder = Path(environment.at_home(path, os.environ))
        try:
            self._make(folder)
            self._files.append(folder / name)
            with open(folder / name, "wb") as file:
                file.write(word.encode() + b"\n" + _PADDING)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            why = "it is no folder" if isinstance(error, (FileExistsError, NotADirectoryError)) else error.strerror
            return {"path": str(folder), "problem": why or str(error), "holder": {}}
        return {"path": str(folder), "problem": "", "holder": _holder(folder)}

    def _make(self, folder: Path) -> None:
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        for parent in reversed(missing):
            try:
                parent.mkdir()
            except FileExistsError:
                if not parent.is_dir():
                    raise
            else:  # another host may have been faster: then it is his to remove
                self._made.append(parent)

    def read(self, path: str, names: Sequence[str]) -> dict[str, object]:
        """The words in the files of these names; those that are not there are left out."""
        folder = Path(environment.at_home(path, os.environ))
        words = {}
        for name in names:
            try:
                words[name] = (folder / name).read_bytes().partition(b"\n")[0].decode("utf-8", "replace")
            except OSError:
                continue
        return {"words": words}

    def forget(self) -> dict[str, object]:
        """Removes what was written."""
        while self._files:
            _quietly(self._files.pop().unlink)
        return {}

    def forget_folders(self) -> None:
        """Removes what was written, and those folders that were made for it and hold nothing else: what other hosts
        have written there must be gone."""
        self.forget()
        while self._made:
            _quietly(self._made.pop().rmdir)


def _quietly(remove: object) -> None:
    assert callable(remove)
    try:
        remove()
    except OSError:
        return


def _holder(folder: Path) -> lock.Owner:
    """Who has locked the folder and still lives."""
    try:
        fd = os.open(folder / lock.LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return lock.holder(str(folder)) or {"run": "another run"}
    finally:
        os.close(fd)
    return {}
