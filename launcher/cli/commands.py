"""What the commands do, once the options are known. Each gives an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli import client
from launcher.cli.looking import find, parsed, task_of, tidy_up
from launcher.cli.slurm import allocation, there
from launcher.record import reading, report, runs
from launcher.record.reachable import stopped
from launcher.record.states import StopHow
from launcher.record.view import RunView
from launcher.supervise import control
from launcher.views.console import RunConsole, form_for, open_console
from launcher.views.summary import summary_lines
from launcher.views.terminal import complain, put, say
from launcher.wire.errors import EXIT_HOST, UsageError
from launcher.wire.protocol import LOG_LEVEL_VARIABLE

if TYPE_CHECKING:
    from launcher.cli.resolve import Request
    from launcher.plan.model import Plan


_BOARD_PATIENCE_S = 60.0

# --- starting ----------------------------------------------------------------------------------------------------


def launch(
    request: Request, runs_dir: Path, *, detach: bool, owned: str | None, as_json: bool, plain: bool, metric: str
) -> int:
    """Plans, starts and, unless detached, shows a run to its end. ``owned``: see ``client.start``."""
    from launcher.cli.resolve import resolve
    from launcher.deploy.command import deploy_plan
    from launcher.plan.plan import with_run_dir

    resolved = resolve(request)
    _check_hosts(resolved.plan)
    allocation.check(resolved.plan, request.environ)
    tidy_up(kill=True)
    for note in resolved.plan.notes:
        complain(note)
    if resolved.sample_data:
        _make_sample_data(resolved.sample_data)
    plan = deploy_plan(resolved.plan, resolved.spec, request.spec, plain=plain or as_json)
    folder = run_folder(request, runs_dir, plan.name)
    client.start(folder, with_run_dir(plan, str(folder.path)), request.environ, owner=owned)
    if detach:
        how = f"tflaunch: {folder.run} runs; see it with: tflaunch attach {folder.run}"
        say(json.dumps(str(folder.path)) if owned else folder.run if as_json else how)
        if plan.tensorboard and not owned and not as_json:
            say(_board_of(folder))
        return 0
    debug = resolved.plan.tasks[0].env.get(LOG_LEVEL_VARIABLE) == "debug"
    return show_run(folder, own=True, as_json=as_json, plain=plain, all_lines=debug, metric=metric)


def deploy(request: Request, *, plain: bool, remains: str = "") -> int:
    """Puts onto the hosts what a run of the spec needs there."""
    from launcher.cli.resolve import resolve
    from launcher.deploy.command import deploy_only

    resolved = resolve(request, is_program_needed=not remains)
    return deploy_only(resolved.plan, resolved.spec, request.spec, plain=plain, remains=remains)


def _check_hosts(plan: Plan) -> None:
    here = [host.name for host in plan.hosts if host.transport == "local"]
    if len(here) > 1:
        raise UsageError(f"{len(here)} hosts without ssh ({', '.join(here[:5])}): only one of them can be this machine")


def run_folder(request: Request, runs_dir: Path, name: str) -> runs.RunFolder:
    wanted = request.value("run_dir")
    try:
        if wanted is None:
            return runs.RunFolder.create(runs_dir, name, datetime.now(timezone.utc))
        return runs.RunFolder.create_at(Path(str(wanted)))
    except OSError as error:
        where = f"--run-dir {str(wanted)!r}" if wanted is not None else f"cannot make {runs_dir.absolute()}"
        raise UsageError(f"{where}: {error.strerror or error}; name another folder by --run-dir") from error


def _make_sample_data(command: tuple[str, ...]) -> None:
    """Makes the sample job's data, once; its progress bar is shown."""
    made = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    if made.returncode:
        raise UsageError(f"the sample data could not be made (exit code {made.returncode}): {' '.join(command)}")


def show_run(
    folder: runs.RunFolder, *, own: bool, as_json: bool, plain: bool, all_lines: bool = False, metric: str = ""
) -> int:
    form = form_for(sys.stdout, "json" if as_json else "plain" if plain else "live", os.environ)
    held = folder.held()  # it may be moved meanwhile
    reader = reading.RunReader(held, from_start=form != "live")
    console = open_console(
        reader.view, held, sys.stdout, form=form, environ=os.environ, all_lines=all_lines, metric=metric
    )
    return show(folder, reader, console, own=own, as_json=as_json)


def show(folder: runs.RunFolder, reader: reading.RunReader, console: RunConsole, *, own: bool, as_json: bool) -> int:
    """Shows a run to its end. ``own``: it is ended when this process is."""
    view = reader.view
    view.only_watched = not own
    try:
        exit_code = client.watch(folder, reader, console, own=own)
    except client.LeftError:
        complain(f"{folder.run} goes on; see it with: tflaunch attach {folder.run}; end it with: tflaunch stop")
        return 0
    if not view.ended and (away := runs.elsewhere(folder)):
        complain(f"{folder.run} is live on {away}, seen from here only by its files; attach to it there")
        return 0
    if not view.ended and exit_code is not None:
        complain(f"{folder.path} is gone or full; the run has ended with exit code {exit_code}")
    elif not as_json:
        client.show(lambda: _sum_up(view, folder))
    return 1 if exit_code is None else exit_code


def _board_of(folder: runs.RunFolder) -> str:
    """Waits a while for a run's TensorBoard; says where it answers."""
    deadline = time.monotonic() + _BOARD_PATIENCE_S
    while runs.is_live(folder) and time.monotonic() < deadline:
        if url := report.board_of(reading.load_view(folder), live=True):
            return f"tflaunch: TensorBoard answers at {url}"
        time.sleep(0.1)
    return f"tflaunch: TensorBoard does not answer yet; tflaunch status {folder.run} shows its address once it does"


def _sum_up(view: RunView, folder: runs.RunFolder) -> None:
    put(summary_lines(view, folder), sys.stdout, color=sys.stdout.isatty() and "NO_COLOR" not in os.environ)


# --- looking -----------------------------------------------------------------------------------------------------


def logs(runs_dir: Path, run: str | None, task: str | None, *, follow: bool) -> int:
    """Prints what the tasks of a run wrote."""
    from launcher.views.logs import print_logs

    if run is not None and task is None and _looks_like_task(run):
        run, task = None, run
    folder = find(runs_dir, run)
    while follow and reading.load_view(folder).started is None and client.pause_while_live(folder):
        pass  # a job that waits has no tasks yet
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    only = task_of(folder, task) if task else None
    said = _say_stopped(folder, "")

    def wait() -> bool:
        nonlocal said
        said = _say_stopped(folder, said)
        return client.pause_while_live(folder)

    print_logs(folder, only, out=sys.stdout, color=color, wait=wait if follow else None)
    return 0


def _say_stopped(folder: runs.RunFolder, said: str) -> str:
    """Says why nothing new comes of a live run, unless that was ``said``; gives what is the matter now."""
    why = stopped(folder)
    if why and why != said:
        complain(f"{folder.run}: {why}")
    return why


def attach(runs_dir: Path, run: str | None, *, as_json: bool, plain: bool, metric: str) -> int:
    """Shows a run as it goes on; a run that has ended is told from its events."""
    return show_run(find(runs_dir, run), own=False, as_json=as_json, plain=plain, metric=metric)


# --- steering ----------------------------------------------------------------------------------------------------


def stop(runs_dir: Path, run: str | None, *, now: bool) -> int:
    """Ends a run and waits until it has ended."""
    folder = find(runs_dir, run)
    if (said := there.stop_waiting(folder)) is not None:
        say(said)
        return 0
    if not runs.is_live(folder) and not runs.elsewhere(folder):
        return _end_abandoned(folder, now=now)
    error = client.ask(folder, control.AskStop(how=(StopHow.KILL if now else StopHow.STOP).value, by="tflaunch stop"))
    if error:
        raise UsageError(error)
    said = ""
    while there.goes_on(folder):
        said = _say_stopped(folder, said)
        time.sleep(0.05)
    _sum_up(reading.load_view(folder), folder)
    return 0


def _end_abandoned(folder: runs.RunFolder, *, now: bool) -> int:
    """Ends what a run without a supervisor has left alive, or says what lives on and for how long."""
    view, record = reading.load_view(folder), runs.read_supervisor(folder)
    if view.ended or view.started is None or record is None or not runs.is_of_here(record):
        complain(f"{folder.run} has ended already")
        return 0
    troubles = end_what_is_left(folder, view, now=now)
    for host, trouble in troubles.items():
        complain(f"host {host}: {trouble}")
    if not troubles:
        complain(f"the supervisor of {folder.run} was gone; nothing of it runs any more")
    _sum_up(view, folder)
    return EXIT_HOST if troubles else 0


def end_what_is_left(folder: runs.RunFolder, view: RunView, *, now: bool) -> dict[str, str]:
    """Ends what the last part of a run, without a supervisor, has left alive; gives for each host where that cannot be
    done why, and for how long it lasts. Blocks."""
    from launcher.hosts.known import agents_of
    from launcher.plan.plan import plan_from_json
    from launcher.plan.plan_json import PlanFormatError
    from launcher.supervise import abandoned

    if view.started is None:
        return {}
    try:
        planned = plan_from_json(json.loads(folder.plan.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, RecursionError, PlanFormatError) as error:
        words = f"{folder.plan} is damaged ({error}), so that nobody knows what the run may have left alive"
        raise UsageError(f"{words}; it ends by itself when its lease and grace time are over") from error
    plan = _as_granted(planned, view)
    run_id = view.started.run_id
    troubles = abandoned.end(plan, run_id, agents_of(run_id, plan, os.environ, met=True), now=now)
    tidy_up(kill=True)
    bound_s = plan.policy.lease_s + 2 * plan.policy.grace_s
    lasts = f"what runs there ends by itself within {bound_s:g} s of its supervisor's death"
    return {host: f"{trouble}; {lasts}" for host, trouble in troubles.items()}


def _as_granted(plan: Plan, view: RunView) -> Plan:
    """The plan, with what was known of its hosts in the end."""
    from launcher.plan.plan_json import host_from_json

    granted = {name: host_from_json(host.facts) for name, host in view.hosts.items() if "address" in host.facts}
    return replace(plan, hosts=tuple({**{host.name: host for host in plan.hosts}, **granted}.values()))


def restart(runs_dir: Path, run: str | None, task: str) -> int:
    """Restarts one task of a live run."""
    folder = find(runs_dir, run)
    name = task_of(folder, task).name
    if error := client.ask(folder, control.AskRestart(task=name)):
        raise UsageError(error)
    say(f"{folder.run}: {name} is restarted in place")
    return 0


def _looks_like_task(text: str) -> bool:
    """Also where it is misspelt: no run's name has a colon."""
    return parsed(text) is not None or (":" in text and not Path(text).exists())
