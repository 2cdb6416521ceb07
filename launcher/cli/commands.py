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

from launcher.agent.host.sweep import tidy
from launcher.cli import client
from launcher.private.folders import FolderError
from launcher.record import report, runs
from launcher.record.states import Outcome, StopHow
from launcher.record.view import RunView
from launcher.supervise import control
from launcher.views.console import open_console
from launcher.views.spans import duration
from launcher.views.summary import summary_lines
from launcher.views.terminal import complain, put, say, say_json
from launcher.wire.errors import EXIT_HOST, HostError, UsageError
from launcher.wire.protocol import LOG_LEVEL_VARIABLE, JsonValue
from launcher.wire.roles import TaskId

if TYPE_CHECKING:
    from launcher.cli.resolve import Request
    from launcher.plan.model import Plan


_CAUSE_CHARS = 200


# --- starting ----------------------------------------------------------------------------------------------------


def launch(request: Request, runs_dir: Path, *, detach: bool, as_json: bool, plain: bool) -> int:
    """Plans, starts and, unless detached, shows a run to its end."""
    from launcher.cli.resolve import resolve
    from launcher.deploy.command import deploy_plan
    from launcher.plan.plan import with_run_dir

    resolved = resolve(request)
    _check_hosts(resolved.plan)
    _tidy(kill=True)
    for note in resolved.plan.notes:
        complain(note)
    if resolved.sample_data:
        _make_sample_data(resolved.sample_data)
    plan = deploy_plan(resolved.plan, resolved.spec, request.spec, plain=plain or as_json)
    folder = _run_folder(request, runs_dir, plan.name)
    client.start(folder, with_run_dir(plan, str(folder.path)), request.environ)
    if detach:
        say(folder.run if as_json else f"tflaunch: {folder.run} runs; see it with: tflaunch attach {folder.run}")
        return 0
    debug = resolved.plan.tasks[0].env.get(LOG_LEVEL_VARIABLE) == "debug"
    return _show(folder, own=True, as_json=as_json, plain=plain, all_lines=debug)


def _tidy(*, kill: bool) -> None:
    """Takes away what dead runs have left here; processes of theirs with ``kill`` alone."""
    try:
        tidy(kill=kill)
    except FolderError as error:
        if kill:
            raise HostError("this machine", str(error)) from error


def deploy(request: Request, *, plain: bool) -> int:
    """Puts onto the hosts what a run of the spec needs there."""
    from launcher.cli.resolve import resolve
    from launcher.deploy.command import deploy_only

    resolved = resolve(request)
    return deploy_only(resolved.plan, resolved.spec, request.spec, plain=plain)


def _check_hosts(plan: Plan) -> None:
    here = [host.name for host in plan.hosts if host.transport == "local"]
    if len(here) > 1:
        raise UsageError(f"{len(here)} hosts without ssh ({', '.join(here[:5])}): only one of them can be this machine")


def _run_folder(request: Request, runs_dir: Path, name: str) -> runs.RunFolder:
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


def _show(folder: runs.RunFolder, *, own: bool, as_json: bool, plain: bool, all_lines: bool = False) -> int:
    view = RunView()
    view.only_watched = not own
    form = "json" if as_json else "plain" if plain else "live"
    console = open_console(view, folder, sys.stdout, form=form, environ=os.environ, all_lines=all_lines)
    exit_code = client.watch(folder, view, console, own=own)
    if not view.ended and (away := runs.elsewhere(folder)):
        complain(f"{folder.run} is live on {away}, seen from here only by its files; attach to it there")
        return 0
    if not as_json:
        _sum_up(view, folder)
    return 1 if exit_code is None else exit_code


def _sum_up(view: RunView, folder: runs.RunFolder) -> None:
    put(summary_lines(view, folder), sys.stdout, color=sys.stdout.isatty() and "NO_COLOR" not in os.environ)


# --- looking -----------------------------------------------------------------------------------------------------


def ls(runs_dir: Path, *, as_json: bool) -> int:
    """Lists the runs, newest first."""
    _tidy(kill=False)
    rows = [_status(folder) for folder in runs.list_runs(runs_dir)]
    if as_json:
        say_json(rows)
        return 0
    if not rows:
        say(f"no runs in {runs_dir.absolute()}", err=True)
    for row in rows:
        say(_row(row, max(len(str(row["run"])) for row in rows)))
    return 0


def _row(state: dict[str, JsonValue], width: int) -> str:
    """One run in a line: how and when it ended, how long it took, how far it came, and why it failed."""
    words = [f"{state['run']!s:{width}}  {state['outcome'] or 'live':11}"]
    words.append(f"{str(state['ended'] or '')[:19].replace('T', ' '):19}  {duration(_number(state['duration_s'])):>9}")
    words.append(f"step {_number(state['global_step']):,.0f}" if state["global_step"] is not None else "")
    if isinstance(cause := state["cause"], dict):
        words.append(str(cause["message"])[:_CAUSE_CHARS])
    words.append(str(state["note"] or ""))
    return "  ".join(words).rstrip()


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _status(folder: runs.RunFolder) -> dict[str, JsonValue]:
    """Where a run stands. To look ends nothing."""
    return report.status_of(folder)


def status(runs_dir: Path, run: str | None, *, as_json: bool) -> int:
    """Prints where a run stands."""
    _tidy(kill=False)
    folder = find(runs_dir, run)
    state = _status(folder)
    if as_json:
        say_json(state)
        return 0
    tasks = state["tasks"]
    assert isinstance(tasks, list)
    say(_row({**state, "cause": None}, 0))
    if isinstance(cause := state["cause"], dict):
        say(f"  cause  {cause['message']}")
        say(f"  to do  {cause['advice']}")
    for task in tasks:
        assert isinstance(task, dict)
        state_words = "lost with the launcher" if task["state"] == Outcome.LOST else str(task["state"])
        words = [f"{task['task']!s:14}", f"{state_words:11}", f"{task['host']!s:12}"]
        words += [f"{name} {task[name]}" for name in ("pid", "restarts", "global_step", "examples") if task[name]]
        say("  " + " ".join(words))
    return 0


def logs(runs_dir: Path, run: str | None, task: str | None, *, follow: bool) -> int:
    """Prints what the tasks of a run wrote."""
    from launcher.views.logs import print_logs

    if run is not None and task is None and _looks_like_task(run):
        run, task = None, run
    folder = find(runs_dir, run)
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    only = _task_of(folder, task) if task else None
    wait = (lambda: client.pause_while_live(folder)) if follow else None
    print_logs(folder, only, out=sys.stdout, color=color, wait=wait)
    return 0


def attach(runs_dir: Path, run: str | None, *, as_json: bool, plain: bool) -> int:
    """Shows a run as it goes on; a run that has ended is told from its events."""
    return _show(find(runs_dir, run), own=False, as_json=as_json, plain=plain)


# --- steering ----------------------------------------------------------------------------------------------------


def stop(runs_dir: Path, run: str | None, *, now: bool) -> int:
    """Ends a run and waits until it has ended."""
    folder = find(runs_dir, run)
    if not runs.is_live(folder) and not runs.elsewhere(folder):
        return _end_abandoned(folder, now=now)
    error = client.ask(folder, control.AskStop(how=(StopHow.KILL if now else StopHow.STOP).value, by="tflaunch stop"))
    if error:
        raise UsageError(error)
    while runs.is_live(folder):
        time.sleep(0.05)
    _sum_up(report.load_view(folder), folder)
    return 0


def _end_abandoned(folder: runs.RunFolder, *, now: bool) -> int:
    """Ends what a run without a supervisor has left alive, or says what lives on and for how long."""
    from launcher.hosts.reaches import agents_of
    from launcher.plan.plan import plan_from_json
    from launcher.supervise import abandoned

    view, record = report.load_view(folder), runs.read_supervisor(folder)
    if view.ended or view.started is None or record is None or not runs.is_of_here(record):
        complain(f"{folder.run} has ended already")
        return 0
    plan = _as_granted(plan_from_json(json.loads(folder.plan.read_text(encoding="utf-8"))), view)
    run_id = view.started.run_id
    troubles = abandoned.end(plan, run_id, agents_of(run_id, plan, os.environ, met=True), now=now)
    _tidy(kill=True)
    bound_s = plan.policy.lease_s + 2 * plan.policy.grace_s
    for host, trouble in troubles.items():
        lasts = f"what runs there ends by itself within {bound_s:g} s of its supervisor's death"
        complain(f"host {host}: {trouble}; {lasts}")
    if not troubles:
        complain(f"the supervisor of {folder.run} was gone; nothing of it runs any more")
    _sum_up(view, folder)
    return EXIT_HOST if troubles else 0


def _as_granted(plan: Plan, view: RunView) -> Plan:
    """The plan, with what was known of its hosts in the end."""
    from launcher.plan.plan_json import host_from_json

    granted = {name: host_from_json(host.facts) for name, host in view.hosts.items() if "address" in host.facts}
    return replace(plan, hosts=tuple(granted.get(host.name, host) for host in plan.hosts))


def restart(runs_dir: Path, run: str, task: str) -> int:
    """Restarts one task of a live run."""
    folder = find(runs_dir, run)
    error = client.ask(folder, control.AskRestart(task=_task_of(folder, task).name))
    if error:
        raise UsageError(error)
    return 0


def find(runs_dir: Path, run: str | None) -> runs.RunFolder:
    """The run that is meant; an unknown one is a user's error."""
    try:
        return runs.find(runs_dir, run)
    except runs.RunNotFoundError as error:
        raise UsageError(str(error)) from error


def _looks_like_task(text: str) -> bool:
    """Also where it is misspelt: no run's name has a colon."""
    return _parsed(text) is not None or (":" in text and not Path(text).exists())


def _task_of(folder: runs.RunFolder, text: str) -> TaskId:
    """The task of this run that is meant; an unknown one is a user's error."""
    from launcher.spec.texts import did_you_mean

    tasks, task = report.load_view(folder).tasks, _parsed(text)
    if task is None or task not in tasks:
        names = [known.name for known in sorted(tasks)]
        hint = did_you_mean(text, names) or f"; it has {', '.join(names[:8])}{', …' if len(names) > 8 else ''}"
        raise UsageError(f"{folder.run} has no task {text!r}{hint if names else ''}")
    return task


def _parsed(text: str) -> TaskId | None:
    try:
        return TaskId.parse(text)
    except ValueError:
        return None
