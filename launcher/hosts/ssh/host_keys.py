"""Which keys hosts are known by, and what becomes of others."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

from launcher.hosts.ssh import settings as ssh_settings


def learn(keys: Any, name: str, line: str) -> None:
    """Adds the key of a line to those of the host; the first of each type counts."""
    try:
        entry = HostKeyEntry.from_line(line)
    except (InvalidHostKey, OSError, EOFError, paramiko.SSHException):
        return
    if entry is not None and entry.key.get_name() not in (keys.lookup(name) or {}):
        keys.add(name, entry.key.get_name(), entry.key)


class UnknownHostKeyError(paramiko.SSHException):
    """Nobody has said that this key is the host's; ``line`` says so in a file of known hosts."""

    def __init__(self, key: Any, line: str) -> None:
        super().__init__(f"its host key is not known: {key.get_name()} {key.fingerprint}")
        self.line = line


class WhenUnknown(paramiko.MissingHostKeyPolicy):
    """What becomes of a host key that is not known: it is refused, or written down if there is a file for it."""

    _writing = threading.Lock()

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        line = f"{hostname} {key.get_name()} {key.get_base64()}"
        if self._file is None:
            raise UnknownHostKeyError(key, line)
        with self._writing:
            ssh_settings.add_known_host(self._file, line)
