"""Joins standard input and output to the agent's socket, after starting a keeper if there is none.

Every transport runs this program at the far end of its pipe. It knows nothing of what passes, and its death costs
nothing: the pipe is opened again and finds the same agent. Minimal imports, since it is on the way of every start.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time

from launcher.agent.options import Options

READY_MARKER = b"tflaunch-agent-ready\n"  # launcher.protocol has it, too, and costs more to import than all of this
RUN_VARIABLE = "TFLAUNCH_RUN"
EXIT_GONE = 69  # there is no agent, and none may be started
EXIT_LEFT = 70  # the agent has gone, and the run's folder has not: something may be left on this host
EXIT_BUSY = 75  # of a keeper that found another one, which may be starting or ending
_CONNECT_LIMIT_S = 60.0
_CHUNK_BYTES = 65536


def main(argument: str) -> int:
    """Runs the relay until either side closes; returns the exit code, 0 if the run has ended here. Blocks."""
    options = Options.from_json(argument)
    agent = connect(options)
    if agent is None:
        what = "no agent could be started" if options.start else "the keeper has died, and its agent with it"
        sys.stderr.write(f"{what} (in {options.folder})\n")
        return 1 if options.start else EXIT_GONE
    os.write(1, READY_MARKER)
    pump(agent)
    return EXIT_LEFT if os.path.exists(options.folder) else 0  # noqa: PTH110 - pathlib costs too much here


def connect(options: Options) -> socket.socket | None:
    """A connection to the run's agent, which is started if need be; None if that failed. Blocks."""
    deadline = time.monotonic() + _CONNECT_LIMIT_S
    while time.monotonic() < deadline:
        agent = _try_connect(f"{options.folder}/agent.sock")
        if agent is not None:
            return agent
        if not options.start:
            return None
        code = start_keeper(options)
        if code not in (0, EXIT_BUSY):
            return None
        if code == EXIT_BUSY:
            time.sleep(0.01)
    return None


def _try_connect(path: str) -> socket.socket | None:
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        agent.connect(path)
    except OSError:  # the keeper that is started then says what is wrong, if it is more than that nobody is there
        agent.close()
        return None
    return agent


def start_keeper(options: Options) -> int:
    """Starts a keeper and waits until it listens; returns the exit code of the process that started it."""
    main_file = f"{__file__.rpartition('/')[0]}/__main__.py"
    argv = [sys.executable, "-I", "-S", main_file, "keeper", options.to_json()]
    environment = {**os.environ, RUN_VARIABLE: options.run}
    quiet = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, 2, 1)]
    pid = os.posix_spawn(sys.executable, argv, environment, file_actions=quiet)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def pump(agent: socket.socket) -> None:
    """Passes bytes both ways until either side closes. Both ends always read, so writing may block."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    poller = select.poll()
    poller.register(0, select.POLLIN)
    poller.register(agent, select.POLLIN)
    try:
        while True:
            for fd, _ in poller.poll():
                data = os.read(fd, _CHUNK_BYTES)
                if not data:
                    return
                _write(1 if fd == agent.fileno() else agent.fileno(), data)
    except (BrokenPipeError, ConnectionResetError):
        return


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
