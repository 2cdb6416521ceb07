"""A private folder on a host: what is in it is this user's, and is reached by its descriptor alone.

Whatever happens to its name, nobody else's folder is read, written or emptied. Whoever lives in it shares a lock on it;
where nobody does, it is left over.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat

from launcher.wire.private import peers

AGENT_SOCKET = "agent.sock"
TASK_SOCKET = "task.sock"
CONTROL_SOCKET = "control.sock"
AGENT_LOG = "agent.log"
REFRESH_S = 6 * 3600.0  # whoever cleans /tmp by age waits for a day at least
_RECORD = "run.json"
_MAX_RECORD_BYTES = 65536
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """One that is open, mode 0700. ``path``: for people and other programs; ``here``: for this process and its forks,
    by the descriptor."""

    def __init__(self, place: int, name: str, fd: int, path: str) -> None:
        self._place = place
        self._name = name
        self._fd = fd
        self.path = path
        self.here = f"/proc/self/fd/{fd}"
        self.fds = (place, fd)

    @classmethod
    def open(cls, place: int, shown: str, name: str) -> Folder | None:
        """That of this name in the folder ``place``; None if it is none, a link, somebody else's or open to others."""
        try:
            fd = os.open(name, _OPEN, dir_fd=place)
        except OSError:
            return None
        facts = os.fstat(fd)
        if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            os.close(fd)
            return None
        return cls(os.dup(place), name, fd, f"{shown}/{name}")

    def copy(self) -> Folder:
        """The same, to be closed by itself."""
        return Folder(os.dup(self._place), self._name, os.dup(self._fd), self.path)

    def close(self) -> None:
        """Lets go of it; this process no longer lives in it."""
        os.close(self._fd)
        os.close(self._place)

    def move_in(self) -> bool:
        """Lives in it until this process and its forks have closed it; False if it is being removed."""
        return self._lock(fcntl.LOCK_SH) and os.fstat(self._fd).st_nlink > 0

    def lived_in(self) -> bool:
        """Whether somebody lives in it. If not, nobody can move in while it is open here."""
        return not self._lock(fcntl.LOCK_EX)

    def _lock(self, how: int) -> bool:
        try:
            fcntl.flock(self._fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def refresh(self) -> None:
        """Makes all of it look new to what cleans up by age. systemd-tmpfiles heeds the lock, too; others do not."""
        for _, folders, files, here in os.fwalk(".", dir_fd=self._fd):
            for name in (".", *folders, *files):
                with contextlib.suppress(OSError):
                    os.utime(name, dir_fd=here, follow_symlinks=False)

    # --- its sockets

    def listen(self, name: str) -> socket.socket:
        """A listening socket of mode 0600, in place of what a dead predecessor left there."""
        _remove_entry(name, self._fd)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        umask = os.umask(0o177)  # for a moment only: tasks get the user's
        try:
            server.bind(f"{self.here}/{name}")
        finally:
            os.umask(umask)
        server.listen(128)
        server.setblocking(False)
        return server

    def connect(self, name: str) -> socket.socket:
        """A connection to a process of this user's that listens there; raises OSError, ForeignPeerError."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.connect(f"{self.here}/{name}")
            peers.check(made, f"{self.path}/{name}")
        except (OSError, peers.ForeignPeerError):
            made.close()
            raise
        return made

    # --- whose it is

    def describe(self, run: str) -> None:
        """Writes down for which run it was made, and where."""
        fd = os.open(_RECORD, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._fd)
        try:
            os.write(fd, json.dumps({"run": run, **peers.where()}).encode())
        finally:
            os.close(fd)

    def run(self) -> str:
        """The run that it was made for, by a process that this one can see. Empty if it was made elsewhere: in another
        PID namespace, before a reboot, on another machine."""
        record = self._record()
        is_here = all(record.get(key) == value for key, value in peers.where().items())
        return str(record.get("run", "")) if is_here else ""

    def is_of_this_machine(self) -> bool:
        """Else its lock says nothing: some machines share what they call /tmp."""
        record, here = self._record(), peers.where()
        return not record or any(record.get(key) == here[key] for key in ("host", "boot"))

    def _record(self) -> dict[str, object]:
        try:
            fd = os.open(_RECORD, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
        except OSError:
            return {}
        try:
            body = json.loads(os.read(fd, _MAX_RECORD_BYTES))
        except ValueError:
            return {}
        finally:
            os.close(fd)
        return body if isinstance(body, dict) else {}

    # --- its end

    def remove(self) -> None:
        """Removes it and all that is in it, as far as possible. Follows no links, and leaves alone what may have taken
        its name."""
        # Not shutil, whose import takes every host longer than the rest of its end.
        for _, folders, files, here in os.fwalk(".", topdown=False, dir_fd=self._fd):
            for name in (*files, *folders):
                _remove_entry(name, here)
        try:
            named = os.stat(self._name, dir_fd=self._place, follow_symlinks=False)
        except OSError:
            return
        if os.path.samestat(named, os.fstat(self._fd)):
            _remove_entry(self._name, self._place)


def _remove_entry(name: str, here: int) -> None:
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
            os.rmdir(name, dir_fd=here)
        else:
            os.unlink(name, dir_fd=here)
    except OSError:
        return
