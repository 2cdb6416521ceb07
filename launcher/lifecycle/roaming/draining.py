"""A host that is to be left in order: its tasks go elsewhere one after the other, and the run goes on.

Trainers leave after their step, the evaluator at once. Then its parameter servers: all trainers hold still, the chief
saves, and nothing that was trained is lost when they go.
"""

from __future__ import annotations

import math

from launcher.lifecycle.ends import stop_trainer
from launcher.lifecycle.outages import lost
from launcher.lifecycle.roaming import costs
from launcher.lifecycle.roaming.alone import is_possible, place, see_folder, to_place
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import Move, TaskRecord
from launcher.lifecycle.state.roster import Is
from launcher.lifecycle.values import DrainAsked, StopTask, TellTask, Warm
from launcher.plan.moving import NowhereToGoError, moved
from launcher.record import events
from launcher.record.states import TaskState
from launcher.wire import protocol
from launcher.wire.protocol import Wait
from launcher.wire.roles import TRAINERS, Role, TaskId

_HOLD_S = 60.0  # the longest that trainers hold still; then parameter servers go without a checkpoint of that moment
_HELD = (Wait.HOLD, Wait.SAVED, Wait.GATE, Wait.SESSION)


def why_not_drain(run: Run, host: str) -> str:
    """Why that host cannot be drained; empty if it can."""
    state = run.state
    if host not in state.hosts or host in state.barred:
        return f"this run is on no host {host}"
    if not is_possible(run) or state.stop_how or state.chief.state.final:
        return "this run does not train now, or its program does not let tasks move alone (docs/roaming.md)"
    if state.move is not None:
        return "tasks of another host are still on their way: try again when they train"
    try:
        moved(state.plan, state.barred | {host}, _open(run))
    except NowhereToGoError as error:
        return str(error)
    return ""


def drain_host(run: Run, asked: DrainAsked) -> None:
    """Begins to leave a host."""
    if why := why_not_drain(run, asked.host):
        run.notice("warning", f"host {asked.host} was to be drained: {why}")
        return
    state = run.state
    state.hosts[asked.host].drained = True
    there = [record for record in run.tasks if record.planned.host == asked.host and not record.state.final]
    plan = moved(state.plan, state.barred, _open(run))
    places = {record.task.name: plan.task(record.task).host for record in there}
    number = state.generation.number
    run.do(Warm(plan=plan, hosts=frozenset(places.values())))  # so that nobody imports while all hold still
    run.record(events.TasksMoved(host=asked.host, generation=number, tasks=places, message="drained"))
    state.move = Move(
        hosts=(asked.host,),
        began_at=run.now,
        detected_s=0.0,
        dead_at=run.now,
        tasks=frozenset(record.task for record in there),
        step=state.global_step,
        alone=True,
        account=costs.begin(run, began_at=run.now),
    )
    for record in there:
        record.drains = True
        if record.task.role is not Role.PS:
            _send_away(run, record)


def _open(run: Run) -> frozenset[TaskId]:
    return frozenset(record.task for record in run.tasks if not record.state.final)


def _send_away(run: Run, record: TaskRecord) -> None:
    reason = f"host {record.planned.host} is drained"
    record.leaves = True
    if not record.alive:
        record.restart_at = math.inf
        run.move(record, TaskState.LEFT, reason=reason)
    elif run.is_chief(record) or not record.task.role.trains:  # it need not wait for the others, as at the end
        run.move(record, TaskState.STOPPING, reason=reason)
        grace_s = 0.0 if record.task.role is Role.PS else run.state.plan.policy.grace_s
        run.do(StopTask(task=record.task, attempt=record.attempt.number, grace_s=grace_s))
    else:
        stop_trainer(run, record, reason)


def watch_draining(run: Run) -> None:
    """Has those who have left go on elsewhere, and parameter servers leave when the others have."""
    if run.state.stop_how:  # who has left stays away
        _release(run)
        return
    move, tasks = run.state.move, run.state.tasks
    draining = [tasks[task] for task in sorted(move.tasks) if tasks[task].drains] if move is not None else []
    for record in [record for record in draining if record.state is TaskState.LEFT]:
        _go_on(run, record)
        draining.remove(record)
    servers = [record for record in draining if record.task.role is Role.PS]
    if not servers:
        _release(run)
    elif len(servers) == len(draining) and not any(record.leaves for record in servers):
        _hold_and_leave(run, servers)


def _hold_and_leave(run: Run, servers: list[TaskRecord]) -> None:
    state = run.state
    if not state.holds:
        state.holds, state.hold_until = True, run.now + _HOLD_S
    elif _all_hold(run) or run.now >= state.hold_until:
        state.hold_until = math.inf
        for record in servers:
            _send_away(run, record)


def _release(run: Run) -> None:
    run.state.holds = run.state.saves_now = False
    run.state.hold_until = math.inf


def _all_hold(run: Run) -> bool:
    """Whether nobody trains, and the chief has saved since; has it save when nobody does."""
    chief = run.state.chief
    others = [record for record in run.each(Is.TRAINS, *TRAINERS) if record.state is TaskState.TRAINING]
    if any(record.attempt.waits_for not in _HELD for record in others):
        return False
    if chief.attempt.waits_for is Wait.HOLD and not run.state.saves_now:
        run.state.saves_now = True
        run.do(TellTask(task=chief.task, message=protocol.SaveNow()))
    return chief.attempt.waits_for is Wait.SAVED


def _go_on(run: Run, record: TaskRecord) -> None:
    """Raises nothing: where it may go was seen when the draining began; else it stays away."""
    state = run.state
    record.drains = record.leaves = False
    try:
        state.plan = moved(state.plan, state.barred, to_place(run) | {record.task})
    except NowhereToGoError as error:
        run.notice("warning", f"{record.task} has left, and goes on nowhere: {error}")
        return
    record.planned = state.plan.task(record.task)
    run.move(record, TaskState.WAITING, reason=f"goes on on {record.planned.host}")
    lost(run, record, detected_s=0.0)
    state.generation.unplaced[record.task] = run.now
    place(run, [record])
    see_folder(run, [record])
