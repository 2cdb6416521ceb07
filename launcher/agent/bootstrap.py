"""The first program of ours on a host: finds the agent's files, or asks for them, and runs one of its programs.

It arrives over the connection and is executed by a Python that knows nothing of us, so it stands alone. What comes next
says what is wanted, as JSON after its size in digits: ``digest`` of the files, the ``size`` of what will be sent
if they are missing, the ``program`` to run (relay, sweep) and its ``options``. The files are kept by their digest, so
that they travel once: in the user's cache folder, or where there is none in one of his own in /tmp, under a name that
nobody else has taken.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

WANTED_MARKER = b"tflaunch-agent-wanted\n"
SIZE_DIGITS = 8
EXIT_NO_ROOM = 66
_KEEP_S = 200 * 86400
_OURS = "launcher/agent/__main__.py"


def main() -> NoReturn:
    """Runs the program; its exit code ends the process."""
    request = json.loads(_read(int(_read(SIZE_DIGITS))))
    home = _find(request["digest"]) or _receive(request)
    sys.path.insert(0, home)
    from launcher.agent.__main__ import run

    sys.exit(run(request["program"], json.dumps(request["options"])))


def _stems(digest: str) -> list[str]:
    """What the paths of folders with these files begin with, the better place first."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [f"{cache}/tflaunch/agent-{digest}", f"/tmp/tflaunch-agent-{os.getuid()}-{digest}"]


def _find(digest: str) -> str | None:
    """The folder with these files, None if there is none that only we can have written."""
    for stem in _stems(digest):
        place, _, name = stem.rpartition("/")
        for entry in os.listdir(place) if os.path.isdir(place) else ():
            if entry.startswith(name) and _is_good(f"{place}/{entry}"):
                return f"{place}/{entry}"
    return None


def _is_good(home: str) -> bool:
    """Whether the files are there, and nobody else can have changed them; marks them as used."""
    try:
        os.lstat(home + "/" + _OURS)
        os.utime(home)
        return _is_private(home) and _is_safe(os.path.dirname(home))
    except OSError:
        return False


def _is_private(path: str) -> bool:
    facts = os.lstat(path)
    return facts.st_uid == os.getuid() and stat.S_ISDIR(facts.st_mode) and not facts.st_mode & 0o022


def _is_safe(place: str) -> bool:
    """Whether nobody but us, and root, can put something else in the place of what is ours there."""
    facts = os.lstat(place)
    return _is_private(place) or bool(stat.S_ISDIR(facts.st_mode) and not facts.st_uid and facts.st_mode & stat.S_ISVTX)


def _read(size: int) -> bytes:
    """So much of the input and no more: what follows is not ours. Not byte by byte, as an unbuffered line is read."""
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            sys.exit("the connection ended while the agent was being sent")
        data += part
    return data


def _receive(request: dict[str, Any]) -> str:
    import hashlib
    import zlib

    os.write(1, WANTED_MARKER)
    data = _read(request["size"])
    if hashlib.sha256(data).hexdigest()[: len(request["digest"])] != request["digest"]:
        sys.exit("the agent arrived damaged; try again")
    files = json.loads(zlib.decompress(data))
    troubles = []
    for stem in _stems(request["digest"]):
        try:
            return _store(stem, files)
        except OSError as error:
            troubles.append(f"{os.path.dirname(stem)}: {error.strerror}")
    sys.stderr.write("cannot store the agent ({})\n".format("; ".join(troubles)))
    sys.exit(EXIT_NO_ROOM)


def _store(stem: str, files: dict[str, str]) -> str:
    """Writes the files and gives them their name when all are there. Another one may be doing the same."""
    place, _, name = stem.rpartition("/")
    os.makedirs(place, mode=0o700, exist_ok=True)
    if not _is_safe(place):
        raise PermissionError(errno.EPERM, "it is not a folder of yours that nobody else can write to")
    kind = name.rpartition("-")[0]
    _forget_old(place, kind)
    draft = f"{place}/.{kind}-{os.urandom(8).hex()}"
    try:
        os.mkdir(draft, 0o700)
        for name, text in files.items():
            path = draft + "/" + name
            os.makedirs(os.path.dirname(path), exist_ok=True)  # below the draft, which is closed to others
            with open(path, "wb") as file:
                file.write(text.encode("latin-1" if name.endswith(".so") else "utf-8"))
        return _named(draft, stem)
    except OSError:
        _remove(draft)
        raise


def _named(draft: str, home: str) -> str:
    """Gives it that name, or another where somebody else holds it."""
    try:
        os.rename(draft, home)
    except OSError:
        if _is_good(home):
            _remove(draft)  # another one was faster
            return home
        if os.lstat(home).st_uid == os.getuid():
            _remove(home)
        if os.path.lexists(home):
            home += "-" + os.urandom(4).hex()
        os.rename(draft, home)
    return home


def _forget_old(place: str, kind: str) -> None:
    """Removes what no run has used for long."""
    import time

    for name in os.listdir(place):
        path = place + "/" + name
        try:
            facts = os.lstat(path)
        except OSError:
            continue
        ours = name.startswith((kind + "-", "." + kind + "-")) and facts.st_uid == os.getuid()
        if ours and facts.st_mtime < time.time() - _KEEP_S:
            _remove(path)


def _remove(path: str) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
