"""The locks of the folders in which a run trains, on the chief's host.

Each is locked twice: in the folder, where other hosts see it, and by its name on this host, which holds although a
script empties its folder at the start (``shutil.rmtree``). The lock in the folder is then made again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from launcher.agent.host import fence
from launcher.agent.host import lock as locks
from launcher.agent.host.keeper_line import KeeperLine
from launcher.agent.system import linux, processes
from launcher.agent.system.loop import Loop
from launcher.wire import protocol
from launcher.wire.private import registry
from launcher.wire.private.folder import Folder

_NAMES = "locks"
_LEAVE_ALONE_S = 5.0  # a script that is emptying the folder is not to find another file in it
_EVENT_BYTES = 65536


class ModelLocks:
    """What this agent has locked, or an earlier one of the run; the keeper holds it. ``home``: the run's private
    folder, in which names are locked."""

    def __init__(
        self, loop: Loop, say: Callable[[protocol.Message], None], keeper: KeeperLine, run: str, home: Folder
    ) -> None:
        self._loop = loop
        self._say = say
        self._keeper = keeper
        self._run = run
        self._home = home
        self._names = Path(home.here, _NAMES)
        self._generations: dict[str, int] = {}

    def lock(self, path: str, generation: int, departed: Iterable[str] = ()) -> None:
        """Locks a folder for that generation of the run, without its ``departed`` attempts, and says so; one that is
        locked already is said to be. Raises locks.LockError."""
        if locks.is_remote(path):
            note = "folders of this kind cannot be locked; see to it that no other run trains in it"
            self._say(protocol.Locked(path=path, note=note))
            return
        note = ""
        if f"lock {path}" not in self._keeper.held:
            self._hold(f"name {path}", locks.lock_name(path, self._owner(), self._names, self._others()))
            fd, note = locks.lock(path, self._owner())
            self._hold(f"lock {path}", fd)
            self._watch(path)
        fence.take(path, self._run, generation, departed)
        self._generations[path] = generation
        self._say(protocol.Locked(path=path, note=note))

    def release(self, *, is_over: bool) -> None:
        """Removes the files of all locks that are still this host's; its folders are nobody's if the run is over."""
        for held, fds in self._keeper.held.items():
            kind, _, path = held.partition(" ")
            if kind == "lock":
                locks.unlock(Path(path) / locks.LOCK_FILE, fds[0], socket.gethostname())
            elif kind == "name":
                locks.unlock(locks.name_file(path, self._names), fds[0], socket.gethostname())
        for path, generation in self._generations.items():
            fence.leave(path, self._run, generation, is_over=is_over)

    def _hold(self, name: str, fd: int | None) -> None:
        if fd is not None and name not in self._keeper.held:
            self._keeper.hold(name, [fd])
        if fd is not None:
            os.close(fd)

    def _others(self) -> Iterator[Path]:
        """Where other runs of this user's lock names, each as long as it is looked at."""
        try:
            yield from (Path(home.here, _NAMES) for home in registry.mine() if home.path != self._home.path)
        except registry.FolderError:
            return

    def _owner(self) -> locks.Owner:
        return {"run": self._run, "host": socket.gethostname(), "pid": os.getpid(), "since": processes.utc(time.time())}

    # --- a lock file that is removed

    def _watch(self, path: str) -> None:
        """By the kernel's word, not by looking: a network file system may not answer."""
        try:
            fd = linux.watch_file(str(Path(path) / locks.LOCK_FILE))
        except OSError:
            return
        self._loop.watch(fd, read=lambda: self._changed(path, fd))

    def _changed(self, path: str, fd: int) -> None:
        os.read(fd, _EVENT_BYTES)
        held = self._keeper.held.get(f"lock {path}")
        if held is not None and not locks.is_held(path, held[0]):
            self._loop.forget(fd)
            os.close(fd)
            self._loop.later(_LEAVE_ALONE_S, lambda: self._lock_again(path))

    def _lock_again(self, path: str) -> None:
        if f"lock {path}" not in self._keeper.held:
            return
        self._keeper.drop(f"lock {path}")
        try:
            self.lock(path, self._generations.get(path, 1))
        except locks.LockError as error:
            self._say(protocol.Refused(command=protocol.LockModelDir.kind, message=str(error)))
            return
        note = f"model_dir {path} was emptied or removed while the run trains in it"
        self._say(protocol.Locked(path=path, note=note, emptied=True))
