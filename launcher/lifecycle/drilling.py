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
from launcher.lifecycle.draft import Draft
from launcher.lifecycle.outages import continued, keep_drill, paused, tell_drill_over
from launcher.lifecycle.state import DrillRecord, TaskRecord
from launcher.lifecycle.values import SignalTask, TellTask
from launcher.record import events
from launcher.record.states import Phase, TaskState
from launcher.spec.drills import Exit, Kill, Pause
from launcher.wire import protocol


def carry_out_drills(draft: Draft) -> None:
    """Does what is due now."""
    for number in range(len(draft.state.drills)):
        _note_ready(draft, number)
        _continue(draft, number)
        item = draft.state.drills[number]
        if draft.now >= drill_due_at(draft.current, item):
            _fire(draft, number, item)
        _give_up(draft, number)


def account_for_drills(draft: Draft) -> None:
    """At the end of the run: what became of those that are still open."""
    for number, item in enumerate(draft.state.drills):
        if item.fired:
            tell_drill_over(draft, number, recovered=False)
        else:
            draft.notice("warning", f"the drill {str(item.drill)!r} was not carried out: {_why_not(draft, item)}")


def blame_drill(draft: Draft, record: TaskRecord, cause: Cause) -> Cause:
    """A death that was ordered is no riddle."""
    for item in draft.state.drills:
        hit = item.fired and item.drill.task == record.task and item.attempt == record.attempt
        if hit and not item.is_pause:
            advice = f"the fault drill '{item.drill}' did this; leave it out, or allow {record.task} more restarts"
            return replace(cause, message=f"{cause.message}, by a fault drill", advice=advice)
    return cause


def _note_ready(draft: Draft, number: int) -> None:
    """Seconds count from when the task is first ready; of one that cannot say so, or is not known to train, from its
    start."""
    item = draft.state.drills[number]
    record = draft.tasks.get(item.drill.task)
    if record is None or math.isfinite(item.ready_at):
        return
    can_say = "heartbeat" in draft.state.plan.adjustments
    if record.ready or (record.running and not can_say):
        keep_drill(draft, number, replace(item, ready_at=draft.now))


def _fire(draft: Draft, number: int, item: DrillRecord) -> None:
    drill, record = item.drill, draft.tasks[item.drill.task]
    item = replace(item, fired_at=draft.now, attempt=record.attempt)
    if isinstance(drill, Pause):
        item = replace(item, continue_at=draft.now + drill.for_s)
        paused(draft, record)
    keep_drill(draft, number, item)
    draft.record(
        events.DrillFired(
            fault=str(drill), task=record.task.name, global_step=draft.state.global_step or None, number=number
        )
    )
    if isinstance(drill, Exit):
        draft.do(TellTask(task=record.task, message=protocol.ExitNow(code=drill.code)))
    else:
        _signal(draft, record, signal.SIGKILL if isinstance(drill, Kill) else signal.SIGSTOP)


def _continue(draft: Draft, number: int) -> None:
    item = draft.state.drills[number]
    record = draft.tasks.get(item.drill.task)
    if math.isinf(item.continue_at) or record is None:
        return
    gone = record.attempt != item.attempt or not record.alive
    if not gone and draft.now < item.continue_at and not _is_to_end(draft, record):
        return
    keep_drill(draft, number, replace(item, continue_at=math.inf))
    still_paused = any(
        math.isfinite(other.continue_at) and other.drill.task == record.task for other in draft.state.drills
    )
    if not gone and not still_paused:
        continued(draft, record.task)
        _signal(draft, record, signal.SIGCONT)


def _is_to_end(draft: Draft, record: TaskRecord) -> bool:
    """A stopped process hears neither a word nor SIGTERM."""
    ending = bool(draft.state.stop_how) or draft.state.phase in (Phase.STOPPING, Phase.ENDED)
    return ending or bool(record.restart_wanted) or record.state is TaskState.STOPPING


def _give_up(draft: Draft, number: int) -> None:
    item = draft.state.drills[number]
    if item.fired and draft.tasks[item.drill.task].state.final:
        tell_drill_over(draft, number, recovered=False)


def _signal(draft: Draft, record: TaskRecord, number: signal.Signals) -> None:
    draft.do(SignalTask(task=record.task, attempt=record.attempt, signal=int(number)))


def _why_not(draft: Draft, item: DrillRecord) -> str:
    record = draft.tasks.get(item.drill.task)
    if record is None:
        return f"there is no task {item.drill.task}"
    if isinstance(item.drill, Exit) and not record.speaks:
        return f"{record.task} does not listen to the launcher, and only a task that does can be made to exit"
    return f"the run ended before that, at step {draft.state.global_step}"
