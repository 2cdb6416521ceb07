"""Where runs stand: the commands that only look. They import no more than that takes."""

from __future__ import annotations

import time
from pathlib import Path

from launcher.agent.host.sweep import tidy
from launcher.cli.slurm import there
from launcher.record import reading, report, runs
from launcher.record.reachable import mute
from launcher.record.states import Outcome
from launcher.views.spans import duration
from launcher.views.terminal import say, say_json
from launcher.wire.errors import HostError, UsageError
from launcher.wire.private.registry import FolderError
from launcher.wire.protocol import JsonValue
from launcher.wire.roles import TaskId

_QUIET_S = 3.0  # word of most runs comes every second


def _row(state: dict[str, JsonValue]) -> str:
    """One run in a line: how and when it ended, how long it took, and how far it came."""
    words = [f"{state['run']!s}  {state['outcome'] or 'live':11}"]
    words.append(f"{str(state['ended'] or '')[:19].replace('T', ' '):19}  {duration(_number(state['duration_s'])):>9}")
    words.append(f"step {_number(state['global_step']):,.0f}" if state["global_step"] is not None else "")
    return "  ".join(words).rstrip()


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _status(folder: runs.RunFolder) -> dict[str, JsonValue]:
    """Where a run stands. To look ends nothing. A supervisor of which nothing comes is asked whether it answers."""
    state = there.status(folder) or report.status_of(folder)
    quiet_s = time.time() - reading.load_view(folder).last_at
    if state["outcome"] is None and not state["note"] and quiet_s > _QUIET_S and runs.is_live(folder):
        from launcher.supervise import pulse

        if not pulse.answers(folder):
            return {**state, "note": mute(folder, pulse.QUIET_S)}
    return state


def status(runs_dir: Path, run: str | None, *, as_json: bool) -> int:
    """Prints where a run stands."""
    tidy_up(kill=False)
    folder = find(runs_dir, run)
    state = _status(folder)
    if as_json:
        say_json(state)
        return 0
    tasks = state["tasks"]
    assert isinstance(tasks, list)
    say(_row(state))
    if state["note"]:
        say(f"  note  {state['note']}")
    if state["tensorboard"]:
        say(f"  tensorboard  {state['tensorboard']}")
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


# --- which run, which task; what dead ones have left ----------------------------------------------------------------


def tidy_up(*, kill: bool) -> None:
    """Takes away what dead runs have left here; processes of theirs with ``kill`` alone."""
    try:
        tidy(kill=kill)
    except FolderError as error:
        if kill:
            raise HostError("this machine", str(error)) from error


def find(runs_dir: Path, run: str | None) -> runs.RunFolder:
    """The run that is meant; an unknown one is a user's error."""
    try:
        return runs.find(runs_dir, run)
    except runs.RunNotFoundError as error:
        raise UsageError(str(error)) from error


def task_of(folder: runs.RunFolder, text: str) -> TaskId:
    """The task of this run that is meant; an unknown one is a user's error."""
    from launcher.spec.texts import did_you_mean

    tasks, task = reading.load_view(folder).tasks, parsed(text)
    if task is None or task not in tasks:
        names = [known.name for known in sorted(tasks)]
        hint = did_you_mean(text, names) or f"; it has {', '.join(names[:8])}{', …' if len(names) > 8 else ''}"
        raise UsageError(f"{folder.run} has no task {text!r}{hint if names else ''}")
    return task


def parsed(text: str) -> TaskId | None:
    try:
        return TaskId.parse(text)
    except ValueError:
        return None
