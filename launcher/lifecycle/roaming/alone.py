"""Tasks that move alone: their host is lost, and the others carry on, since sessions can be told where everybody is.

A task that moves is one that died: it is started again, on another host, as its next attempt and at a new port. When it
may start depends on what its former attempt could still do if it lived on, cut off, until its host's lease is over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from launcher.lifecycle.ends import exited, locker
from launcher.lifecycle.outages import lost
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import HostState, TaskRecord
from launcher.lifecycle.values import HostLost, LockModelDir, Place, SeeModelDir, SetLease
from launcher.plan.moving import NowhereToGoError, moved
from launcher.record.states import Phase, TaskState
from launcher.wire import adjustments, protocol
from launcher.wire.roles import Role, TaskId


def is_possible(run: Run) -> bool:
    """Whether the program lets its tasks move alone, as its trainers have said."""
    state = run.state
    moves_all = state.move is not None and not state.move.alone
    return (
        adjustments.ROAMING in state.plan.adjustments
        and state.roams is True
        and state.phase is Phase.TRAINING
        and not moves_all
    )


def agree_on_leases(run: Run) -> None:
    """Where the run goes on without a host that falls silent, nobody there has a grace time after the lease."""
    state = run.state
    roams = adjustments.ROAMING in state.plan.adjustments and state.roams is True
    grace = not (roams and state.moves < state.plan.policy.lost_hosts)
    if grace is state.lease_grace:
        return
    state.lease_grace = grace
    for name in state.hosts:
        tell_lease(run, name)


def tell_lease(run: Run, host: str) -> None:
    """Tells a host what is agreed on; a new agent there knows nothing of it."""
    record, grace = run.state.hosts[host], run.state.lease_grace
    if record.state is HostState.ANSWERING and record.host.traits.can_fall_silent:
        record.told_grace = grace
        record.has_grace = True  # until it has agreed
        run.do(SetLease(host=host, grace=grace))


def to_place(run: Run) -> frozenset[TaskId]:
    """Whom a plan has to have on hosts that are not barred: all that are open, but for those who have not left a host
    yet that is drained. They are spoken to where they are."""
    state = run.state
    leaving = {item.task for item in run.tasks if item.drains and item.planned.host not in state.lost}
    return frozenset(item.task for item in run.tasks if not item.state.final and item.task not in leaving)


def goes_on_with_fewer(run: Run, host: str) -> bool:
    """Whether a run whose lost ``host`` nobody replaces goes on without the workers of it; those have left then. How
    few may be left, and for how long, is another rule's (``watch_least``)."""
    state = run.state
    if not is_possible(run) or state.divides or state.moves >= state.plan.policy.lost_hosts:
        return False
    workers = [item for item in state.workers if item.planned.host == host and not item.state.final]
    needed = to_place(run) - {item.task for item in workers}
    try:
        state.plan = moved(state.plan, state.barred, needed)
    except NowhereToGoError:
        return False
    state.homesick += len(workers)
    for record in workers:
        state.generation.departed += (f"{record.task} {record.attempt.number}",)
        state.generation.unplaced.pop(record.task, None)
        state.outages.pop(record.task, None)
        record.attempt.gone()
        record.restart_at = math.inf
        run.move(record, TaskState.LEFT, reason=f"host {host} is lost, and it can go nowhere")
    return True


def leave(run: Run, lost_host: HostLost, needed: list[TaskRecord], *, leased_until: float, dead_at: float) -> None:
    """Everything that ran on a lost host is counted as dead; those of ``needed`` go where the run's plan has them now.
    ``leased_until``: when the agent there has begun to end its tasks at the latest, ``dead_at``: when they have gone,
    for which a chief waits: it may go on for the grace time, to save. A worker has nothing to save, and what it held of
    the input is taken from it when its next attempt begins; a parameter server and an evaluator just end."""
    generation = run.state.generation
    there = [record for record in run.tasks if record.planned.host == lost_host.host and record.alive]
    there += [record for record in needed if record not in there]
    generation.departed += tuple(f"{record.task} {record.attempt.number}" for record in there)
    for record in run.tasks:
        if record.planned.host == lost_host.host and record.alive and record not in needed:
            exited(run, record, _killed(record))
    going = [*needed, *(record for record in homeless(run) if record not in needed)]
    _take_places(run)
    for record in needed:
        may_start = dead_at if run.is_chief(record) else leased_until
        generation.unplaced[record.task] = max(may_start, generation.unplaced.get(record.task, -math.inf))
        _count_as_dead(run, record, detected_s=lost_host.silent_s)
    _go(run, going)


def homeless(run: Run) -> list[TaskRecord]:
    """Those whose host is lost, and who have no other yet."""
    tasks = (run.state.tasks[task] for task in run.state.generation.unplaced)
    return [record for record in tasks if record.planned.host in run.state.lost]


def settle_down(run: Run) -> None:
    """Those who had no host go where the run's plan has them now."""
    going = homeless(run)
    _take_places(run)
    _go(run, going)


def _take_places(run: Run) -> None:
    for planned in run.state.plan.tasks:
        record = run.state.tasks[planned.task]
        if record.planned != planned:
            record.planned = planned


def _go(run: Run, records: list[TaskRecord]) -> None:
    found = [record for record in records if record.planned.host not in run.state.lost]
    place(run, found)
    see_folder(run, found)


def _killed(record: TaskRecord) -> protocol.Exited:
    return protocol.Exited(task=record.task.name, attempt=record.attempt.number, exit_code=None, signal=9)


def _count_as_dead(run: Run, record: TaskRecord, *, detected_s: float) -> None:
    was_there = record.alive
    record.attempt.gone()
    record.restart_at = math.inf
    record.drains = record.leaves = False
    if record.task.role is Role.PS:
        run.state.generation.initialised = False
    if run.is_chief(record):
        run.state.training.barrier_open = False
    if was_there:
        where = record.planned.host
        goes_on = "waits for another" if where in run.state.lost else f"goes on on {where}"
        run.move(record, TaskState.BACKOFF, reason=f"its host is lost; {goes_on}")
        lost(run, record, detected_s=detected_s)


def place(run: Run, records: Iterable[TaskRecord]) -> None:
    """Asks for ports where these go on."""
    tasks = frozenset(record.task for record in records)
    run.state.generation.ported -= tasks
    if tasks:
        run.do(Place(plan=run.state.plan, tasks=tasks))


def place_again(run: Run, host: str) -> None:
    """The agent there died: what it was asked for may not have arrived."""
    tasks = run.state.tasks
    place(run, [tasks[task] for task in run.state.generation.unplaced if tasks[task].planned.host == host])


def placed(run: Run, addresses: Mapping[TaskId, str]) -> None:
    """Those have ports now."""
    run.state.generation.ported |= addresses.keys() & run.state.generation.unplaced.keys()


def start_the_placed(run: Run) -> None:
    """Starts them when all have ports who were to get some, as each hears of the others' addresses; those that moved,
    when their former attempts can do no harm any more."""
    generation = run.state.generation
    unplaced, ported = generation.unplaced, generation.ported
    going = unplaced.keys() - {record.task for record in homeless(run)}
    if not going or not ported >= going:
        return
    for task in sorted(going):
        record, may_start = run.state.tasks[task], unplaced.pop(task)
        ported.discard(task)
        if record.state is TaskState.WAITING:  # it has never run, or left in order
            run.start(record)
        else:
            record.restart_at = max(run.now, may_start)


def see_folder(run: Run, records: list[TaskRecord]) -> None:
    """The chief's new host locks the folder; others that begin to use it must see that it is the same one there. Who
    was lost has lost the folder."""
    state = run.state
    folders = {folder for folder in (state.plan.model_dir, state.trains_in) if folder}
    hosts = {record.planned.host for record in records if record.task.role is not Role.PS}
    for folder in sorted(folders):
        if any(run.is_chief(record) for record in records):
            state.generation.locked.discard(folder)
            run.do(LockModelDir(path=folder, task=state.chief.task, departed=state.generation.departed))
        elif hosts and "://" not in folder:
            if state.generation.departed:
                run.do(LockModelDir(path=folder, task=locker(run), departed=state.generation.departed))
            run.do(SeeModelDir(path=folder, hosts=frozenset(hosts)))
