"""Workers that come and leave while a run goes on.

Fewer: the last ones are told to stop after their step, or after what they hold of a streaming queue, and have left when
they have ended. More: the lowest index that is free, on a host that has room; attempts count on.
"""

from __future__ import annotations

import itertools
import math

from launcher import causes
from launcher.lifecycle.ends import stop_trainer
from launcher.lifecycle.roaming import costs
from launcher.lifecycle.roaming.alone import place, to_place
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import Scaling, TaskRecord
from launcher.lifecycle.state.deadlines import least_deadline
from launcher.lifecycle.values import ScaleAsked
from launcher.plan.model import PlannedTask
from launcher.plan.moving import NowhereToGoError, with_workers
from launcher.record import events
from launcher.record.states import Phase, TaskState
from launcher.wire import adjustments, protocol
from launcher.wire.roles import TRAINERS, Role, TaskId

_FIXED = (protocol.COLLECTIVE, protocol.COORDINATOR)
_MOST_AT_ONCE = 1000  # far more than anybody means, and few enough to be begun between two signs of life
_FEWER = "fewer workers are wanted"
_GONE = (TaskState.FAILED, TaskState.STOPPED, TaskState.LEFT)


def why_not_scale(run: Run, count: int, *, forced: bool) -> str:
    """Why this run cannot have ``count`` workers; empty if it can."""
    state, plan = run.state, run.state.plan
    if state.phase is not Phase.TRAINING or state.stop_how or state.chief.state.final:
        return "this run does not train now"
    if adjustments.ROAMING not in plan.adjustments:
        return "the adjustment roaming is off, and without it the number of workers is fixed at the start"
    if state.roams is None:
        return _untold(run)
    if not state.roams:
        return "the number of workers is fixed: sessions of this program name other trainers"
    if state.fixed:
        return f"the number of workers is fixed: {state.fixed}"
    if state.divides and not forced:
        return f"{state.divides}: a share of its input would be lost, or trained twice; --force does it all the same"
    if count - len(_wanted(run)) > _MOST_AT_ONCE:
        return f"at most {_MOST_AT_ONCE:,} workers can join at once"
    if count < plan.least_workers:
        return f"roles.worker.min is {plan.least_workers}"
    if plan.most_workers is not None and count > plan.most_workers:
        return f"roles.worker.max is {plan.most_workers}"
    if state.chief.task.role is Role.WORKER and count < 1:
        return "the first worker is the chief of this run, and stays"
    return ""


def _untold(run: Run) -> str:
    """Why the number of workers is fixed, or is so as long as no session has said whether it can be changed."""
    trainers = list(run.state.of_role(*TRAINERS))
    if any(record.attempt.uses in _FIXED for record in trainers):
        return "the number of workers is fixed: this program's strategy counts them when it starts"
    if any(record.attempt.stepped_at for record in trainers):
        return "the number of workers is fixed: this program trains without a session that could be told of others"
    return (
        "no trainer has opened a session yet: try again when one has; the workers of a program that opens none "
        "are as many as at its start"
    )


def scale(run: Run, asked: ScaleAsked) -> None:
    """Has workers join, or leave, until there are as many as asked for."""
    if why := why_not_scale(run, asked.count, forced=asked.forced):
        run.notice("warning", f"{asked.count} workers were asked for: {why}")
        return
    if run.state.divides:
        run.notice("warning", f"{run.state.divides}, and the number of workers has changed: --force")
    elif run.state.reads:
        what = "a share of it is lost, or trained twice, if the program divides its input by their number"
        run.notice("warning", f"{run.state.reads}, and the number of workers has changed: {what}")
    wanted = _wanted(run)
    run.state.homesick = 0
    run.notice("info", f"from {len(wanted)} workers to {asked.count}")
    _count_costs(run, len(wanted), asked.count)
    for record in sorted(wanted, key=lambda record: record.task)[asked.count :]:
        _leave(run, record)
    have_join(run, asked.count - len(wanted))


def _wanted(run: Run) -> list[TaskRecord]:
    return [record for record in run.state.of_role(Role.WORKER) if not (record.state.final or record.leaves)]


def _count_costs(run: Run, before: int, wanted: int) -> None:
    """Whoever asks again before the first change is over changes that."""
    if run.state.scaling is None:
        run.state.scaling = Scaling(before=before, wanted=wanted, account=costs.begin(run, began_at=run.now))
    run.state.scaling.wanted = wanted


def watch_scaling(run: Run) -> None:
    """Says once that all who came train, and that all who were too many have left."""
    scaling = run.state.scaling
    if scaling is None:
        return
    still = [record for record in run.state.of_role(Role.WORKER) if not record.state.final]
    if any(record.leaves or not (record.attempt.stepped_at or record.attempt.finished) for record in still):
        return
    run.state.scaling = None
    lasted_s = round(run.now - scaling.account.began_at, 3)
    over = events.Scaled(before=scaling.before, after=len(still), lasted_s=lasted_s)
    costs.end(run, scaling.account, over)


def watch_least(run: Run) -> None:
    """Fewer workers than are to be there at least, since some have failed for good or their hosts are lost, and no
    other host comes in whose place they would come back."""
    state = run.state
    there = [record for record in state.of_role(Role.WORKER) if record.state not in _GONE]
    if not is_short(run, len(there)) or state.awaits_host:
        state.short_since = math.inf
        return
    state.short_since = min(state.short_since, run.now)
    if run.now >= least_deadline(state):
        run.fail(causes.too_few_workers(len(there), state.plan.least_workers))


def is_short(run: Run, count: int) -> bool:
    state = run.state
    return count < state.plan.least_workers and not (state.stop_how or state.chief.state.final)


def _leave(run: Run, record: TaskRecord) -> None:
    record.leaves = True
    run.state.generation.unplaced.pop(record.task, None)
    if record.alive:
        stop_trainer(run, record, _FEWER)
    else:
        record.restart_at = math.inf
        run.move(record, TaskState.LEFT, reason=_FEWER)


def have_join(run: Run, count: int) -> int:
    """So many workers more; where there is not room for all, as many as there is room for. Gives how many were not."""
    at_once = count
    while count > 0:
        at_once = min(at_once, count)
        try:
            _join(run, at_once)
            count -= at_once
        except NowhereToGoError as error:
            if at_once == 1:
                run.notice("warning", f"no further worker: {error}")
                return count
            at_once //= 2
    return 0


def _join(run: Run, count: int) -> None:
    """Raises NowhereToGoError, and has nobody join then."""
    state, tasks = run.state, run.state.tasks
    indices = (TaskId(Role.WORKER, index) for index in itertools.count())
    free = (task for task in indices if task not in tasks or tasks[task].state is TaskState.LEFT)
    new = frozenset(itertools.islice(free, count))
    state.plan = with_workers(state.plan, state.barred, to_place(run), new)
    for planned in state.plan.tasks:
        if planned.task in new:
            _joins(run, planned)
    place(run, [run.state.tasks[task] for task in sorted(new)])


def _joins(run: Run, planned: PlannedTask) -> None:
    state, task = run.state, planned.task
    if task in state.tasks:
        record = state.tasks[task]
        record.planned, record.leaves, record.early_deaths = planned, False, 0
        run.move(record, TaskState.WAITING, reason="joins again")
    else:
        record = TaskRecord(planned=planned, changed=state.changed)
        record.note()
        state.generation.add(record)
        run.say(record, reason="joins")
    state.generation.unplaced[task] = run.now
