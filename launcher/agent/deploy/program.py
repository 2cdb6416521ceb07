"""The program on a host that ``tflaunch deploy`` talks to: a JSON line for each request, and for each answer.

    look   {folder, files, to, digest}   python, machine, libc, the environment's home and whether it is complete, and
                                         the tree, empty where it is not there
    tree   {to, digest, entries}         {want: [index…]}, then takes the bytes of those files, then {home}
    venv   {folder, files, wheels}       {say} while it is made, then {home}
    remains {to, digest, folder, files, remove}    {found}: what was deployed before, see ``remains``

``{error, advice}`` instead of an answer ends the program, as does the end of its input. ``{alive}`` comes between all
that every two seconds, whatever the program is at: where it does not, the host hangs or the line is dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from launcher.agent.deploy import environments, remains
from launcher.agent.deploy.store import DamagedError, Entry, Store, entries_of
from launcher.wire.protocol import READY_MARKER

_ALIVE_S = 2.0

_speaking = threading.Lock()


def main(argument: str) -> int:
    """Answers requests until its input ends."""
    os.write(1, READY_MARKER)
    threading.Thread(target=_say_alive, daemon=True).start()
    with open(0, "rb", closefd=False) as stream:
        try:
            while line := stream.readline():
                request = json.loads(line)
                _answer(**_OPERATIONS[request.pop("op")](stream, **request))
        except (environments.MakingError, DamagedError) as error:
            return _fail(str(error), getattr(error, "advice", ""))
        except BrokenPipeError:
            return 1
        except OSError as error:
            place = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
            what = error.strerror or str(error)
            return _fail(f"{place}: {what}" if place else what, "is there room, and may this user write there?")
    return 0


def _fail(message: str, advice: str) -> int:
    _answer(error=message, advice=advice)
    return 1


def _answer(**values: object) -> None:
    data = json.dumps(values).encode() + b"\n"
    with _speaking:
        while data:
            data = data[os.write(1, data) :]


def _say_alive() -> None:
    with contextlib.suppress(OSError):
        while True:
            time.sleep(_ALIVE_S)
            _answer(alive=True)


def _look(stream: BinaryIO, *, folder: str, files: dict[str, str], to: str = "", digest: str = "") -> dict[str, Any]:
    home = environments.place(folder, files) if folder else ""
    tree = os.path.join(os.path.expanduser(to), digest) if digest else ""
    return {
        "python": list(sys.version_info[:3]),
        "machine": platform.machine(),
        "libc": platform.libc_ver(sys.executable),
        "home": home,
        "complete": bool(home) and environments.is_complete(home),
        "tree": tree if os.path.isdir(tree) else "",
    }


def _tree(stream: BinaryIO, *, to: str, digest: str, entries: list[Any]) -> dict[str, Any]:
    store, wanted = Store(to), entries_of(entries)
    if not store.has_tree(digest, wanted):
        missing = store.missing(wanted)
        places: dict[Entry, int] = {}
        for index, entry in enumerate(wanted):
            places.setdefault(entry, index)
        _answer(want=[places[entry] for entry in missing])
        for entry in missing:
            store.take(entry, stream.read)
        store.make_tree(digest, wanted)
        store.forget_old(time.time())
    else:
        _answer(want=[])
    return {"home": os.fsdecode(store.tree(digest))}


def _venv(stream: BinaryIO, *, folder: str, files: dict[str, str], wheels: str | None) -> dict[str, Any]:
    home = environments.place(folder, files)
    environments.make(home, files, wheels, lambda text: _answer(say=text))
    return {"home": home}


def _remains(stream: BinaryIO, *, remove: bool, **present: Any) -> dict[str, Any]:
    return {"found": remains.listed(**present, remove=remove)}


_OPERATIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "look": _look,
    "tree": _tree,
    "venv": _venv,
    "remains": _remains,
}
