"""The command line's side of a run: starts its supervisor, watches it, passes signals on.

What it shows comes from the run folder, so that a second terminal sees the same; what it asks goes over the run's
socket.
"""

from __future__ import annotations

import gc
import json
import os
import secrets
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType

from launcher.agent.inside.guard import build
from launcher.plan import plan as plans
from launcher.plan.model import Plan
from launcher.private import folders, peers
from launcher.private.folder import Folder
from launcher.record import runs
from launcher.record.event_log import EventReader
from launcher.record.events import RunEnded
from launcher.record.view import RunView
from launcher.supervise import control
from launcher.views.console import RunConsole
from launcher.views.terminal import complain
from launcher.wire import adjustments
from launcher.wire.errors import TflaunchError
from launcher.wire.protocol import Message
from launcher.wire.words import limits

_POLL_S = 0.05
_START_POLL_S = 0.005
_LAST_WORDS_BYTES = 4096  # what a pipe takes at once


def start(folder: runs.RunFolder, plan: Plan, environ: Mapping[str, str]) -> None:
    """Starts the run's supervisor as a process of its own, and waits until it answers.

    It is forked from this process, which has imported what it needs; it owes nothing to this terminal. Raises
    TflaunchError with its last words if it does not come up, FolderError if there is no private folder for it.
    """
    run_id = f"{folder.run}.{secrets.token_hex(4)}"  # folders of one name may run at one time
    home = folders.make(run_id, run_id)
    assert home is not None, "nobody else has this name"
    runs.write_private(folder.plan, json.dumps(plans.plan_to_json(plan), indent=1) + "\n")
    if adjustments.PORT_GUARD in plan.adjustments:
        build.ensure()
    gc.freeze()
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        # It holds the pipe's other end, and lives in its private folder, as long as it lives.
        _become_supervisor(folder, plan, environ, run_id, home, theirs)
    os.close(theirs)
    os.waitpid(child, 0)
    try:
        _wait_for_supervisor(folder, ours)
    except TflaunchError:
        home.remove()
        raise
    finally:
        os.close(ours)
        home.close()


def _wait_for_supervisor(folder: runs.RunFolder, its_life: int) -> None:
    """However long it takes, on a machine that has much to do."""
    while not folder.supervisor.exists():
        died, _, _ = select.select([its_life], [], [], _START_POLL_S)
        if died and not folder.supervisor.exists():
            last = os.read(its_life, _LAST_WORDS_BYTES).decode(errors="replace") or "it said nothing"
            what_to_do = limits.advice(last) or f"see {_supervisor_log(folder)}"
            raise TflaunchError(f"the run's supervisor did not come up: {last}; {what_to_do}")


def _supervisor_log(folder: runs.RunFolder) -> Path:
    return folder.path / "supervisor.log"


def _become_supervisor(
    folder: runs.RunFolder, plan: Plan, environ: Mapping[str, str], run_id: str, home: Folder, life: int
) -> None:
    """In the forked process: leaves the terminal and the session, then supervises; what keeps it from that goes into
    ``life``, too. Never returns."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        log = os.open(_supervisor_log(folder), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.setsid()
        if os.fork():
            os._exit(0)
        from launcher.supervise.supervisor import supervise

        code = supervise(folder, plan, environ, run_id=run_id, home=home)
    except BaseException as error:  # noqa: BLE001 - the top of a process: everything must reach the log
        words = limits.told(error) or type(error).__name__
        os.write(life, words.encode(errors="replace")[:_LAST_WORDS_BYTES])
        if not limits.advice(words):
            sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stderr.flush()
        os._exit(code)


def watch(folder: runs.RunFolder, view: RunView, console: RunConsole, *, own: bool) -> int | None:
    """Shows the run until it has ended; gives its exit code, or None if its supervisor died without a word.

    ``own``: the run ends with this process; SIGINT, SIGTERM and SIGHUP are passed on to it. Otherwise SIGINT ends the
    watching alone (KeyboardInterrupt).
    """
    line = _connect(folder)
    try:
        if own and line is not None:
            line.ask(control.Own())
            _pass_signals_on(line)
        console.start()
        alive = line.is_open if line is not None else partial(runs.is_live, folder)
        return _follow(folder, view, console, alive)
    finally:
        _show(partial(console.stop, time.time()))
        if line is not None:
            line.close()


def _connect(folder: runs.RunFolder) -> control.Control | None:
    record = runs.read_supervisor(folder)
    if record is None or runs.elsewhere(folder):
        return None
    try:
        return control.Control(record.socket)
    except OSError:
        return None


def ask(folder: runs.RunFolder, message: Message) -> str:
    """Sends one request to the run's supervisor: an error text, empty if it was taken."""
    if away := runs.elsewhere(folder):
        return f"{folder.run} is live on {away}, seen from here only by its files; ask for it there"
    line = _connect(folder)
    if line is None:
        owner = folder.path.stat().st_uid
        if owner != os.getuid() and runs.is_live(folder):
            return f"{folder.run} is a run of {peers.user(owner)}; ask for it as that user"
        return runs.unreachable(folder) or "the run has ended"
    try:
        return line.ask(message)
    finally:
        line.close()


def pause_while_live(folder: runs.RunFolder) -> bool:
    """Waits a moment; whether the run goes on, so that there may be more to read."""
    time.sleep(_POLL_S)
    return runs.is_live(folder)


def _pass_signals_on(line: control.Control) -> None:
    def pass_on(number: int, frame: FrameType | None) -> None:
        line.post(control.AskStop(how=control.SIGNALS[signal.Signals(number)].value, by=signal.Signals(number).name))

    for number in control.SIGNALS:
        signal.signal(number, pass_on)


def _show(draw: Callable[[], None]) -> None:
    """Draws. Nobody may be reading any more (``| head``); a run is not ended by that."""
    try:
        draw()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        complain("nobody reads the output any more; the run goes on")


def _follow(folder: runs.RunFolder, view: RunView, console: RunConsole, alive: Callable[[], bool]) -> int | None:
    reader = EventReader(folder.events)
    exit_code: int | None = None
    while True:
        last_round = not alive()
        for recorded in reader.read():
            view.apply(recorded)
            _show(partial(console.show, recorded))
            if isinstance(recorded.event, RunEnded):
                exit_code = recorded.event.exit_code
        _show(partial(console.tick, time.time()))
        if last_round:
            return exit_code
        time.sleep(_POLL_S)
