"""What people keep in ~/.ssh: the configuration with its ``Include`` lines, and where known host keys are.

The syntax is that of ssh_config(5). What a setting means for a host is looked up by the SSH library, which knows no
``Include``.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
_USER_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_MAX_DEPTH = 16
_HASHED = "|1|"


def config_text(user: Path, system: Path = SYSTEM_CONFIG) -> str:
    """The user's configuration and the system's after it, with what they include; a missing file is empty."""
    return "\n".join([*_expanded(user, user.parent, 0), "Host *", *_expanded(system, system.parent, 0)]) + "\n"


def _expanded(path: Path, base: Path, depth: int) -> Iterator[str]:
    """The lines of a file. ``base``: what relative names of included files start from."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    section = "Host *"
    for line in lines:
        words = _words(line)
        word = words[0].lower() if words else ""
        if word in ("host", "match"):
            section = line
        if word != "include" or depth >= _MAX_DEPTH:
            yield line
            continue
        for pattern in words[1:]:
            for included in _matching(pattern, base):
                yield from _expanded(included, base, depth + 1)
        yield section  # what an included file has begun ends with it


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line.replace("=", " ", 1), comments=True)
    except ValueError:
        return []


def _matching(pattern: str, base: Path) -> list[Path]:
    path = Path(pattern).expanduser()
    full = path if path.is_absolute() else base / path
    anchor = Path(full.anchor)
    return sorted(anchor.glob(str(full.relative_to(anchor))))


def known_hosts_files(settings: Mapping[str, object]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The user's files of known host keys, to the first of which new ones are added, and the system's."""
    user = str(settings.get("userknownhostsfile", _USER_KNOWN_HOSTS))
    system = str(settings.get("globalknownhostsfile", _SYSTEM_KNOWN_HOSTS))
    return _paths(user), _paths(system)


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(word).expanduser() for word in _words(text) if word != "none")


class KnownHosts:
    """What files of known hosts say of a host. Each is read once, as long as nobody changes it: there may be thousands
    of lines, and hundreds of hosts to look for."""

    def __init__(self) -> None:
        self._files: dict[Path, tuple[tuple[int, int], _Names]] = {}

    def lines(self, file: Path, name: str) -> list[str]:
        """The lines that name the host, in their order; ``name`` is ``[host]:port`` where the port is not 22."""
        try:
            facts = file.stat()
            state = (facts.st_mtime_ns, facts.st_size)
            if self._files.get(file, (None,))[0] != state:
                self._files[file] = state, _Names(file.read_text(encoding="utf-8", errors="replace").splitlines())
        except OSError:
            return []
        return self._files[file][1].find(name)


class _Names:
    """The names in a file of known hosts; hashed ones (``ssh-keygen -H``) can only be compared with."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = [line.strip() for line in lines]
        self._plain: dict[str, list[int]] = {}
        self._hashed: list[tuple[bytes, bytes, int]] = []
        for number, line in enumerate(self._lines):
            for name in line.split(maxsplit=1)[0].split(",") if line[:1] not in ("", "#", "@") else ():
                self._add(name, number)

    def _add(self, name: str, number: int) -> None:
        if not name.startswith(_HASHED):
            self._plain.setdefault(name, []).append(number)
            return
        with contextlib.suppress(ValueError):
            salt, _, digest = name[len(_HASHED) :].partition("|")
            self._hashed.append((base64.b64decode(salt), base64.b64decode(digest), number))

    def find(self, name: str) -> list[str]:
        found = {number for salt, digest, number in self._hashed if hmac.digest(salt, name.encode(), "sha1") == digest}
        return [self._lines[number] for number in sorted(found.union(self._plain.get(name, ())))]


def jumps(settings: Mapping[str, object]) -> tuple[str, ...]:
    """The hosts of ``ProxyJump``, the one that is connected to first in front."""
    text = str(settings.get("proxyjump", "none"))
    return () if text.lower() == "none" else tuple(hop.strip() for hop in text.split(","))


def add_known_host(file: Path, line: str) -> None:
    """Adds a host key to a file of known hosts, as OpenSSH does."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.open("a+b") as known:
        known.seek(0)
        text = known.read()
        start = b"" if not text or text.endswith(b"\n") else b"\n"
        known.write(start + line.encode() + b"\n")
