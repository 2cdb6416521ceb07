"""The next part of a run: the same plan in the same folder."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli import client, commands
from launcher.cli.looking import find, tidy_up
from launcher.record import reading, runs
from launcher.record.states import Outcome
from launcher.record.view import RunView
from launcher.spec.texts import did_you_mean
from launcher.views.console import PlainConsole, form_for, open_console
from launcher.views.terminal import complain, say
from launcher.wire.errors import HostError, UsageError

if TYPE_CHECKING:
    from launcher.plan.model import Plan

_Ask = Callable[[str], str]
_ENDS_WITHIN_S = 60.0
_LOOK_S = 0.05
# Of a login, a terminal or a desktop: another one is as good.
_SESSION_NAMES = """
    COLORTERM COLUMNS DESKTOP_SESSION DISPLAY EDITOR GDMSESSION HOSTNAME INVOCATION_ID JOURNAL_STREAM LESS LESSCLOSE
    LESSOPEN LINES LOGNAME LS_COLORS MAIL MAKEFLAGS MAKELEVEL MANPATH MFLAGS OLDPWD PAGER PROMPT PROMPT_COMMAND PS1 PWD
    SESSION_MANAGER SHELL SHLVL STY TERM TERMCAP TERMINFO TMUX TMUX_PANE VIRTUAL_ENV VIRTUAL_ENV_PROMPT VISUAL WINDOWID
    WINDOWPATH XAUTHORITY
"""
_SESSION_PREFIXES = """
    BASH_ COMP_ CONDA_ DBUS_ GIO_ GNOME_ GPG_ GTK_ HIST KDE_ KITTY_ KONSOLE_ PYTEST_ QT_ SLURM_ SSH_ SUDO_ SYSTEMD_
    TERM_ TFLAUNCH_ VSCODE_ VTE_ WAYLAND_ WEZTERM_ XDG_ _
"""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What was said of variables: ``given``: K=V, or K for one's own; ``left_out``: names that may be missing."""

    given: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def resume(
    runs_dir: Path, run: str | None, wishes: Environment, *, detach: bool, as_json: bool, plain: bool, metric: str
) -> int:
    """Goes on with a run, and shows it to its end unless detached. Raises UsageError for one that cannot be gone on
    with, HostError if what the last part has left alive cannot be ended."""
    folder = find(runs_dir, run) if run is not None else _newest(runs_dir)
    _wait_for_end(folder)
    view = reading.load_view(folder)
    if why := why_not(folder, view):
        raise UsageError(f"{folder.run} {why}")
    plan, inherits = _plan_of(folder)
    stored = {name for task in plan.tasks for name in task.env}
    ask = _ask if sys.stdin.isatty() and not as_json else None
    environ = complete(inherits, os.environ, wishes, stored=stored, ask=ask)
    if not view.ended and (troubles := commands.end_what_is_left(folder, view, now=False)):
        host, trouble = next(iter(troubles.items()))
        raise HostError(host, trouble)
    tidy_up(kill=True)
    form = form_for(sys.stdout, "json" if as_json else "plain" if plain else "live", os.environ)
    held = folder.held()
    reader = reading.RunReader(held)
    for _ in reader.read(final=True):
        pass  # what was is not shown again
    console = open_console(reader.view, held, sys.stdout, form=form, environ=os.environ, metric=metric)
    if isinstance(console, PlainConsole):
        console.skip()
    client.start_again(folder, plan, environ)
    if detach:
        how = f"tflaunch: {folder.run} goes on; see it with: tflaunch attach {folder.run}"
        say(folder.run if as_json else how)
        return 0
    return commands.show(folder, reader, console, own=True, as_json=as_json)


# --- which run -------------------------------------------------------------------------------------------------------


def _newest(runs_dir: Path) -> runs.RunFolder:
    for folder in runs.list_runs(runs_dir):
        if not why_not(folder, reading.load_view(folder)):
            return folder
    raise UsageError(f"no run in {runs_dir} that could be gone on with; tflaunch ls lists them")


def why_not(folder: runs.RunFolder, view: RunView) -> str:
    """Why a run cannot be gone on with; empty if it can."""
    if runs.is_live(folder):
        return f"is live; see it with: tflaunch attach {folder.run}"
    if away := runs.elsewhere(folder):
        return f"is live on {away}, seen from here only by its files; go on with it there"
    if view.started is None:
        return f"has a damaged {folder.events.name}: nobody knows how far it was; start it anew in another folder"
    if not folder.plan.exists():
        return "has no plan.json, so that nobody knows what to start"
    if not _is_same(Path(view.started.run_dir), folder.path):
        return f"was in {view.started.run_dir}, which its tasks were told; move it back there"
    if view.outcome is Outcome.SUCCEEDED and not (view.input and view.input.endless):
        return "has succeeded: there is nothing to go on with"
    return ""


def _is_same(told: Path, found: Path) -> bool:
    """Whether both lead to one folder, by whatever links."""
    try:
        return told.samefile(found)
    except OSError:
        return False


def _wait_for_end(folder: runs.RunFolder) -> None:
    """Of one that has just said how it ended, until its supervisor has gone."""
    deadline = time.monotonic() + _ENDS_WITHIN_S
    while runs.is_live(folder) and reading.load_view(folder).ended and time.monotonic() < deadline:
        time.sleep(_LOOK_S)


def _plan_of(folder: runs.RunFolder) -> tuple[Plan, tuple[str, ...]]:
    """The plan, without drills, which were for once; and the names of the variables that tasks had from outside."""
    from launcher.plan.plan_json import PlanFormatError, plan_from_json

    try:
        body = json.loads(folder.plan.read_text(encoding="utf-8"))
        plan = plan_from_json(body)
        names = body.get(client.INHERITS, ())
    except (OSError, ValueError, AttributeError, RecursionError, PlanFormatError) as error:
        raise UsageError(f"{folder.run} cannot be gone on with: {folder.plan} is damaged ({error})") from error
    return replace(plan, inject=()), tuple(map(str, names))


# --- the environment -------------------------------------------------------------------------------------------------


def complete(
    inherits: Iterable[str],
    environ: Mapping[str, str],
    wishes: Environment,
    *,
    stored: Collection[str] = (),
    ask: _Ask | None,
) -> dict[str, str]:
    """The environment with all that the run was started with. ``stored``: the variables whose values it keeps itself;
    ``ask``: how a value is asked for, None where nobody can be. Raises UsageError, which names the variables that are
    missing, or that the run does not have."""
    made, inherits = dict(environ), tuple(inherits)
    for word in wishes.given:
        name, equals, value = word.partition("=")
        if name in stored:
            raise UsageError(f"--env {name}: the run has stored its value, and goes on with that one")
        if name not in inherits:
            raise UsageError(f"--env {name}: the run was started without it{did_you_mean(name, inherits)}")
        if not equals and name not in environ:
            raise UsageError(f"--env {name}: there is no {name} in your environment; write --env {name}=VALUE")
        made[name] = value if equals else environ[name]
    for name in wishes.left_out:
        if name not in inherits:
            raise UsageError(f"--without-env {name}: the run was started without it{did_you_mean(name, inherits)}")
    missing = [name for name in missing_of(inherits, made) if name not in wishes.left_out]
    if missing and ask is None:
        words = ", ".join(missing[:20]) + (f" and {len(missing) - 20} more" if len(missing) > 20 else "")
        raise UsageError(
            f"the run was started with {words} in its environment, whose values are not stored; give each by --env "
            "NAME=VALUE, or let it be missing by --without-env NAME"
        )
    for name in missing:
        if value := ask(name) if ask is not None else "":
            made[name] = value
    return made


def missing_of(inherits: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """The variables that the run had and that are not there now, but for those of a terminal or a login."""
    names, prefixes = frozenset(_SESSION_NAMES.split()), tuple(_SESSION_PREFIXES.split())
    gone = (name for name in inherits if name not in environ and name not in names)
    return [name for name in gone if not name.startswith(prefixes)]


def _ask(name: str) -> str:
    complain(f"the run was started with {name} in its environment, whose value is not stored")
    return str(click.prompt(f"{name} (hidden; empty: without it)", default="", hide_input=True, show_default=False))
