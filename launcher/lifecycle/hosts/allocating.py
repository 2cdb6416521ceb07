"""How a run comes by its hosts: each is asked for, granted, and answers; when all do, the run begins.

Whoever refuses, or does not answer, keeps it from beginning. That is told when all that were granted have been heard,
so that every host that cannot be had is named; those that are still waited for are waited for no longer.
"""

from __future__ import annotations

from dataclasses import replace

from launcher import causes
from launcher.causes import Cause
from launcher.lifecycle.ends import prepare
from launcher.lifecycle.hosts import replacing
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import HostRecord, HostState
from launcher.lifecycle.values import AskHost, HostAnswers, HostGranted, HostRefused, LeaveHost, OpenLink
from launcher.plan.plan_json import plain
from launcher.record import events
from launcher.record.states import Phase
from launcher.wire import adjustments


def ask_for_hosts(run: Run) -> None:
    """Asks for every host of the plan."""
    away = [record for record in run.state.hosts.values() if not record.host.address]
    if away:
        hosts = f"{len(away)} host{'s' * (len(away) > 1)}"
        run.record(events.PhaseChanged(phase=Phase.ALLOCATING.value, reason=f"{hosts} asked for"))
    for name, record in run.state.hosts.items():
        roles = frozenset(task.task.role for task in run.tasks if task.planned.host == name)
        run.do(AskHost(host=record.host, roles=roles))


def asked_for(run: Run, name: str) -> HostRecord | None:
    """The record of a host that an engine speaks of, which may be anybody's code."""
    record = run.state.hosts.get(name)
    if record is None:
        run.notice("warning", f"the engine speaks of host {name}, for which nobody has asked; that counts for nothing")
    return record


def host_granted(run: Run, granted: HostGranted) -> None:
    """Opens a link to it, unless nobody waits for it any more."""
    record = asked_for(run, granted.host.name)
    if record is None:
        return
    if record.state in (HostState.GRANTED, HostState.ANSWERING):
        run.notice("warning", f"host {granted.host.name} was granted twice; the first grant counts")
        return
    if not granted.host.address:
        message = "its engine has granted it without an address"
        host_refused(run, HostRefused(now=run.now, host=granted.host.name, message=message))
        return
    awaited = Phase.TRAINING if record.replaces else Phase.ALLOCATING
    if record.state is not HostState.ASKED or run.state.phase is not awaited or run.state.stop_how:
        run.do(LeaveHost(host=granted.host.name))
        return
    if granted.host != record.host:
        facts = plain(granted.host)
        assert isinstance(facts, dict)
        run.record(events.HostChanged(host=granted.host.name, state=HostState.GRANTED.value, facts=facts))
    record.host, record.state = granted.host, HostState.GRANTED
    run.do(OpenLink(host=granted.host))


def host_refused(run: Run, refused: HostRefused) -> None:
    """It will not be had."""
    record = asked_for(run, refused.host)
    if record is not None and record.state is HostState.ASKED:
        cause = causes.host_lost(refused.host, refused.message, refused.advice)
        lost_early(run, record, cause)
        run.record(events.HostChanged(host=refused.host, state=HostState.LOST.value, message=refused.message))
        if record.replaces:
            replacing.nobody_comes(run, record, refused.message)


def host_answers(run: Run, answers: HostAnswers) -> None:
    """Its agent does."""
    record = run.state.hosts[answers.host]
    if record.state is HostState.GRANTED:
        record.state, record.open_ports = HostState.ANSWERING, answers.open_ports
        if record.replaces and run.state.phase is Phase.TRAINING and not run.state.stop_how:
            replacing.answers(run, record)


def lost_early(run: Run, record: HostRecord, cause: Cause) -> None:
    """A host is lost before anything has begun."""
    record.state, record.cause, record.lost_at = HostState.LOST, cause, run.now


def begin_when_all_answer(run: Run) -> None:
    """Begins, or says why that cannot be."""
    if run.state.stop_how:
        run.go(Phase.STOPPING, "stopped before it had started")
        return
    records = run.state.hosts.values()
    if any(record.state is HostState.GRANTED for record in records):
        return
    lost = sorted((record for record in records if record.cause is not None), key=lambda record: record.lost_at)
    if lost and lost[0].cause is not None:
        run.fail(lost[0].cause)
    elif all(record.state is HostState.ANSWERING for record in records):
        _begin(run)


def _begin(run: Run) -> None:
    state = run.state
    state.plan = replace(state.plan, hosts=tuple(record.host for record in state.hosts.values()))
    state.began_at = state.progress_at = run.now
    reasons = [
        f"they cannot be guarded on {name}: {record.open_ports}"
        for name, record in state.hosts.items()
        if record.open_ports
    ]
    if adjustments.PORT_GUARD not in state.plan.adjustments:
        reasons = ["port-guard is switched off"]
    if reasons:
        run.notice("warning", adjustments.OPEN_PORTS.format("; ".join(reasons)))
    run.go(Phase.STARTING)
    prepare(run)
