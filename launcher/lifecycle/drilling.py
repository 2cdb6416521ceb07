"""Fault drills: when each is carried out, and how.

``kill`` and ``pause`` are signals to the task's process group; ``exit`` is asked of the task itself, over its socket. A
paused task goes on when its time is over, and at once when it is asked to end.
"""

from __future__ import annotations

import math
import signal
from dataclasses import replace

from launcher.causes import Cause
from launcher.lifecycle.clock import drill_due_at
from launcher.lifecycle.outages import continued, paused, tell_drill_over
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import DrillRecord, TaskRecord
from launcher.lifecycle.values import SignalTask, TellTask
from launcher.record import events
from launcher.record.states import Phase, TaskState
from launcher.spec.drills import Exit, Kill, Pause
from launcher.wire import protocol


def carry_out_drills(run: Run) -> None:
    """Does what is due now."""
    for item in run.state.drills:
        _note_ready(run, item)
        _continue(run, item)
        if run.now >= drill_due_at(run, item):
            _fire(run, item)
        _give_up(run, item)


def account_for_drills(run: Run) -> None:
    """At the end of the run: what became of those that are still open."""
    for item in run.state.drills:
        if item.fired:
            tell_drill_over(run, item, recovered=False)
        else:
            run.notice("warning", f"the drill {str(item.drill)!r} was not carried out: {_why_not(run, item)}")


def blame_drill(run: Run, record: TaskRecord, cause: Cause) -> Cause:
    """A death that was ordered is no riddle."""
    for item in run.state.drills:
        hit = item.fired and item.drill.task == record.task and item.attempt == record.attempt.number
        if hit and not item.is_pause:
            advice = f"the fault drill '{item.drill}' did this; leave it out, or allow {record.task} more restarts"
            return replace(cause, message=f"{cause.message}, by a fault drill", advice=advice)
    return cause


def _note_ready(run: Run, item: DrillRecord) -> None:
    """Seconds count from when the task is first ready; of one that cannot say so, or is not known to train, from its
    start."""
    record = run.state.tasks.get(item.drill.task)
    if record is None or math.isfinite(item.ready_at):
        return
    can_say = "heartbeat" in run.state.plan.adjustments
    if record.attempt.ready or (record.attempt.running and not can_say):
        item.ready_at = run.now


def _fire(run: Run, item: DrillRecord) -> None:
    drill, record = item.drill, run.state.tasks[item.drill.task]
    item.fired_at, item.attempt = run.now, record.attempt.number
    if isinstance(drill, Pause):
        item.continue_at = run.now + drill.for_s
        paused(run, record)
    run.record(
        events.DrillFired(
            fault=str(drill), task=record.task.name, global_step=run.state.global_step or None, number=item.number
        )
    )
    if isinstance(drill, Exit):
        run.do(TellTask(task=record.task, message=protocol.ExitNow(code=drill.code)))
    else:
        _signal(run, record, signal.SIGKILL if isinstance(drill, Kill) else signal.SIGSTOP)


def _continue(run: Run, item: DrillRecord) -> None:
    record = run.state.tasks.get(item.drill.task)
    if math.isinf(item.continue_at) or record is None:
        return
    gone = record.attempt.number != item.attempt or not record.alive
    if not gone and run.now < item.continue_at and not _is_to_end(run, record):
        return
    item.continue_at = math.inf
    still_paused = any(
        math.isfinite(other.continue_at) and other.drill.task == record.task for other in run.state.drills
    )
    if not gone and not still_paused:
        continued(run, record.task)
        _signal(run, record, signal.SIGCONT)


def _is_to_end(run: Run, record: TaskRecord) -> bool:
    """A stopped process hears neither a word nor SIGTERM."""
    ending = bool(run.state.stop_how) or run.state.phase in (Phase.STOPPING, Phase.ENDED)
    return ending or bool(record.attempt.restart_wanted) or record.state is TaskState.STOPPING


def _give_up(run: Run, item: DrillRecord) -> None:
    if item.fired and run.state.tasks[item.drill.task].state.final:
        tell_drill_over(run, item, recovered=False)


def _signal(run: Run, record: TaskRecord, number: signal.Signals) -> None:
    run.do(SignalTask(task=record.task, attempt=record.attempt.number, signal=int(number)))


def _why_not(run: Run, item: DrillRecord) -> str:
    record = run.state.tasks.get(item.drill.task)
    if record is None:
        return f"there is no task {item.drill.task}"
    if isinstance(item.drill, Exit) and not record.attempt.speaks:
        return f"{record.task} does not listen to the launcher, and only a task that does can be made to exit"
    return f"the run ended before that, at step {run.state.global_step}"
