"""A task that goes on elsewhere: new port, new key, and every host is told before it starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from launcher import lifecycle
from launcher.plan.model import Plan, PlannedHost
from launcher.supervise.dispatch import Dispatch
from launcher.wire import protocol
from launcher.wire.roles import TaskId
from tests.launcher.lifecycle.test_lifecycle import make_plan


class Link:
    """Keeps what is said to a host."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def send(self, message: protocol.Message) -> None:
        self.said.append(message)

    def of(self, kind: type[protocol.Message]) -> list[Any]:
        return [message for message in self.said if isinstance(message, kind)]


class Diary:
    def record(self, event: object) -> None:
        """Nobody reads it."""


def begun() -> tuple[Plan, dict[str, Link], Dispatch]:
    """A cluster on host a whose chief has been started, and a host b."""
    names = ("ps:0", "chief:0", "worker:0")
    plan = replace(make_plan(*names), hosts=tuple(PlannedHost(name=name, address=name) for name in "ab"))
    plan = replace(plan, tasks=tuple(replace(item, host="a") for item in plan.tasks))
    links = {"a": Link(), "b": Link()}
    dispatch = Dispatch(plan, cast(Any, links), cast(Any, Diary()), run_id="r", folder="/run")
    chief = TaskId.parse("chief:0")
    dispatch.perform(lifecycle.Prepare(plan=plan, generation=1, hosts=frozenset("ab"), locker=chief, guarded=True))
    dispatch.reserved(protocol.Reserved(generation=1, ports={name: 5000 + at for at, name in enumerate(names)}))
    dispatch.perform(lifecycle.StartTask(task=chief, attempt=1))
    return plan, links, dispatch


def test_a_task_goes_on_elsewhere() -> None:
    plan, links, dispatch = begun()
    chief, ps = TaskId.parse("chief:0"), TaskId.parse("ps:0")
    before = links["a"].of(protocol.Guard)[-1]

    moved = replace(plan, tasks=(replace(plan.tasks[0], host="b"), *plan.tasks[1:]))
    dispatch.perform(lifecycle.Place(plan=moved, tasks=frozenset({ps})))
    assert links["b"].of(protocol.Reserve)[-1].tasks == ("ps:0",)
    dispatch.perform(lifecycle.StartTask(task=chief, attempt=2))
    assert links["a"].of(protocol.Guard)[-1] == before, "its port is not known yet; whoever starts meanwhile may"
    dispatch.reserved(protocol.Reserved(generation=1, ports={"ps:0": 6000}))
    for link in links.values():
        after = link.of(protocol.Guard)[-1].addresses
        assert after["b:6000"] not in before.addresses.values() and "a:5000" not in after
        assert after["a:5001"] == before.addresses["a:5001"], "the others' keys stay"
    dispatch.perform(lifecycle.StartTask(task=ps, attempt=2))
    assert links["b"].of(protocol.Start)[-1].env["TF_CONFIG"].count("b:6000") == 1


def test_who_leaves_before_it_has_a_port_keeps_nobody_from_a_start() -> None:
    plan, links, dispatch = begun()
    leaver, comer = TaskId.parse("worker:1"), TaskId.parse("worker:2")
    further = tuple(replace(plan.tasks[-1], task=task, host="b") for task in (leaver, comer))
    grown = replace(plan, tasks=(*plan.tasks, *further))
    dispatch.perform(lifecycle.Place(plan=grown, tasks=frozenset({leaver, comer})))
    dispatch.reserved(protocol.Reserved(generation=1, ports={"worker:2": 6000}))
    dispatch.perform(lifecycle.StartTask(task=comer, attempt=1))
    assert "b:6000" in links["b"].of(protocol.Start)[-1].env["TF_CONFIG"]
    assert "b:6000" in links["a"].of(protocol.Guard)[-1].addresses
