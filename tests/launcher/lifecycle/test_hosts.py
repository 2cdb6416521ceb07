"""How a run comes by its hosts: asked for, granted, refused, lost; and what is decided about them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher import lifecycle
from launcher.plan.model import PlannedHost
from launcher.record import events
from launcher.record.states import Outcome, Phase, StopHow
from launcher.spec.policy import Policy
from launcher.wire.roles import Role, TaskId
from tests.launcher.lifecycle.test_lifecycle import ALL, make_plan
from tests.launcher.lifecycle.test_moves import Cluster, spread, training

CHIEF, EVALUATOR = TaskId(Role.CHIEF, 0), TaskId(Role.EVALUATOR, 0)


class Fleet(Cluster):
    """Over hosts whose addresses are not known before they are granted."""

    def __init__(self) -> None:
        made = spread()
        super().__init__(replace(made, hosts=tuple(replace(host, address="") for host in made.hosts)))

    def granted(self, name: str) -> list[lifecycle.Action]:
        return self.happen(lifecycle.HostGranted, host=PlannedHost(name=name, address=f"10.0.0.{ord(name)}"))

    def answers(self, *names: str, open_ports: str = "") -> list[lifecycle.Action]:
        said = [self.happen(lifecycle.HostAnswers, host=name, open_ports=open_ports) for name in names]
        return said[-1]


def of(kind: type[lifecycle.Action], actions: list[lifecycle.Action]) -> list[lifecycle.Action]:
    return [action for action in actions if isinstance(action, kind)]


def test_every_host_is_asked_for_and_nothing_begins_before_all_answer() -> None:
    run = Fleet()
    asked = of(lifecycle.AskHost, run.happen(lifecycle.Begun))
    assert [(item.host.name, item.roles) for item in asked if isinstance(item, lifecycle.AskHost)] == [
        ("a", {Role.PS, Role.CHIEF}),
        ("b", {Role.PS, Role.WORKER}),
        ("c", {Role.WORKER, Role.EVALUATOR}),
    ]
    (link,) = of(lifecycle.OpenLink, run.granted("a"))
    assert isinstance(link, lifecycle.OpenLink) and link.host.address == "10.0.0.97"
    run.answers("a")
    run.after(100_000), run.granted("b"), run.granted("c")
    assert run.state.phase is Phase.ALLOCATING and run.prepares() == []
    assert run.answers("b") == []
    run.answers("c")
    assert run.state.phase is Phase.STARTING
    (prepare,) = run.prepares()
    assert [host.address for host in prepare.plan.hosts] == ["10.0.0.97", "10.0.0.98", "10.0.0.99"]
    assert (prepare.hosts, prepare.locker, prepare.kept, prepare.guarded) == (
        frozenset("abc"),
        CHIEF,
        frozenset(),
        True,
    )


def test_the_time_of_a_run_counts_from_when_it_has_its_hosts() -> None:
    run = Cluster(replace(spread(), policy=replace(spread().policy, timeout_s=60.0)))
    run.happen(lifecycle.Begun)
    run.after(1000)
    run.allocate()
    assert run.lifecycle.next_wakeup() == run.now + 60.0


def test_a_refusal_ends_the_run_when_those_that_were_granted_have_been_heard() -> None:
    run = Fleet()
    run.happen(lifecycle.Begun)
    run.granted("a")
    run.happen(lifecycle.HostRefused, host="b", message="no host is free", advice="come again")
    assert run.ended() is None
    run.answers("a")  # c has not been granted, and is waited for no longer
    end = run.ended()
    assert end is not None and end.outcome is Outcome.FAILED and end.cause is not None
    assert (end.cause.kind, end.cause.message, end.cause.advice) == ("host", "host b: no host is free", "come again")
    assert end.hosts == frozenset("ac")
    assert of(lifecycle.LeaveHost, run.granted("c")) == [lifecycle.LeaveHost(host="c")], "it comes too late"


def test_of_hosts_that_do_not_answer_the_first_is_the_cause_and_each_is_told() -> None:
    run = Fleet()
    run.happen(lifecycle.Begun)
    for name in "abc":
        run.granted(name)
    run.loses("c")
    run.now += 1.0
    run.loses("a")
    assert run.ended() is None
    run.answers("b")
    end = run.ended()
    assert end is not None and end.cause is not None and end.cause.host == "c"
    lost = [event.host for event in run.recorded(events.HostChanged) if event.state == "lost"]  # type: ignore[attr-defined]
    assert lost == ["c", "a"]


def test_stopped_while_it_waits_for_hosts() -> None:
    run = Fleet()
    run.happen(lifecycle.Begun)
    run.granted("a")
    run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    end = run.ended()
    assert end is not None and end.outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize(("gone", "dead_in_s"), [(True, 0.0), (False, 60 + 1 + 30 + 5)])
def test_a_lost_host_is_dead_when_lease_grace_and_ending_have_passed_or_its_engine_says_so(
    gone: bool, dead_in_s: float
) -> None:
    run = training(Policy(lease_s=60.0, grace_s=30.0))
    run.happen(lifecycle.HostLost, host="c", message="sunk", leased_from=run.now, gone=gone)
    assert run.state.move is not None and run.state.move.dead_at == pytest.approx(run.now + dead_in_s)
    assert lifecycle.LeaveHost(host="c") in run.actions


def test_who_has_ended_on_a_lost_host_keeps_its_port() -> None:
    run = training()
    run.exits("worker:1")
    run.loses("c", dead_in_s=0.0)
    run.those_told_to_end()
    run.after(1.0)
    prepare = run.prepares()[-1]
    assert (prepare.hosts, prepare.kept, prepare.locker) == (frozenset("ab"), {TaskId(Role.WORKER, 1)}, CHIEF)


def test_where_the_chief_has_ended_on_a_lost_host_the_evaluators_locks() -> None:
    run = training()
    for name in ("worker:0", "worker:1", "chief:0"):
        run.exits(name)
    run.those_told_to_end()
    run.loses("a", dead_in_s=0.0)
    run.loses("c", dead_in_s=0.0)
    run.those_told_to_end()
    run.after(1.0)
    assert (run.prepares()[-1].hosts, run.prepares()[-1].locker) == (frozenset("b"), EVALUATOR)


@pytest.mark.parametrize("adjustments", [ALL, tuple(name for name in ALL if name != "port-guard")])
def test_ports_are_guarded_everywhere_or_nowhere(adjustments: tuple[str, ...]) -> None:
    run = Cluster(spread(adjustments=adjustments))
    run.happen(lifecycle.Begun)
    for host in run.state.plan.hosts:
        run.happen(lifecycle.HostGranted, host=host)
    for host in run.state.plan.hosts:
        why = "no compiler" if host.name == "b" else ""
        run.happen(lifecycle.HostAnswers, host=host.name, open_ports=why)
    assert [prepare.guarded for prepare in run.prepares()] == [False]
    (told,) = (event.message for event in run.recorded(events.Noticed))  # type: ignore[attr-defined]
    assert ("cannot be guarded on b: no compiler" in told) == ("port-guard" in adjustments)


def test_where_something_may_be_left_at_the_end() -> None:
    run = Cluster(make_plan()).begin()
    run.loses("here")
    end = run.ended()
    assert end is not None and end.hosts == frozenset(), "it has just been looked at"


def warnings_of(actions: list[lifecycle.Action]) -> list[str]:
    noted = [item.event for item in actions if isinstance(item, lifecycle.Record)]
    return [event.message for event in noted if isinstance(event, events.Noticed)]


def test_a_second_grant_changes_nothing() -> None:
    run = Fleet()
    run.happen(lifecycle.Begun)
    run.granted("a")
    again = run.granted("a")
    assert not of(lifecycle.LeaveHost, again) and not of(lifecycle.OpenLink, again)
    assert warnings_of(again) == ["host a was granted twice; the first grant counts"]


def test_a_grant_without_an_address_is_a_refusal() -> None:
    run = Fleet()
    run.happen(lifecycle.Begun)
    for name in "bc":
        run.happen(lifecycle.HostRefused, host=name, message="no host is free")
    run.happen(lifecycle.HostGranted, host=PlannedHost(name="a", address=""))
    assert [run.state.hosts[name].state.value for name in "abc"] == ["lost"] * 3


@pytest.mark.parametrize("kind", ["granted", "refused", "lost"])
def test_hosts_that_nobody_asked_for_count_for_nothing(kind: str) -> None:
    run = Fleet()
    run.happen(lifecycle.Begun)
    if kind == "granted":
        said = run.happen(lifecycle.HostGranted, host=PlannedHost(name="stranger", address="10.9.9.9"))
    else:
        happening = lifecycle.HostRefused if kind == "refused" else lifecycle.HostLost
        said = run.happen(happening, host="stranger", message="x")
    assert warnings_of(said) == [
        "the engine speaks of host stranger, for which nobody has asked; that counts for nothing"
    ]
    assert run.state.phase is Phase.ALLOCATING and run.state.hosts.keys() == set("abc")
