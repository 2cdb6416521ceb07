"""Where tasks of lost hosts go: to hosts of their role with the least to do, with a port and the GPUs for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.plan.model import Plan, PlannedHost
from launcher.plan.moving import NowhereToGoError, moved
from launcher.spec.hosts import FAR, HERE
from launcher.wire.roles import Role, TaskId
from tests.launcher.lifecycle.test_lifecycle import make_plan

LAYOUT = {
    "ps:0": "a",
    "ps:1": "b",
    "chief:0": "a",
    "worker:0": "a",
    "worker:1": "b",
    "worker:2": "c",
    "evaluator:0": "c",
}


def laid_out(on: dict[Role, tuple[str, ...]] | None = None, **hosts: PlannedHost) -> Plan:
    """Three hosts that are reached by SSH, and d, which has nothing to do."""
    plan = make_plan(*LAYOUT)
    names = {name: hosts.get(name, PlannedHost(name=name, address=name, traits=FAR)) for name in "abcd"}
    tasks = tuple(replace(item, host=LAYOUT[item.task.name]) for item in plan.tasks)
    return replace(plan, hosts=tuple(names.values()), tasks=tasks, on=on or {})


def go(plan: Plan, *lost: str, needed: frozenset[TaskId] | None = None) -> dict[str, str]:
    """Which tasks are elsewhere than they were."""
    after = moved(plan, frozenset(lost), needed or frozenset(item.task for item in plan.tasks))
    was = {item.task: item.host for item in plan.tasks}
    return {item.task.name: item.host for item in after.tasks if item.host != was[item.task]}


def host(name: str, **facts: object) -> PlannedHost:
    return PlannedHost(name=name, address=name, **{"traits": FAR, **facts})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("on", "lost", "expected"),
    [
        ({}, "c", {"worker:2": "d", "evaluator:0": "d"}),
        (dict.fromkeys(Role, ("a", "b", "c")), "c", {"worker:2": "b", "evaluator:0": "a"}),
        (
            dict.fromkeys(Role, ("a", "b", "c")),
            "cb",
            {"ps:1": "a", "worker:1": "a", "worker:2": "a", "evaluator:0": "a"},
        ),
        ({Role.PS: ("a", "b")}, "a", {"ps:0": "b", "chief:0": "d", "worker:0": "d"}),
        ({}, "d", {}),
    ],
    ids=["to an idle host", "evenly", "all to one", "where the role may run", "an idle host"],
)
def test_places(on: dict[Role, tuple[str, ...]], lost: str, expected: dict[str, str]) -> None:
    assert go(laid_out(on), *lost) == expected


def test_only_what_is_needed_moves() -> None:
    needed = frozenset({TaskId(Role.EVALUATOR, 0)})
    assert go(laid_out({Role.WORKER: ("c",)}), "c", needed=needed) == {"evaluator:0": "a"}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (laid_out({Role.EVALUATOR: ("c",)}), "roles.evaluator.on names no other host that is left for evaluator:0"),
        (laid_out(**{name: host(name, traits=HERE) for name in "abd"}), "there is no other host .* for worker:2"),
        (laid_out(a=host("a", ports=(1, 3)), b=host("b", ports=(1, 2)), d=host("d", ports=(1, 1))), "ports of a, b, d"),
    ],
    ids=["role", "another way to reach it", "ports"],
)
def test_refusals(plan: Plan, words: str) -> None:
    with pytest.raises(NowhereToGoError, match=words):
        go(plan, "c")


def with_gpus(free_on_b: int) -> Plan:
    """worker:2 on c has GPU 0 of it; worker:1 has GPU 0 of b."""
    plan = laid_out(b=host("b", gpus=1 + free_on_b), c=host("c", gpus=1))
    env, secret = {"CUDA_VISIBLE_DEVICES": "0", "OTHER": "1"}, frozenset({"OTHER"})
    users = (TaskId(Role.WORKER, 1), TaskId(Role.WORKER, 2))
    tasks = (
        replace(item, gpus=(0,), env=env, secret_env=secret) if item.task in users else item for item in plan.tasks
    )
    return replace(plan, tasks=tuple(tasks))


def test_a_task_gets_a_gpu_that_nobody_has() -> None:
    after = moved(with_gpus(1), frozenset("c"), frozenset({TaskId(Role.WORKER, 1), TaskId(Role.WORKER, 2)}))
    task = after.task(TaskId(Role.WORKER, 2))
    assert (task.host, task.gpus, task.env) == ("b", (1,), {"CUDA_VISIBLE_DEVICES": "1", "OTHER": "1"})


def test_trainers_know_how_many_share_their_host() -> None:
    plan = laid_out()
    told = tuple(
        replace(item, env={"TFLAUNCH_TRAINERS_ON_HOST": "1"}) if item.task.role.trains else item for item in plan.tasks
    )
    after = moved(replace(plan, tasks=told), frozenset("acd"), frozenset(item.task for item in plan.tasks))
    trainers = [item for item in after.tasks if item.task.role.trains]
    assert [item.env["TFLAUNCH_TRAINERS_ON_HOST"] for item in trainers] == ["4"] * 4
    assert after.task(TaskId(Role.PS, 0)).env == {}


def test_gpus_that_do_not_suffice() -> None:
    with pytest.raises(NowhereToGoError, match="worker:2 needs 1 GPUs, and a, b, d have not so many free"):
        go(with_gpus(0), "c")


def test_two_tasks_that_move_get_different_gpus() -> None:
    plan = with_gpus(2)
    plan = replace(plan, hosts=tuple(item for item in plan.hosts if item.name != "d"))
    users = frozenset({TaskId(Role.WORKER, 1), TaskId(Role.WORKER, 2)})
    both_on_c = tuple(
        replace(item, host="c", gpus=(item.task.index - 1,)) if item.task in users else item for item in plan.tasks
    )
    after = moved(replace(plan, tasks=both_on_c), frozenset("c"), users)
    assert [(after.task(task).host, after.task(task).gpus) for task in sorted(users)] == [("b", (0,)), ("b", (1,))]
