"""Commands that change a live run: one task restarted, more workers or fewer, a host left."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.options import RUNS_DIR
from launcher.views.terminal import say
from launcher.wire.errors import EXIT_HOST, UsageError
from launcher.wire.roles import Role

if TYPE_CHECKING:
    from launcher.record.runs import RunFolder
    from launcher.record.task_view import TaskView
    from launcher.record.view import RunView

_LOOK_S = 0.1


@click.command(short_help="Restart one task in place.")
@click.argument("words", nargs=-1, required=True, metavar="[RUN] TASK")
def restart(words: tuple[str, ...]) -> int:
    """Restarts TASK of RUN (default: the newest live run) in place; the others go on."""
    from launcher.cli import commands

    *run, task = words
    if len(run) > 1:
        raise UsageError(f"{' '.join(words)!r}: write tflaunch restart [RUN] TASK")
    return commands.restart(RUNS_DIR, run[0] if run else None, task)


@click.command(short_help="More workers, or fewer.")
@click.argument("words", nargs=-1, required=True, metavar="[RUN] worker=N")
@click.option("--wait", is_flag=True, help="Return when they train, or have left.")
@click.option("--force", is_flag=True, help="Although the program may divide its input by another number.")
def scale(words: tuple[str, ...], wait: bool, force: bool) -> int:
    """Has RUN (default: the newest live run) go on with N workers. The others are not restarted."""
    from launcher.cli import client
    from launcher.cli.looking import find
    from launcher.supervise import control

    run, count = _read(words)
    folder = find(RUNS_DIR, run)
    before = _workers(folder)
    error = client.ask(folder, control.AskScale(count=count, forced=force))
    if error:
        raise UsageError(error)
    say(
        f"{folder.run}: {count} worker{'s' * (count != 1)} instead of {before}"
        if count != before
        else f"{folder.run}: {count} worker{'s' * (count != 1)}, as before"
    )
    return _wait(folder.path, count) if wait else 0


@click.command(short_help="Leave a host in order.")
@click.argument("words", nargs=-1, required=True, metavar="[RUN] HOST")
def drain(words: tuple[str, ...]) -> int:
    """Has everything of RUN (default: the newest live run) leave HOST, and go on on its other hosts."""
    from launcher.cli import client
    from launcher.cli.looking import find
    from launcher.supervise import control

    *run, host = words
    if len(run) > 1:
        raise UsageError(f"{' '.join(words)!r}: write tflaunch drain [RUN] HOST")
    folder = find(RUNS_DIR, run[0] if run else None)
    error = client.ask(folder, control.AskDrain(host=host))
    if error:
        raise UsageError(error)
    say(f"{folder.run}: everything leaves {host}, and goes on on the other hosts")
    return 0


def _read(words: tuple[str, ...]) -> tuple[str | None, int]:
    *runs, size = words
    role, _, number = size.partition("=")
    if len(runs) > 1 or role != Role.WORKER.value or not number.isascii() or not number.isdigit():
        raise UsageError(f"{' '.join(words)!r}: write tflaunch scale [RUN] worker=N; other roles keep their number")
    return (runs[0] if runs else None), int(number)


def _workers(folder: RunFolder) -> int:
    """How many are there, and are not about to leave."""
    from launcher.record import reading

    return len(_wanted(reading.load_view(folder)))


def _wanted(view: RunView) -> list[TaskView]:
    from launcher.record.states import TaskState

    workers = [task for task in view.tasks.values() if task.task.role is Role.WORKER]
    return [task for task in workers if not task.state.final and task.state is not TaskState.STOPPING]


def _wait(path: Path, count: int) -> int:
    """Until as many workers train, or the run has ended."""
    from launcher.record import reading, runs
    from launcher.record.states import TaskState

    while True:
        view = reading.load_view(runs.RunFolder(path))
        wanted = _wanted(view)
        if len(wanted) == count and all(task.state is TaskState.TRAINING for task in wanted):
            return 0
        if view.outcome is not None:
            return EXIT_HOST if len(wanted) < count else 0
        time.sleep(_LOOK_S)
