"""An engine gives another host in the place of one that is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher import lifecycle
from launcher.lifecycle.state import HostState
from launcher.plan.model import PlannedHost
from launcher.record import events
from launcher.record.states import Phase, StopHow, TaskState
from launcher.spec.hosts import Traits
from launcher.spec.policy import Policy
from launcher.wire import protocol
from launcher.wire.adjustments import ROAMING
from launcher.wire.roles import Role, TaskId
from tests.launcher.lifecycle.test_lifecycle import ALL
from tests.launcher.lifecycle.test_moves import Cluster, spread
from tests.launcher.lifecycle.test_roaming import LEASE_S, lose, reserved
from tests.launcher.lifecycle.test_scaling import plan as scalable

FAR_FROM_HERE = Traits(replaceable=True)


def training(on: dict[Role, tuple[str, ...]] | None = None, *, lost_hosts: int = 2, **keys: object) -> Cluster:
    """On hosts that can be replaced."""
    policy = Policy(lease_s=LEASE_S, lost_hosts=lost_hosts)
    further = scalable().further
    assert further is not None
    made = spread(policy, on, adjustments=(*ALL, ROAMING), further=replace(further, host="a"), **keys)
    run = Cluster(replace(made, hosts=tuple(replace(host, traits=FAR_FROM_HERE) for host in made.hosts)))
    run.until_training()
    for name in ("chief:0", "worker:0", "worker:1"):
        run.report(name, protocol.Roaming(possible=True))
    run.actions.clear()
    return run


def asked(run: Cluster) -> list[tuple[str, frozenset[str]]]:
    return [(a.host.name, a.avoid) for a in run.actions if isinstance(a, lifecycle.AskHost)]


def comes(run: Cluster, name: str) -> None:
    granted = replace(run.state.hosts[name].host, address="10.0.0.9")
    run.happen(lifecycle.HostGranted, host=granted)
    run.happen(lifecycle.HostAnswers, host=name)


def test_a_ps_that_can_go_nowhere_waits_for_the_new_host() -> None:
    run = training({Role.PS: ("a", "b")})
    lose(run, "a")
    lose(run, "b")  # both hosts of parameter servers
    assert asked(run) == [("a.2", {"a"}), ("b.2", {"a", "b"})]
    assert run.state.phase is Phase.TRAINING and run.state.cause is None
    assert run.record("ps:1").state is TaskState.BACKOFF
    run.after(1000.0)
    assert run.state.cause is None and run.lifecycle.next_wakeup() > run.now
    comes(run, "a.2")
    assert run.record("ps:0").planned.host == run.record("ps:1").planned.host == "a.2"
    assert run.state.plan.on[Role.PS] == ("a", "b", "a.2")
    assert run.told_to(None, protocol.Gate), "its agent has not heard how it stands"
    reserved(run)
    run.after(LEASE_S + 20.0)
    assert {name for name, _ in run.starts()} >= {"ps:0", "ps:1", "chief:0"}


def test_tasks_that_have_a_place_go_there_and_the_new_host_is_a_place_for_more() -> None:
    run = training()
    lose(run, "c")
    assert asked(run) == [("c.2", {"c"})]
    assert run.record("worker:1").planned.host in "ab"
    comes(run, "c.2")
    run.actions.clear()
    run.happen(lifecycle.ScaleAsked, count=3)
    assert run.record("worker:2").planned.host == "c.2"


def test_a_worker_left_without_a_place_comes_back() -> None:
    run = training({Role.WORKER: ("b", "c")}, least_workers=2)
    lose(run, "c")
    lose(run, "b")
    assert {run.record(f"worker:{n}").state for n in (0, 1)} <= {TaskState.LEFT, TaskState.BACKOFF}
    run.after(10 * LEASE_S)
    assert run.state.cause is None, "below min while another host may come"
    comes(run, "c.2")
    reserved(run)
    run.after(LEASE_S)
    assert {("worker:0", 2), ("worker:1", 2)} <= set(run.starts())
    assert {run.record(f"worker:{n}").planned.host for n in (0, 1)} == {"c.2"}


def test_without_another_host_it_is_as_without_an_engine() -> None:
    run = training({Role.WORKER: ("b", "c")}, least_workers=2)
    lose(run, "c")
    lose(run, "b")
    for name in ("b.2", "c.2"):
        run.happen(lifecycle.HostRefused, host=name, message="the fleet is at sea")
    run.after(LEASE_S + 0.1)
    assert run.state.cause is not None and run.state.cause.kind == "host"


def test_a_ps_for_which_no_host_comes_ends_the_run() -> None:
    run = training({Role.PS: ("a", "b")})
    lose(run, "a")
    lose(run, "b")
    run.happen(lifecycle.HostRefused, host="a.2", message="the fleet is at sea")
    assert run.state.cause is None
    run.happen(lifecycle.HostRefused, host="b.2", message="the fleet is at sea")
    assert run.state.cause is not None and run.state.cause.kind == "host"
    assert "can go on nowhere: the fleet is at sea" in run.state.cause.message


def test_a_new_host_that_is_lost_before_it_answers_is_asked_for_again() -> None:
    run = training({Role.PS: ("a",)}, lost_hosts=2)
    lose(run, "a")
    run.happen(lifecycle.HostGranted, host=replace(run.state.hosts["a.2"].host, address="10.0.0.9"))
    run.happen(lifecycle.HostLost, host="a.2", message="it has sunk", gone=True)
    assert [name for name, _ in asked(run)] == ["a.2", "a.3"]
    assert asked(run)[-1][1] == {"a", "10.0.0.9"}
    run.happen(lifecycle.HostLost, host="a.3", message="it has sunk", gone=True)
    assert run.state.cause is not None, "no oftener than hosts may be lost"


@pytest.mark.parametrize("ends", [True, False])
def test_a_host_that_comes_too_late_is_given_back(ends: bool) -> None:
    run = training()
    lose(run, "c")
    run.actions.clear()
    if ends:
        run.happen(lifecycle.StopAsked, how=StopHow.STOP)
    else:
        run.happen(lifecycle.HostRefused, host="c.2", message="the fleet is at sea")
    run.happen(lifecycle.HostGranted, host=PlannedHost(name="c.2", address="10.0.0.9"))
    assert [a.host for a in run.actions if isinstance(a, lifecycle.LeaveHost)] == ["c.2"]


def test_where_ports_are_guarded_a_host_that_cannot_is_of_no_use() -> None:
    run = training({Role.PS: ("a",)}, lost_hosts=1)
    lose(run, "a")
    run.happen(lifecycle.HostGranted, host=replace(run.state.hosts["a.2"].host, address="10.0.0.9"))
    run.happen(lifecycle.HostAnswers, host="a.2", open_ports="no compiler")
    assert run.state.hosts["a.2"].state is HostState.LOST
    assert run.state.cause is not None and "its ports cannot be guarded: no compiler" in run.state.cause.message


def test_hosts_that_are_not_replaced_are_not_asked_for() -> None:
    run = training()
    for record in run.state.hosts.values():
        record.host = replace(record.host, traits=Traits())
    lose(run, "c")
    assert asked(run) == []


def test_what_comes_back_is_only_what_is_still_wanted() -> None:
    run = training({Role.WORKER: ("b", "c")})
    run.report("chief:0", protocol.Roaming(possible=True))
    lose(run, "c")
    lose(run, "b")
    left = [n for n in (0, 1) if run.record(f"worker:{n}").state is TaskState.LEFT]
    assert left
    run.happen(lifecycle.ScaleAsked, count=0)
    comes(run, "c.2")
    assert not [task for task in run.state.plan.tasks if task.host == "c.2" and task.task.role is Role.WORKER]
    assert not run.recorded(events.Scaled) or TaskId.parse("worker:0") in run.state.tasks
