"""A host that is lost: the run goes on as a new generation on the hosts that are left, where the policy allows it.

In three steps: the tasks of the old generation are stopped, trainers first, which save if they can; when they have
gone, and nothing can be alive on the lost host any more, the new generation begins like the first one; it is over when
everybody trains again.
"""

from __future__ import annotations

import math
from dataclasses import replace

from launcher import causes
from launcher.lifecycle.draft import Draft
from launcher.lifecycle.ends import prepare, stop_trainer, tasks_died
from launcher.lifecycle.state import SHUT, Move, TaskRecord
from launcher.lifecycle.values import HostLost, TellTask
from launcher.plan.model import Plan
from launcher.plan.moving import NowhereToGoError, moved
from launcher.record import events
from launcher.record.states import Phase, TaskState
from launcher.spec.policy import Success
from launcher.wire.roles import ROLES, TRAINERS, Role, TaskId

_PS_GRACE_S = 2.0
_MOVABLE = (Phase.STARTING, Phase.TRAINING, Phase.MOVING, Phase.DRAINING)


def host_lost(draft: Draft, lost: HostLost) -> None:
    """Nobody there does anything any more, and nothing is started there again."""
    if lost.host in draft.state.lost:
        return
    draft.set(lost=draft.state.lost | {lost.host})
    if lost.lied or not _may_go_on(draft):  # nobody can tell what a liar's tasks do
        _fail(draft, lost)
    elif not _needed(draft, lost.host):
        _do_without(draft, lost.host)
    elif len(draft.state.plan.hosts) == 1:
        _fail(draft, lost)
    else:
        try:
            _leave(draft, lost, _plan_without(draft))
        except NowhereToGoError as error:
            _fail(draft, lost, f"; the run cannot go on without it: {error}")


def _may_go_on(draft: Draft) -> bool:
    begun = not math.isinf(draft.state.began_at)
    return begun and draft.state.phase in _MOVABLE and not draft.state.stop_how


def _fail(draft: Draft, lost: HostLost, why: str = "") -> None:
    draft.fail(causes.host_lost(lost.host, f"{lost.message}{why}", lost.advice))
    tasks_died(draft, lost.host)


def _do_without(draft: Draft, host: str) -> None:
    draft.notice("warning", f"host {host} is lost, and nothing runs there that is still needed")
    for record in list(draft.tasks.values()):
        if record.planned.host == host and not record.state.final:
            draft.stop(record, 0.0, f"host {host} is lost")
    tasks_died(draft, host)


def _needed(draft: Draft, host: str) -> list[TaskRecord]:
    """Tasks of the host without which the run cannot end well."""
    there = [record for record in draft.tasks.values() if record.planned.host == host and not record.state.final]
    if draft.state.phase is Phase.MOVING:
        return there
    return [record for record in there if record.state is not TaskState.STOPPING and not _is_late(draft, record)]


def _is_late(draft: Draft, record: TaskRecord) -> bool:
    """A worker after the end of a chief that alone decides: nothing that it trains is saved."""
    decided = draft.state.plan.policy.success is Success.CHIEF and draft.chief.state is TaskState.SUCCEEDED
    return record in draft.workers and decided


def _plan_without(draft: Draft) -> Plan:
    """The plan of the next generation. Raises NowhereToGoError."""
    state, allowed = draft.state, draft.state.plan.policy.lost_hosts
    if state.moves >= allowed:
        raise NowhereToGoError(f"policy.lost_hosts is {allowed}")
    if not (state.plan.model_dir or state.trains_in):
        raise NowhereToGoError("its checkpoints are not known; set model_dir to a folder that every host reaches")
    roles = (Role.EVALUATOR,) if state.phase is Phase.DRAINING else ROLES
    open_tasks = frozenset(record.task for record in draft.of_role(*roles) if not record.state.final)
    if draft.chief.state.final and any(record.task in open_tasks for record in draft.workers):
        raise NowhereToGoError("the chief has ended, and workers cannot start the training again")
    return moved(state.plan, state.lost, open_tasks)


def _leave(draft: Draft, lost: HostLost, plan: Plan) -> None:
    """Goes over to a plan that does without the host, and begins to stop everybody."""
    gone = [record.task for record in _needed(draft, lost.host)]
    draft.set(plan=plan, moves=draft.state.moves + 1, move=_move(draft, lost, frozenset(gone)))
    draft.go(Phase.MOVING, f"host {lost.host} is lost")
    tasks_died(draft, lost.host)
    for planned in plan.tasks:
        draft.update(draft.tasks[planned.task], planned=planned, restart_at=math.inf)
    places = {task.name: draft.tasks[task].planned.host for task in gone}
    generation = draft.state.generation + 1
    draft.record(events.TasksMoved(host=lost.host, generation=generation, tasks=places, message=lost.message))


def _move(draft: Draft, lost: HostLost, gone: frozenset[TaskId]) -> Move:
    """What is known of this move, or of one that this loss goes on with."""
    new = Move(
        hosts=(lost.host,),
        began_at=draft.now - lost.silent_s,
        detected_s=lost.silent_s,
        dead_at=lost.dead_at,
        tasks=gone,
        trained=draft.state.training.saved_last,
        step=draft.state.global_step,
    )
    before = draft.state.move
    if before is None:
        return new
    dead_at, step = max(before.dead_at, new.dead_at), max(before.step, new.step)
    return replace(before, hosts=(*before.hosts, lost.host), dead_at=dead_at, tasks=before.tasks | gone, step=step)


# --- the old generation ends, the new one begins -------------------------------------------------------------------


def watch_move(draft: Draft) -> None:
    """Stops what is left of the old generation, in order; then begins the new one."""
    move = draft.state.move
    if draft.state.phase is not Phase.MOVING or move is None:
        return
    if _all_down(draft) and draft.now >= move.dead_at:
        _begin_generation(draft, move)


def _all_down(draft: Draft) -> bool:
    grace_s = draft.state.plan.policy.grace_s
    for roles, patience_s in ((TRAINERS, 0.0), ((Role.EVALUATOR,), grace_s), ((Role.PS,), min(_PS_GRACE_S, grace_s))):
        for record in draft.of_role(*roles):
            if record.alive and record.state is not TaskState.STOPPING:
                if record.task.role.trains:
                    stop_trainer(draft, record, "a host is lost")
                else:
                    draft.stop(record, patience_s, "a host is lost")
        if any(record.alive for record in draft.of_role(*roles)):
            return False
    return True


def _begin_generation(draft: Draft, move: Move) -> None:
    generation = draft.state.generation + 1
    draft.set(
        generation=generation,
        move=replace(move, step=max(move.step, draft.state.global_step)),
        reserved=frozenset(),
        locked=frozenset(),
        unseen={},
        launched=False,
        gate=SHUT,
        initialised=False,
        training=replace(draft.state.training, barrier_at=math.inf, barrier_open=False, saved_last=move.trained),
        progress_at=draft.now,
        drain_until=math.inf,
        asked_at={},
        stacks={},
    )
    for record in list(draft.tasks.values()):
        if record.state is TaskState.BACKOFF:
            draft.move(draft.update(record, early_deaths=0), TaskState.WAITING, reason=f"generation {generation}")
    draft.do(TellTask(task=None, message=SHUT))  # agents remember how the old gate stood
    draft.go(Phase.STARTING, f"generation {generation}")
    prepare(draft)


# --- it is over ------------------------------------------------------------------------------------------------------


def moved_back(draft: Draft, global_step: int | None) -> None:
    """The chief of the new generation has a session and says where training goes on."""
    move = draft.state.move
    if move is not None and global_step is not None and draft.state.phase is not Phase.MOVING:
        behind = max(0, move.step - global_step)
        draft.set(move=replace(move, steps_rolled_back=max(move.steps_rolled_back, behind)))


def watch_moved(draft: Draft) -> None:
    """Says once that everybody trains again."""
    move = draft.state.move
    if move is None or draft.state.phase not in (Phase.TRAINING, Phase.DRAINING):
        return
    can_say = "heartbeat" in draft.state.plan.adjustments
    if all(_goes_on(record) if can_say else record.running for record in draft.tasks.values()):
        draft.set(move=None)
        draft.record(
            events.MoveOver(
                hosts=move.hosts,
                generation=draft.state.generation,
                tasks={task.name: draft.tasks[task].planned.host for task in sorted(move.tasks)},
                detected_s=round(move.detected_s, 3),
                recovered_s=round(draft.now - move.began_at, 3),
                steps_rolled_back=move.steps_rolled_back,
            )
        )


def _goes_on(record: TaskRecord) -> bool:
    if record.state.final or record.finished:
        return True
    if record.task.role.trains:
        return record.running and (record.stepped_at > 0 or record.state is TaskState.STOPPING)
    return record.running and record.ready
