"""The command line's side of a run: starts its supervisor, watches it, passes signals on.

What it shows comes from the run folder, so that a second terminal sees the same; what it asks goes over the run's
socket.
"""

from __future__ import annotations

import contextlib
import errno
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
from launcher.cli.keys.keyboard import Keyboard
from launcher.cli.slurm import there
from launcher.plan import plan as plans
from launcher.plan.binding import standby_of
from launcher.plan.model import Plan
from launcher.record import runs
from launcher.record.files.claim import claim
from launcher.record.reachable import unreachable
from launcher.record.reading import RunReader
from launcher.supervise import control, pulse
from launcher.views.console import LiveConsole, RunConsole
from launcher.views.terminal import complain
from launcher.wire import adjustments, standby
from launcher.wire.errors import TflaunchError, UsageError
from launcher.wire.private import peers, registry
from launcher.wire.private.folder import Folder
from launcher.wire.protocol import Message
from launcher.wire.words import limits

INHERITS = "inherits"  # in plan.json: the names of the variables that tasks here get from whoever starts the run
_POLL_S = 0.05
_LIVELY_S = 0.5  # since the last event or sample
_START_POLL_S = 0.005
_LAST_WORDS_BYTES = 4096  # what a pipe takes at once


def start(folder: runs.RunFolder, plan: Plan, environ: Mapping[str, str], *, owner: str | None = None) -> None:
    """Starts the run's supervisor as a process of its own, and waits until it answers. ``owner``: names the process
    with which the run ends, when nobody holds the other end of standard input, a pipe, any more, and which keeps a
    preloaded interpreter for its next runs.

    It is forked from this process, which has imported what it needs; it owes nothing to this terminal. Raises
    TflaunchError with its last words if it does not come up, FolderError if there is no private folder for it.
    """
    inherits = [name for name in environ if any(host.traits.inherits_env for host in plan.hosts)]
    body = {**plans.plan_to_json(plan), INHERITS: sorted(inherits)}
    runs.write_private(folder.plan, json.dumps(body, indent=1) + "\n")
    start_again(folder, plan, environ, owner=owner)


def start_again(folder: runs.RunFolder, plan: Plan, environ: Mapping[str, str], *, owner: str | None = None) -> None:
    """As ``start``, in a folder that has its plan. Raises UsageError if another process has taken the folder."""
    claimed = claim(folder.path)
    if claimed is None:
        raise UsageError(f"{folder.run} is being started or removed by another process")
    folder.supervisor.unlink(missing_ok=True)
    run_id = f"{folder.run}.{secrets.token_hex(4)}"  # folders of one name may run at one time
    home = registry.make(run_id, run_id)
    assert home is not None, "nobody else has this name"
    if adjustments.PORT_GUARD in plan.adjustments:
        build.ensure()
    here = [host.name for host in plan.hosts if host.transport == "local"]
    if owner and here and (wanted := standby_of(plan, here[0], owner)):
        environ = {**environ, standby.VARIABLE: wanted.to_json()}
    gc.freeze()
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        # It holds the pipe's other end, and lives in its private folder, as long as it lives.
        _become_supervisor(folder, plan, environ, run_id, home, theirs, owner is not None)
    os.close(theirs)
    os.waitpid(child, 0)
    try:
        _wait_for_supervisor(folder, ours)
    except TflaunchError:
        home.remove()
        raise
    finally:
        os.close(ours)
        os.close(claimed)  # the supervisor has it
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
    folder: runs.RunFolder,
    plan: Plan,
    environ: Mapping[str, str],
    run_id: str,
    home: Folder,
    life: int,
    owned: bool,
) -> None:
    """In the forked process: leaves the terminal and the session, then supervises; what keeps it from that goes into
    ``life``, too. Never returns."""
    code = 1
    try:
        owner = os.dup(0) if owned else None
        null = os.open(os.devnull, os.O_RDONLY)
        log = os.open(_supervisor_log(folder), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.setsid()
        if os.fork():
            os._exit(0)
        from launcher.supervise.supervisor import supervise

        code = supervise(folder, plan, environ, run_id=run_id, home=home, owner=owner)
    except BaseException as error:  # noqa: BLE001 - the top of a process: everything must reach the log
        words = limits.told(error) or type(error).__name__
        os.write(life, words.encode(errors="replace")[:_LAST_WORDS_BYTES])
        if not limits.advice(words):
            sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stderr.flush()
        os._exit(code)


class LeftError(Exception):
    """Whoever looked at the run has left; it goes on."""


def watch(folder: runs.RunFolder, reader: RunReader, console: RunConsole, *, own: bool) -> int | None:
    """Shows the run until it has ended; gives its exit code, or None if its supervisor died without a word. Raises
    LeftError if somebody leaves it by a key.

    ``own``: the run ends with this process; SIGINT, SIGTERM and SIGHUP are passed on to it. Otherwise SIGINT ends the
    watching alone (KeyboardInterrupt).
    """
    line = None if runs.elsewhere(folder) else pulse.connect(folder)
    keyboard = Keyboard(reader.view, console, partial(ask, folder))
    try:
        if own and line is not None:
            line.post(control.Own())  # an engine that is asked first may keep its supervisor from answering
            _pass_signals_on(line)
        console.start()
        keyboard.start()
        alive = line.is_open if line is not None else partial(there.goes_on, folder)
        health = Health(folder, pulse.Pulse(folder, line, own=own), console)
        code = _follow(reader, console, keyboard, health, alive)
        return code if code is not None or line is None else line.exit_code
    except LeftError:
        if line is not None:
            line.post(control.Disown())
        raise
    finally:
        keyboard.stop()
        show(partial(console.stop, time.time()))
        if line is not None:
            line.close()


class Health:
    """Says it when the supervisor of a run that is watched does not answer, and when it does again."""

    def __init__(self, folder: runs.RunFolder, of: pulse.Pulse, console: RunConsole) -> None:
        self._run = folder.run
        self._pulse = of
        self._console = console
        self._is_silent = False

    def look(self, *, has_news: bool) -> None:
        trouble = self._pulse.look(has_news=has_news)
        if isinstance(self._console, LiveConsole):
            self._console.trouble = trouble
        elif bool(trouble) != self._is_silent:
            complain(f"{self._run}: {trouble or 'its supervisor answers again'}")
        self._is_silent = bool(trouble)


def ask(folder: runs.RunFolder, message: Message) -> str:
    """Sends one request to the run's supervisor: an error text, empty if it was taken. Raises HostError if it is alive
    and does not answer."""
    if away := runs.elsewhere(folder):
        if (said := there.ask(folder, message)) is not None:
            return said
        return f"{folder.run} is live on {away}, seen from here only by its files; ask for it there"
    owner = folder.path.stat().st_uid
    if owner not in (os.getuid(), os.geteuid()) and runs.is_live(folder):
        return f"{folder.run} is a run of {peers.user(owner)}; ask for it as that user"
    error = pulse.ask(folder, message)
    return unreachable(folder) or "the run has ended" if error is None else error


def pause_while_live(folder: runs.RunFolder) -> bool:
    """Waits a moment; whether the run goes on, so that there may be more to read."""
    time.sleep(_POLL_S)
    return there.goes_on(folder)


def _pass_signals_on(line: control.Control) -> None:
    def pass_on(number: int, frame: FrameType | None) -> None:
        line.post(control.AskStop(how=control.SIGNALS[signal.Signals(number)].value, by=signal.Signals(number).name))

    for number in control.SIGNALS:
        signal.signal(number, pass_on)


def show(draw: Callable[[], None]) -> None:
    """Draws. Nobody may be reading any more (``| head``), or the output's disk be full; a run is not ended by that."""
    try:
        draw()
    except BrokenPipeError:
        _show_no_more()
        complain("nobody reads the output any more; the run goes on")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _show_no_more()
        with contextlib.suppress(OSError):  # it may go to the same disk
            complain(f"the output cannot be written ({error.strerror}) and is not any more; the run goes on")


def _show_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _follow(
    reader: RunReader, console: RunConsole, keyboard: Keyboard, health: Health, alive: Callable[[], bool]
) -> int | None:
    heard_at = time.monotonic()
    while True:
        last_round, now = not alive(), time.monotonic()
        for news in reader.read(often=not last_round):
            heard_at = now
            show(partial(console.show, news))
        if not last_round:
            health.look(has_news=heard_at == now)
        if keyboard.poll():
            raise LeftError
        show(partial(console.tick, time.time()))
        if last_round:
            return reader.view.ended.exit_code if reader.view.ended else None
        time.sleep(_POLL_S if now - heard_at < _LIVELY_S else 2 * _POLL_S)
