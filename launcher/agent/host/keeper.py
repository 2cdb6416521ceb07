"""The process above the agent. It does almost nothing, and therefore does not die.

It owns the sockets' names, holds ports and locks while an agent is replaced, starts the agent again, and takes down
whatever is left when the run is over. As subreaper it inherits every orphan of the run, so that a process which has
left its group and its session is found all the same.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys

from launcher.agent.host import sweep
from launcher.agent.host.options import EXIT_BUSY, Inheritance, Options
from launcher.agent.system import linux, processes, title
from launcher.wire.private import registry
from launcher.wire.private.folder import AGENT_LOG, AGENT_SOCKET, TASK_SOCKET, Folder
from launcher.wire.variables import RUN_VARIABLE
from launcher.wire.words import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from launcher.agent.tasks.standing import Standing

_MAX_AGENTS = 10  # an agent that dies that often has a fault that one more will not cure
_MAX_MESSAGE_BYTES = 65536
_REFUSAL_S = 2.0

Held = dict[str, tuple[int, ...]]
Listeners = tuple[socket.socket, socket.socket]


def become(options: Options) -> NoReturn:
    """In a fresh fork of the relay: goes on as ``main``, under a name of its own."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # whatever the program that started it has left open
        if not title.set_environment(RUN_VARIABLE, options.run):
            _start_over(options)
        code = start(options)
    except Exception as error:  # noqa: BLE001 - the top of a process, which must not go on as the relay it was
        _complain(error)
    os._exit(code)


def _start_over(options: Options) -> NoReturn:
    """As another interpreter, where the kernel does not let this one show that it belongs to the run."""
    main_file = f"{__file__.rpartition('/host/')[0]}/__main__.py"
    argv = [sys.executable, "-I", "-S", main_file, "keeper", options.to_json()]
    os.execve(sys.executable, argv, {**os.environ, RUN_VARIABLE: options.run})


def main(argument: str) -> int:
    """Listens, then goes to the background: when the first process ends with 0, the agent can be connected to."""
    return start(Options.from_json(argument))


def start(options: Options, standing: Standing | None = None) -> int:
    """Forks the keeper; the exit code of that, 0 when it listens. ``standing``: what this process was forked from, if
    that can fork tasks."""
    try:
        home = registry.make(options.name, options.run)
    except registry.FolderError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if home is None:
        return EXIT_BUSY
    listeners = (home.listen(AGENT_SOCKET), home.listen(TASK_SOCKET))
    if os.fork():
        return 0
    _leave_terminal(home)
    _stand_below_a_guard(home, listeners)
    title.set_title(f"tflaunch keeper {home.path}", "tflaunch-keeper")
    keep(options, home, listeners, standing)


def _leave_terminal(home: Folder) -> None:
    os.setsid()
    log = os.open(f"{home.here}/{AGENT_LOG}", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    null = os.open(os.devnull, os.O_RDWR)
    for source, target in ((null, 0), (null, 1), (log, 2)):
        os.dup2(source, target)
    os.chdir("/")
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)


def _stand_below_a_guard(home: Folder, listeners: Listeners) -> None:
    """Forks, and returns in the child. The parent only waits: when keeper and agent are killed in one instant, their
    orphans become its own, and it takes them down. It tidies up after former runs, too, for it has the time."""
    linux.become_subreaper()
    try:
        keeper = os.fork()
    except OSError as error:
        _refuse(listeners[0], limits.told(error))
        home.remove()
        os._exit(1)
    if keeper == 0:
        return
    for listener in listeners:
        listener.close()
    title.set_title(f"tflaunch guard {home.path}", "tflaunch-guard")
    with contextlib.suppress(registry.FolderError, OSError):
        sweep.tidy(kill=True)
    os.waitpid(keeper, 0)
    processes.kill_descendants()
    home.remove()
    os._exit(0)


def keep(options: Options, home: Folder, listeners: Listeners, standing: Standing | None) -> NoReturn:
    """Runs agents until one says that the run is over, then takes down what is left. Blocks; ends the process."""
    # Imported here, so that the relay can connect meanwhile; before the fork, so that every agent shares the pages.
    from launcher.agent.host import agent  # noqa: F401

    linux.become_subreaper()
    open_files = linux.raise_open_files()
    gc.freeze()
    gc.enable()
    held: Held = {}
    try:
        for number in range(_MAX_AGENTS):
            if run_agent(options, home, listeners, held, (number, open_files, standing)):
                break
    except Exception as error:  # noqa: BLE001 - the top of a process: nothing may keep it from taking down what is left
        _complain(error)
        _refuse(listeners[0], limits.told(error))
    processes.kill_descendants()
    home.remove()
    os._exit(0)


def _complain(error: Exception) -> None:
    words = limits.told(error)
    if limits.advice(words):
        sys.stderr.write(f"{words}\n")
    else:
        sys.excepthook(type(error), error, error.__traceback__)


def _refuse(listener: socket.socket, message: str) -> None:
    """Tells whoever waits for an agent that none comes up, and why."""
    from launcher.wire import protocol

    listener.settimeout(_REFUSAL_S)
    with contextlib.suppress(OSError):
        line, _ = listener.accept()
        with line:
            line.settimeout(_REFUSAL_S)
            line.sendall(protocol.encode(protocol.Refused(command="hello", message=message)))
            line.shutdown(socket.SHUT_WR)
            while line.recv(_MAX_MESSAGE_BYTES):  # closed before it is read, it would reset the line, and be lost
                pass


def run_agent(
    options: Options, home: Folder, listeners: Listeners, held: Held, facts: tuple[int, int, Standing | None]
) -> bool:
    """Forks an agent, serves it until it ends, and kills all that it leaves; True if the run is over. Blocks."""
    from launcher.agent.host import agent

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper = os.getpid()
    if os.fork() == 0:
        ours.close()
        number, open_files, standing = facts
        agent.main(options, Inheritance(home, *listeners, theirs, held, keeper, number, open_files, standing))
    theirs.close()
    with ours:
        done = watch(ours, held)
    processes.kill_descendants()
    return done


def watch(agent: socket.socket, held: Held) -> bool:
    """Does what the agent asks for until it ends; True if it said that the run is over. Blocks."""
    done = False
    poller = select.poll()
    poller.register(agent, select.POLLIN)
    while True:
        poller.poll(1000)
        processes.reap_all()
        try:
            data, fds, _, _ = socket.recv_fds(agent, _MAX_MESSAGE_BYTES, 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            continue
        except ConnectionResetError:
            return done  # it died with our answer unread
        if not data:
            return done
        done = _obey(json.loads(data), tuple(fds), held, agent) or done


def _obey(message: dict[str, str], fds: tuple[int, ...], held: Held, agent: socket.socket) -> bool:
    if message["do"] == "hold":
        held[message["name"]] = fds
    elif message["do"] == "drop":
        for fd in held.pop(message["name"], ()):
            os.close(fd)
    elif message["do"] == "done":
        for name in list(held):
            _obey({"do": "drop", "name": name}, (), held, agent)
        agent.send(b"released")
        return True
    return False
