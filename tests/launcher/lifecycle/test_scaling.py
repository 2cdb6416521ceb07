"""Workers come and leave while a run goes on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from launcher import lifecycle
from launcher.plan.model import Plan, PlannedTask
from launcher.record import events
from launcher.record.states import Phase, TaskState
from launcher.spec.policy import Policy
from launcher.wire import protocol
from launcher.wire.adjustments import ROAMING
from launcher.wire.roles import Role, TaskId
from tests.launcher.lifecycle.test_cost import calls_of
from tests.launcher.lifecycle.test_lifecycle import ALL, Run, make_plan


def plan(**keys: object) -> Plan:
    made = make_plan(adjustments=(*ALL, ROAMING))
    argv = ("python", "job.py", "{index}")
    further = PlannedTask(task=TaskId(Role.WORKER, 0), host="here", argv=argv, program=argv[1:], cwd="/", env={})
    return replace(made, further=further, **keys)


def training(**keys: object) -> Run:
    run = Run(plan(**keys))
    run.until_training()
    run.report("chief:0", protocol.Roaming(possible=True))
    run.actions.clear()
    return run


def scale(run: Run, count: int, *, forced: bool = False) -> None:
    run.happen(lifecycle.ScaleAsked, count=count, forced=forced)
    for place in [action for action in run.actions if isinstance(action, lifecycle.Place)]:
        for task in sorted(place.tasks):
            body = protocol.Reserved(generation=1, ports={task.name: 5000 + task.index})
            run.happen(lifecycle.Told, host="here", body=body)


def test_more_workers_come_at_the_lowest_free_index() -> None:
    run = training()
    scale(run, 4)
    assert run.starts() == [("worker:2", 1), ("worker:3", 1)]
    assert run.record("worker:3").planned.argv == ("python", "job.py", "3")
    run.started("worker:2", "worker:3")
    run.trains("worker:2", "worker:3", step=50)
    assert run.record("worker:3").state is TaskState.TRAINING
    run.actions.clear()
    scale(run, 1)
    leaving = ["worker:1", "worker:2", "worker:3"]
    assert [name for name in leaving if run.told_to(name, protocol.StopTraining)] == leaving
    for name in leaving:
        run.exits(name, 0)
    assert {run.record(name).state for name in leaving} == {TaskState.LEFT}
    run.actions.clear()
    scale(run, 2)
    assert run.starts() == [("worker:1", 2)], "attempts count on"


def test_who_comes_with_others_starts_when_all_have_ports() -> None:
    """Hosts answer one after the other, and each task is told the addresses of all."""
    run = training()
    run.happen(lifecycle.ScaleAsked, count=4)
    run.told(protocol.Reserved(generation=1, ports={"worker:3": 5003}))
    assert run.starts() == []
    run.told(protocol.Reserved(generation=1, ports={"worker:2": 5002}))
    assert run.starts() == [("worker:2", 1), ("worker:3", 1)]


def test_a_worker_that_leaves_by_an_error_has_left_all_the_same() -> None:
    run = training()
    scale(run, 1)
    run.exits("worker:1", 1)
    assert run.record("worker:1").state is TaskState.LEFT
    assert run.record("worker:0").state is TaskState.TRAINING


def test_one_that_came_is_started_again_when_it_dies_and_the_end_waits_for_it() -> None:
    run = training()
    scale(run, 3)
    run.started("worker:2")
    run.trains("worker:2", step=50)
    run.exits("worker:2", None, signal=9)
    run.after(0.1)
    assert ("worker:2", 2) in run.starts()


@pytest.mark.parametrize("what", [protocol.COLLECTIVE, protocol.COORDINATOR])
def test_strategies_keep_their_number_of_workers(what: str) -> None:
    run = Run(plan())
    run.until_training()
    run.report("chief:0", protocol.Uses(what=what))
    assert "strategy counts them when it starts" in run.lifecycle.why_not_scale(2, forced=False)


def test_as_many_come_as_there_is_room_for() -> None:
    made = plan()
    here = replace(made.hosts[0], ports=(5000, 5000 + len(made.tasks) + 4))  # five more
    run = training(hosts=(here,))
    before = len(run.lifecycle.state.of_role(Role.WORKER))
    scale(run, before + 20)
    assert len(run.lifecycle.state.of_role(Role.WORKER)) == before + 5
    assert len(run.starts()) == 5


def test_many_that_come_at_once_cost_no_more_than_their_number() -> None:
    def joins(count: int) -> int:
        run = training()
        return calls_of(lambda: run.happen(lifecycle.ScaleAsked, count=count))

    assert joins(800) < 3 * joins(400)


def test_what_is_not_possible_is_refused_in_words() -> None:
    run = Run(plan(least_workers=1, most_workers=3))
    assert "does not train" in run.lifecycle.why_not_scale(2, forced=False)
    run.until_training()
    assert "trains without a session that could be told" in run.lifecycle.why_not_scale(2, forced=False)
    run.report("chief:0", protocol.Roaming(possible=True))
    assert run.lifecycle.why_not_scale(2, forced=False) == ""
    assert "min is 1" in run.lifecycle.why_not_scale(0, forced=False)
    assert "max is 3" in run.lifecycle.why_not_scale(4, forced=False)
    assert "at most 1,000 workers can join" in run.lifecycle.why_not_scale(99_999, forced=False)
    run.report("worker:0", protocol.Divides(where="train.py:7", what="reads num_worker_replicas"))
    assert "train.py:7 reads num_worker_replicas" in run.lifecycle.why_not_scale(3, forced=False)
    scale(run, 3, forced=True)
    told = [a.event for a in run.actions if isinstance(a, lifecycle.Record) and isinstance(a.event, events.Noticed)]
    assert [event.message for event in told if event.severity == "warning" and "train.py:7" in event.message]
    run.report("worker:0", protocol.Roaming(possible=True, fixed="SyncReplicasOptimizer counts replicas"))
    assert "SyncReplicas" in run.lifecycle.why_not_scale(2, forced=True)


def notices(run: Run, severity: str) -> list[str]:
    told = [a.event for a in run.actions if isinstance(a, lifecycle.Record) and isinstance(a.event, events.Noticed)]
    return [event.message for event in told if event.severity == severity]


def test_who_may_divide_its_input_by_a_number_in_tf_config_is_warned() -> None:
    run = training()
    run.report("worker:0", protocol.Divides(where="train.py:7", what="reads TF_CONFIG", surely=False))
    assert run.lifecycle.why_not_scale(3, forced=False) == ""
    scale(run, 3)
    (words,) = notices(run, "warning")
    assert words.startswith("train.py:7 reads TF_CONFIG") and run.starts() == [("worker:2", 1)]


def test_fewer_than_the_least_for_the_lease_is_a_failure_of_hosts() -> None:
    run = training(least_workers=2, policy=Policy(lease_s=6.0))
    run.exits("worker:1", 2)  # wrong arguments: not started again
    assert run.state.phase is Phase.TRAINING
    assert run.lifecycle.next_wakeup() <= run.now + 6.0
    run.after(5.0)
    assert run.state.phase is Phase.TRAINING
    run.after(1.1)
    assert run.state.cause is not None and run.state.cause.kind == "host"
    assert "1 worker is left, and roles.worker.min is 2" in run.state.cause.message


def test_workers_that_have_done_their_work_are_not_missed() -> None:
    run = training(least_workers=2, policy=Policy(lease_s=6.0))
    run.finished("worker:0", "worker:1", "chief:0")
    run.exits("worker:0")
    run.exits("worker:1")
    run.after(7.0)
    assert run.state.cause is None


def test_one_more_makes_up_for_one_that_has_failed() -> None:
    run = training(least_workers=2, policy=Policy(lease_s=6.0))
    run.exits("worker:1", 2)
    run.after(5.0)
    scale(run, 2)
    run.after(5.0)
    assert run.state.phase is Phase.TRAINING and run.state.short_since == math.inf


def test_nobody_goes_on_for_good_without_the_share_of_a_worker() -> None:
    run = training()
    run.report("chief:0", protocol.Divides(where="train.py:7", what="calls Dataset.shard"))
    run.exits("worker:1", 2)  # wrong arguments: not started again
    assert run.state.phase is Phase.STOPPING
    told = [a.event for a in run.actions if isinstance(a, lifecycle.Record) and isinstance(a.event, events.Noticed)]
    assert [event.message for event in told if "train.py:7 calls Dataset.shard" in event.message]
