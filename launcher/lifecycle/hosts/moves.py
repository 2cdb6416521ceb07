"""A host that is lost: its tasks go on elsewhere, alone where they can (``roaming``); else the run goes on as a new
generation on the hosts that are left, where the policy allows it.

The latter in three steps: the tasks of the old generation are stopped, trainers first, which save if they can; when
they have gone, and nothing can be alive on the lost host any more, the new generation begins like the first one; it is
over when everybody trains again.
"""

from __future__ import annotations

import math

from launcher import causes
from launcher.lifecycle.ends import prepare, stop_trainer, tasks_died
from launcher.lifecycle.hosts import replacing
from launcher.lifecycle.hosts.allocating import asked_for, lost_early
from launcher.lifecycle.roaming import alone, costs
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import SHUT, Generation, HostRecord, HostState, Move, TaskRecord, Training
from launcher.lifecycle.state.roster import Is
from launcher.lifecycle.values import HostLost, LeaveHost, TellTask
from launcher.plan.model import Plan
from launcher.plan.moving import NowhereToGoError, moved
from launcher.record import events
from launcher.record.states import Phase, TaskState
from launcher.spec.policy import Success
from launcher.wire.roles import ROLES, TRAINERS, Role, TaskId

_PS_GRACE_S = 2.0
_ENDING_S = 5.0
_KILLING_S = 1.0  # from the end of a lease until SIGKILL is sent
_MOVABLE = (Phase.STARTING, Phase.TRAINING, Phase.MOVING, Phase.DRAINING)


def host_lost(run: Run, lost: HostLost) -> None:
    """Nobody there does anything any more, and nothing is started there again."""
    record = asked_for(run, lost.host)
    if record is None or record.state is HostState.LOST:
        return
    words = f"{lost.message}; {lost.advice}" if lost.advice else lost.message
    run.record(events.HostChanged(host=lost.host, state=HostState.LOST.value, message=words))
    run.do(LeaveHost(host=lost.host))
    if run.state.phase is Phase.ALLOCATING:
        lost_early(run, record, causes.host_lost(lost.host, lost.message, lost.advice))
        return
    never_came = record.replaces and record.state is not HostState.ANSWERING
    record.state = HostState.LOST
    if never_came:
        replacing.ask_for_another(run, record)
        replacing.nobody_comes(run, record, words)
        return
    if lost.lied or not _may_go_on(run):  # nobody can tell what a liar's tasks do
        _fail(run, lost)
    elif not _needed(run, lost.host):
        _do_without(run, lost.host)
    else:
        _go_on_without(run, record, lost)


def _go_on_without(run: Run, record: HostRecord, lost: HostLost) -> None:
    roams, state = alone.is_possible(run), run.state
    waits = roams and not _why_not(run) and replacing.ask_for_another(run, record)
    if len(state.plan.hosts) == 1 and not waits:
        _fail(run, lost)
        return
    try:
        plan = _plan_without(run)
        if roams:
            _let_roam(run, lost, plan)
        else:
            _leave(run, lost, plan)
    except NowhereToGoError as error:
        if alone.goes_on_with_fewer(run, lost.host):
            run.notice("warning", f"{error}: the run goes on with fewer workers")
        elif waits:
            run.notice("warning", f"{error}: another host is waited for")
        else:
            _fail(run, lost, f"; the run cannot go on without it: {error}")
            return
        _let_roam(run, lost, state.plan)


def _may_go_on(run: Run) -> bool:
    begun = not math.isinf(run.state.began_at)
    return begun and run.state.phase in _MOVABLE and not run.state.stop_how


def _fail(run: Run, lost: HostLost, why: str = "") -> None:
    run.fail(causes.host_lost(lost.host, f"{lost.message}{why}", lost.advice))
    tasks_died(run, lost.host)


def _do_without(run: Run, host: str) -> None:
    run.notice("warning", f"host {host} is lost, and nothing runs there that is still needed")
    for record in run.tasks:
        if record.planned.host == host and not record.state.final:
            run.stop(record, 0.0, f"host {host} is lost")
    tasks_died(run, host)


def _needed(run: Run, host: str) -> list[TaskRecord]:
    """Tasks of the host without which the run cannot end well."""
    there = [record for record in run.tasks if record.planned.host == host and not record.state.final]
    if run.state.phase is Phase.MOVING:
        return there
    return [record for record in there if record.state is not TaskState.STOPPING and not _is_late(run, record)]


def _is_late(run: Run, record: TaskRecord) -> bool:
    """A worker after the end of a chief that alone decides: nothing that it trains is saved."""
    decided = run.state.plan.policy.success is Success.CHIEF and run.state.chief.state is TaskState.SUCCEEDED
    return record.task.role.trains and not run.is_chief(record) and decided


def _plan_without(run: Run) -> Plan:
    """The plan of the next generation. Raises NowhereToGoError."""
    if why := _why_not(run):
        raise NowhereToGoError(why)
    needed = alone.to_place(run) if alone.is_possible(run) else _open(run)
    return moved(run.state.plan, run.state.barred, needed)


def _why_not(run: Run) -> str:
    """Why the run does not go on without one of its hosts, wherever its tasks could go; empty if it does."""
    state, allowed = run.state, run.state.plan.policy.lost_hosts
    if state.moves >= allowed:
        return f"policy.lost_hosts is {allowed}"
    if not (state.plan.model_dir or state.trains_in):
        return "its checkpoints are not known; set model_dir to a folder that every host reaches"
    if state.chief.state.final and any(record.task in _open(run) for record in state.workers):
        return "the chief has ended, and workers cannot start the training again"
    return ""


def _open(run: Run) -> frozenset[TaskId]:
    roles = (Role.EVALUATOR,) if run.state.phase is Phase.DRAINING else ROLES
    return frozenset(record.task for record in run.state.of_role(*roles) if not record.state.final)


def _leave(run: Run, lost: HostLost, plan: Plan) -> None:
    """Goes over to a plan that does without the host, and begins to stop everybody."""
    gone = [record.task for record in _needed(run, lost.host)]
    run.state.plan = plan
    run.state.moves += 1
    run.state.move = _move(run, lost, frozenset(gone))
    run.go(Phase.MOVING, f"host {lost.host} is lost")
    tasks_died(run, lost.host)
    for planned in plan.tasks:
        record = run.state.tasks[planned.task]
        record.planned, record.restart_at = planned, math.inf
    places = {task.name: run.state.tasks[task].planned.host for task in gone}
    generation = run.state.generation.number + 1
    run.record(events.TasksMoved(host=lost.host, generation=generation, tasks=places, message=lost.message))


def _let_roam(run: Run, lost: HostLost, plan: Plan) -> None:
    """Its tasks go on elsewhere, each by itself; all others where they are."""
    needed = _needed(run, lost.host)
    run.state.plan = plan
    run.state.moves += 1
    move = _move(run, lost, frozenset(record.task for record in needed))
    move.alone = True
    run.state.move = move
    places = {record.task.name: plan.task(record.task).host for record in needed}
    generation = run.state.generation.number
    run.record(events.TasksMoved(host=lost.host, generation=generation, tasks=places, message=lost.message))
    alone.leave(run, lost, needed, leased_until=_leased_until(run, lost), dead_at=move.dead_at)


def _leased_until(run: Run, lost: HostLost) -> float:
    """When the agent of a lost host has begun to end its tasks at the latest. Its lease is over before ours: it runs
    from a word of its own that we have had (``protocol.Heard``)."""
    lease_s = run.state.plan.policy.lease_s
    return run.now if lost.gone else lost.leased_from + lease_s + min(_KILLING_S, lease_s / 6)


def _dead_at(run: Run, lost: HostLost) -> float:
    """When nothing of the run can be alive on a lost host any more: after the lease the grace time, then the ending."""
    leased_until = _leased_until(run, lost)
    if lost.gone or not run.state.hosts[lost.host].has_grace:
        return leased_until
    return leased_until + run.state.plan.policy.grace_s + _ENDING_S


def _move(run: Run, lost: HostLost, gone: frozenset[TaskId]) -> Move:
    """What is known of this move, or of one that this loss goes on with."""
    step, dead_at = run.state.global_step, _dead_at(run, lost)
    before = run.state.move
    if before is not None:
        before.hosts += (lost.host,)
        before.dead_at, before.step = max(before.dead_at, dead_at), max(before.step, step)
        before.tasks |= gone
        return before
    began_at = run.now - lost.silent_s
    return Move(
        hosts=(lost.host,),
        began_at=began_at,
        detected_s=lost.silent_s,
        dead_at=dead_at,
        tasks=gone,
        trained=run.state.training.saved_last,
        step=step,
        account=costs.begin(run, began_at=began_at),
    )


# --- the old generation ends, the new one begins -------------------------------------------------------------------


def watch_move(run: Run) -> None:
    """Stops what is left of the old generation, in order; then begins the new one."""
    move = run.state.move
    if move is not None and _all_down(run) and run.now >= move.dead_at:
        _begin_generation(run, move)


def _all_down(run: Run) -> bool:
    grace_s = run.state.plan.policy.grace_s
    for roles, patience_s in ((TRAINERS, 0.0), ((Role.EVALUATOR,), grace_s), ((Role.PS,), min(_PS_GRACE_S, grace_s))):
        for record in run.each(Is.UP, *roles):
            if record.task.role.trains:
                stop_trainer(run, record, "a host is lost")
            else:
                run.stop(record, patience_s, "a host is lost")
        if run.any(Is.ALIVE, *roles):
            return False
    return True


def _begin_generation(run: Run, move: Move) -> None:
    state, number = run.state, run.state.generation.number + 1
    move.step = max(move.step, state.global_step)
    state.generation = Generation(number, [_again(record) for record in run.tasks])
    state.training = Training(name=state.training.name, max_steps=state.training.max_steps, saved_last=move.trained)
    state.progress_at, state.drain_until = run.now, math.inf
    state.unanswered.clear()
    for record in run.each(Is.WAITING):
        run.say(record, reason=f"generation {number}")
    run.do(TellTask(task=None, message=SHUT))  # agents remember how the old gate stood
    run.go(Phase.STARTING, f"generation {number}")
    prepare(run)


def _again(record: TaskRecord) -> TaskRecord:
    """The record of a task in the next generation; attempts count on."""
    if record.state is not TaskState.BACKOFF:
        return record
    return TaskRecord(planned=record.planned, attempt=record.attempt, past=record.past, changed=record.changed)


# --- it is over ------------------------------------------------------------------------------------------------------


def moved_back(run: Run, global_step: int | None) -> None:
    """The chief of the new generation has a session and says where training goes on."""
    move = run.state.move
    if move is not None and global_step is not None and run.state.phase is not Phase.MOVING:
        move.steps_rolled_back = max(move.steps_rolled_back, move.step - global_step)


def watch_moved(run: Run) -> None:
    """Says once that everybody trains again."""
    move = run.state.move
    if move is None:
        return
    tasks = [run.state.tasks[task] for task in move.tasks]
    on_their_way = any(record.drains or record.task in run.state.outages for record in tasks)
    left_behind = on_their_way if move.alone else run.any(Is.LEFT_BEHIND)
    if left_behind:
        return
    run.state.move = None
    over = events.MoveOver(
        hosts=move.hosts,
        generation=run.state.generation.number,
        tasks={task.name: run.state.tasks[task].planned.host for task in sorted(move.tasks)},
        detected_s=round(move.detected_s, 3),
        recovered_s=round(run.now - move.began_at, 3),
        steps_rolled_back=move.steps_rolled_back,
    )
    costs.end(run, move.account, over)
