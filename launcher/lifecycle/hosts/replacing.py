"""Another host in the place of one that is lost, where its engine gives others: asked for at once. Tasks that can go
nowhere until then wait for it, and workers that the run went on without come back."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import MappingProxyType

from launcher import causes
from launcher.lifecycle.roaming import alone
from launcher.lifecycle.roaming.scaling import have_join
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import HostRecord, HostState
from launcher.lifecycle.values import AskHost, LeaveHost, TellTask
from launcher.plan.moving import NowhereToGoError, moved
from launcher.spec.hosts import PlannedHost
from launcher.wire import adjustments


def ask_for_another(run: Run, lost: HostRecord) -> bool:
    """Asks for a host like a lost one, if its engine gives others; whether it did. No oftener in a run than hosts may
    be lost: an engine may give one after the other that is of no use."""
    state = run.state
    asked = sum(bool(record.replaces) for record in state.hosts.values())
    if not lost.host.traits.replaceable or asked >= state.plan.policy.lost_hosts:
        return False
    host = replace(lost.host, name=_name(run, lost.host.name), address="", details=MappingProxyType({}), spare=False)
    state.hosts[host.name] = HostRecord(host=host, replaces=lost.host.name)
    run.notice("info", f"another host is asked for in the place of {lost.host.name}: {host.name}")
    roles = frozenset(record.task.role for record in run.tasks if record.planned.host == lost.host.name)
    addresses = (record.host.address for record in state.hosts.values() if record.state is HostState.LOST)
    run.do(AskHost(host=host, roles=roles, avoid=frozenset(filter(None, addresses))))
    return True


def _name(run: Run, lost: str) -> str:
    """node-0.2 after node-0, node-0.3 after that."""
    origin = (run.state.hosts[lost].replaces and lost.rpartition(".")[0]) or lost
    return next(name for n in itertools.count(2) if (name := f"{origin}.{n}") not in run.state.hosts)


def answers(run: Run, record: HostRecord) -> None:
    """It is there: those who wait for a host go on on it, and workers that have left for want of one come back."""
    state, host = run.state, record.host
    if why := _of_no_use(run, record):
        record.state = HostState.LOST
        run.do(LeaveHost(host=host.name))
        nobody_comes(run, record, why)
        return
    state.plan = replace(
        state.plan,
        hosts=(*state.plan.hosts, host),
        on=MappingProxyType({role: _with(names, host, record.replaces) for role, names in state.plan.on.items()}),
    )
    run.notice("info", f"host {host.name} is there in the place of {record.replaces}")
    alone.tell_lease(run, host.name)
    run.do(TellTask(task=None, message=state.generation.gate))  # its agent has not heard how it stands
    find_places(run)
    state.homesick = have_join(run, state.homesick)


def _with(names: tuple[str, ...], host: PlannedHost, replaces: str) -> tuple[str, ...]:
    return (*names, host.name) if replaces in names else names


def _of_no_use(run: Run, record: HostRecord) -> str:
    """All hosts guard their ports or none does, and that was settled when the run began."""
    others = (other.open_ports for other in run.state.hosts.values() if other is not record)
    if record.open_ports and adjustments.PORT_GUARD in run.state.plan.adjustments and not any(others):
        return f"its ports cannot be guarded: {record.open_ports}"
    return ""


def find_places(run: Run) -> None:
    """For those who wait for a host."""
    state, homeless = run.state, alone.homeless(run)
    if not homeless:
        return
    try:
        state.plan = moved(state.plan, state.barred, alone.to_place(run))
    except NowhereToGoError as error:
        _despair(run, str(error))
        return
    places = {record.task.name: state.plan.task(record.task).host for record in homeless}
    run.notice("info", "; ".join(f"{task} goes on on {host}" for task, host in places.items()))
    alone.settle_down(run)


def nobody_comes(run: Run, record: HostRecord, why: str) -> None:
    """No host is to be had in the place of a lost one."""
    run.notice("warning", f"no host takes the place of {record.replaces}: {why}")
    if alone.homeless(run):
        _despair(run, why)


def _despair(run: Run, why: str) -> None:
    if not run.state.awaits_host:
        record = alone.homeless(run)[0]
        message = f"{record.task} can go on nowhere: {why}"
        run.fail(causes.host_lost(record.planned.host, f"it is lost, and {message}", ""))
