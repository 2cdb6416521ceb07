"""A relay's way to the interpreter that stands by: has it fork the keeper of a run, and starts it if there is none.

It is found by the name of its private folder, which says whose it is and what a process of it inherits: interpreter,
modules, the variables that are read at its start or by its imports, limits, namespaces. So none is ever asked that does
not fit. It gets only these variables, and thus knows nothing of a run.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import socket
from pathlib import Path

from launcher.agent.host.options import Options
from launcher.agent.inside.guard import library
from launcher.agent.tasks import environment
from launcher.wire.preload_env import import_environment, known_environment
from launcher.wire.private import inherited, peers, registry
from launcher.wire.private.folder import Folder
from launcher.wire.standby import VARIABLE, Wanted
from launcher.wire.variables import RUN_VARIABLE

SOCKET = "standby.sock"
CANNOT = 255  # instead of the exit code of a keeper's start
LEAVE = b"-"  # instead of what a keeper is started with
_TRIES = 2  # one that is about to die lets us in, and answers nothing
_PROGRAM = str(Path(__file__).parents[1] / "inside" / "preload.py")


def start_keeper(wanted: Wanted, options: Options) -> int | None:
    """Has the run's keeper forked, and waits until it listens: the exit code of its start. None if that is not to be
    had from an interpreter that stands by. Raises FolderError. Blocks, for as long as TensorFlow is imported."""
    if wanted.guarded and library.needs_link():  # in the run's own folder
        return None
    env = _environment_of(wanted)
    mark, name = f"standby@{wanted.owner}", _name_of(wanted, env)
    for _ in range(_TRIES):
        connection = _connect(name)
        if connection is None:
            _send_away(mark)
            _start(wanted, {**env, RUN_VARIABLE: mark}, name, mark)
            connection = _connect(name)
        if connection is None:
            return None
        with connection:
            if (code := _ask(connection, options)) is not None:
                return code
    return None


def _ask(connection: socket.socket, options: Options) -> int | None:
    request = json.dumps({"options": options._asdict(), "env": dict(os.environ)})
    try:
        socket.send_fds(connection, [b"+"], [2])
        connection.sendall(request.encode("utf-8", "surrogateescape"))
        connection.shutdown(socket.SHUT_WR)
        poller = select.poll()
        poller.register(connection, select.POLLIN)
        poller.register(0, 0)  # the supervisor may be gone before it is ready
        if connection.fileno() not in dict(poller.poll()):
            return 1
        answer = connection.recv(1)
    except OSError:
        return None
    return answer[0] if answer and answer[0] != CANNOT else None


def _connect(name: str) -> socket.socket | None:
    for home in registry.every(name):
        try:
            return home.connect(SOCKET)
        except (OSError, peers.ForeignPeerError):
            continue
    return None


def _send_away(mark: str) -> None:
    """One is kept, not one for each kind. Of one that was killed the folder goes."""
    for home in registry.of_run(mark):
        if home.is_of_this_machine() and not home.lived_in():
            home.remove()
            continue
        try:
            with home.connect(SOCKET) as other:
                other.sendall(LEAVE)
        except (OSError, peers.ForeignPeerError):
            continue


# --- what it is


def _environment_of(wanted: Wanted) -> dict[str, str]:
    """What it is started with: of the user's variables those that cannot be given to its forks later."""
    env = dict(os.environ)
    base = {**known_environment(env), **import_environment(env)}
    if wanted.guarded and not library.obstacle():
        base[environment.LIBRARY_VARIABLE] = library.path()
    return environment.changed(base, wanted.env)


def _name_of(wanted: Wanted, env: dict[str, str]) -> str:
    facts = [wanted.key, wanted.python, wanted.modules, sorted(env.items()), _PROGRAM, inherited.circumstances()]
    return f"standby@{wanted.owner}@{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"


# --- how it comes to be


def _start(wanted: Wanted, env: dict[str, str], name: str, mark: str) -> None:
    """Starts it; it can be connected to at once, and answers when it has imported. Nothing where another relay does."""
    home = registry.make(name, mark)
    if home is None:
        return
    listener = home.listen(SOCKET)
    child = os.fork()
    if child == 0:
        _become(wanted, env, home, listener, name)
    os.waitpid(child, 0)
    listener.close()
    home.close()


def _become(wanted: Wanted, env: dict[str, str], home: Folder, listener: socket.socket, name: str) -> None:
    """In a fork: another one, which is nobody's child, becomes the interpreter."""
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        for fd in (*home.fds, listener.fileno()):
            os.set_inheritable(fd, True)
        facts = {"owner": wanted.owner, "key": wanted.key, "modules": wanted.modules, "listener": listener.fileno()}
        facts |= {"place": home.fds[0], "name": home.path.rpartition("/")[2], "fd": home.fds[1], "path": home.path}
        python = environment.at_home(wanted.python[0], os.environ)
        os.chdir("/")
        argv = [python, *wanted.python[1:], _PROGRAM, name]
        os.execvpe(python, argv, {**env, VARIABLE: json.dumps(facts)})
    except OSError:
        home.remove()
    finally:
        os._exit(1)
