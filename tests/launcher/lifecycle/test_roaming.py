"""A host is lost, and only its tasks go elsewhere."""

from __future__ import annotations

from dataclasses import replace

from launcher import lifecycle
from launcher.record import events
from launcher.record.states import Phase, StopHow, TaskState
from launcher.spec.hosts import FAR
from launcher.spec.policy import Policy
from launcher.wire import protocol
from launcher.wire.adjustments import ROAMING
from launcher.wire.roles import Role, TaskId
from tests.launcher.lifecycle.test_lifecycle import ALL
from tests.launcher.lifecycle.test_moves import Cluster, spread, training

LEASE_S, GRACE_S = 6.0, 3.0


def roaming(*, possible: bool = True) -> Cluster:
    run = training(Policy(lease_s=LEASE_S, grace_s=GRACE_S), adjustments=(*ALL, ROAMING))
    for name in ("chief:0", "worker:0", "worker:1"):
        run.report(name, protocol.Roaming(possible=possible))
    run.actions.clear()
    return run


def lose(run: Cluster, host: str) -> None:
    run.happen(lifecycle.HostLost, host=host, message="no answer", silent_s=8.0, leased_from=run.now - LEASE_S)


def reserved(run: Cluster, **ports: int) -> None:
    """Each host that was asked answers."""
    for action in [action for action in run.actions if isinstance(action, lifecycle.Place)]:
        for task in sorted(action.tasks):
            host = action.plan.task(task).host
            port = ports.get(task.slug.replace("-", ""), 4000)
            run.happen(lifecycle.Told, host=host, body=protocol.Reserved(generation=1, ports={task.name: port}))


def test_a_worker_and_an_evaluator_go_alone() -> None:
    run = roaming()
    before = {name: run.record(name).attempt.number for name in ("ps:0", "ps:1", "chief:0", "worker:0")}
    lose(run, "c")  # worker:1, evaluator:0
    assert run.state.phase is Phase.TRAINING and run.stops() == []
    assert not run.told_to(None, protocol.Gate), "nobody else notices"
    reserved(run)
    assert run.starts() == [], "the former attempts may live until the lease of their host is over"
    run.after(LEASE_S / 6 + 0.1)
    assert run.starts() == [("worker:1", 2), ("evaluator:0", 2)]
    assert {run.record(name).planned.host for name in ("worker:1", "evaluator:0")} <= {"a", "b"}
    assert before == {name: run.record(name).attempt.number for name in before}
    run.started("worker:1", "evaluator:0")
    run.trains("worker:1", step=90)
    assert run.recorded(events.MoveOver) == []
    run.report("evaluator:0", protocol.Ready())
    (over,) = run.recorded(events.MoveOver)
    assert (over.hosts, over.generation, over.steps_rolled_back) == (("c",), 1, 0)


def test_trainers_hear_where_a_ps_has_gone() -> None:
    run = roaming()
    run.state.generation.ps = {"0": "a:1", "1": "b:1"}
    lose(run, "b")  # ps:1, worker:0
    assert not run.state.generation.gate.open and run.stops() == []
    place = run.record("ps:1").planned.host
    reserved(run, ps1=77)
    assert run.state.generation.ps == {"0": "a:1", "1": f"{place}:77"}
    run.after(LEASE_S / 6 + 0.1)
    run.started("ps:1", "worker:0")
    run.listening("ps:1")
    gate = run.told_to(None, protocol.Gate)[-1]
    assert gate.open and gate.ps["1"] == f"{place}:77" and not gate.variables_alive


def test_a_chief_comes_back_to_live_variables_and_locks_the_folder_again() -> None:
    run = roaming()
    lose(run, "a")  # ps:0, chief:0
    assert [a.path for a in run.actions if isinstance(a, lifecycle.LockModelDir)] == ["/model"]
    reserved(run)
    run.after(LEASE_S / 6 + 0.1)
    assert run.starts() == [("ps:0", 2)], "a chief may save for the grace time"
    run.after(GRACE_S + 5.0)
    assert run.starts() == [("ps:0", 2), ("chief:0", 2)]


def far(policy: Policy) -> Cluster:
    """Over hosts whose lines may be cut unnoticed."""
    plan = spread(policy, adjustments=(*ALL, ROAMING))
    run = Cluster(replace(plan, hosts=tuple(replace(host, traits=FAR) for host in plan.hosts)))
    run.until_training()
    run.actions.clear()
    return run


def leases(run: Cluster) -> dict[str, bool]:
    return {action.host: action.grace for action in run.actions if isinstance(action, lifecycle.SetLease)}


def test_a_host_that_has_agreed_to_no_grace_has_its_chief_back_with_the_others() -> None:
    run = far(Policy(lease_s=LEASE_S, grace_s=GRACE_S, lost_hosts=1))
    assert leases(run) == {}
    for name in ("chief:0", "worker:0", "worker:1"):
        run.report(name, protocol.Roaming(possible=True))
    assert leases(run) == dict.fromkeys("abc", False)
    run.happen(lifecycle.Told, host="a", body=protocol.LeaseAgreed(grace=False))
    lose(run, "a")  # ps:0, chief:0
    (lock,) = [action for action in run.actions if isinstance(action, lifecycle.LockModelDir)]
    assert (lock.task.name, lock.departed) == ("chief:0", ("ps:0 1", "chief:0 1")), "they have lost the folder"
    assert leases(run) == {"a": False, "b": True, "c": True}, "no further host may be lost"
    reserved(run)
    run.after(LEASE_S / 6 + 0.1)
    assert sorted(run.starts()) == [("chief:0", 2), ("ps:0", 2)]
    run.happen(lifecycle.AgentRenewed, host="b")
    assert leases(run)["b"], "a new agent knows nothing of it"


def test_who_kept_the_variables_has_rolled_nothing_back() -> None:
    """Workers have reported later steps than the chief has seen when its session opened."""
    run = roaming()
    run.exits("chief:0", None, signal=9)
    run.after(0.1)
    run.started("chief:0")
    run.report("worker:0", protocol.Step(global_step=500, local_steps=500))
    run.report("chief:0", protocol.Ready(global_step=480, kept=True))
    run.report("chief:0", protocol.Step(global_step=510, local_steps=1))
    (back,) = run.recorded(events.Recovered)
    assert back.steps_rolled_back == 0


def test_a_second_host_is_lost_before_the_tasks_of_the_first_are_back() -> None:
    run = roaming()
    lose(run, "c")
    reserved(run)
    lose(run, "b")
    run.actions = [action for action in run.actions if isinstance(action, lifecycle.Place)][-1:]
    assert run.actions[0].tasks >= {TaskId.parse(name) for name in ("ps:1", "worker:0")}
    reserved(run)
    run.after(LEASE_S)
    assert {run.record(name).planned.host for name in ("ps:1", "worker:0", "worker:1", "evaluator:0")} == {"a"}
    assert all(run.record(name).attempt.number == 2 for name in ("ps:1", "worker:0", "worker:1", "evaluator:0"))


def test_a_program_whose_sessions_name_other_trainers_starts_again_as_a_whole() -> None:
    run = roaming(possible=False)
    lose(run, "c")
    assert run.state.phase is Phase.MOVING


def with_worker_1_bound_to_c(**keys: object) -> Cluster:
    plan = spread(Policy(lease_s=LEASE_S), {Role.WORKER: ("b", "c")}, adjustments=(*ALL, ROAMING), **keys)
    gpus = tuple(replace(item, gpus=(0,)) if item.task.name == "worker:1" else item for item in plan.tasks)
    hosts = tuple(replace(host, gpus=1) if host.name == "c" else host for host in plan.hosts)
    run = Cluster(replace(plan, tasks=gpus, hosts=hosts))
    run.until_training()
    run.report("chief:0", protocol.Roaming(possible=True))
    run.actions.clear()
    return run


def test_without_a_worker_that_can_go_nowhere_the_others_go_on() -> None:
    run = with_worker_1_bound_to_c()
    lose(run, "c")
    assert run.state.phase is Phase.TRAINING and run.state.cause is None
    assert run.record("worker:1").state is TaskState.LEFT
    reserved(run)
    run.after(LEASE_S)
    assert run.starts() == [("evaluator:0", 2)]


def test_with_fewer_than_the_least_it_fails_after_the_lease() -> None:
    run = with_worker_1_bound_to_c(least_workers=2)
    lose(run, "c")
    run.after(LEASE_S + 0.1)
    assert run.state.cause is not None and run.state.cause.kind == "host"


def test_a_share_of_the_input_is_not_done_without() -> None:
    run = with_worker_1_bound_to_c()
    run.report("chief:0", protocol.Divides(where="train.py:7", what="calls Dataset.shard"))
    lose(run, "c")
    assert run.state.cause is not None and run.state.cause.kind == "host"


def test_an_agent_that_died_is_asked_again() -> None:
    run = roaming()
    lose(run, "c")
    host = run.record("worker:1").planned.host
    run.actions.clear()
    run.happen(lifecycle.AgentRenewed, host=host)
    assert any(TaskId.parse("worker:1") in a.tasks for a in run.actions if isinstance(a, lifecycle.Place))


# --- a host is left in order -----------------------------------------------------------------------------------------


def drain(run: Cluster, host: str) -> None:
    run.happen(lifecycle.DrainAsked, host=host)


def test_a_drained_worker_leaves_after_its_step_and_goes_on_elsewhere() -> None:
    run = roaming()
    drain(run, "c")  # worker:1, evaluator:0
    (warm,) = [action for action in run.actions if isinstance(action, lifecycle.Warm)]
    assert warm.hosts == {warm.plan.task(TaskId.parse(name)).host for name in ("worker:1", "evaluator:0")}
    assert len(run.told_to("worker:1", protocol.StopTraining)) == 1
    assert run.stops() == ["evaluator:0"]
    run.exits("evaluator:0", 0)
    run.exits("worker:1", 0)
    assert run.state.phase is Phase.TRAINING and not run.told_to(None, protocol.Gate)
    reserved(run)
    assert sorted(run.starts()) == [("evaluator:0", 2), ("worker:1", 2)]
    assert {run.record(name).planned.host for name in ("worker:1", "evaluator:0")} <= {"a", "b"}
    assert run.recorded(events.MoveOver) == []
    run.started("worker:1", "evaluator:0")
    run.trains("worker:1", step=90)
    run.report("evaluator:0", protocol.Ready())
    (over,) = run.recorded(events.MoveOver)
    assert (over.hosts, over.steps_rolled_back) == (("c",), 0)
    lose(run, "c")
    assert run.state.phase is Phase.TRAINING and not run.stops()[1:], "nothing is there any more"


def test_who_has_not_left_a_drained_host_yet_is_spoken_to_there() -> None:
    """Its worker goes first, others join, and another host is lost, before its parameter server leaves."""
    run = roaming()
    run.state.plan = replace(run.state.plan, further=run.record("worker:0").planned)
    drain(run, "b")  # ps:1, worker:0
    run.exits("worker:0", 0)
    run.happen(lifecycle.ScaleAsked, count=3)
    lose(run, "c")
    places = [action.plan for action in run.actions if isinstance(action, lifecycle.Place)]
    assert len(places) == 3
    assert {plan.task(TaskId.parse("ps:1")).host for plan in places} == {"b"}
    assert run.record("ps:1").planned.host == "b"
    assert {run.record(name).planned.host for name in ("worker:0", "worker:1", "worker:2", "evaluator:0")} == {"a"}


def test_a_drained_ps_goes_when_all_hold_still_and_the_chief_has_saved() -> None:
    run = roaming()
    drain(run, "b")  # ps:1, worker:0
    assert not run.told_to(None, protocol.Gate), "first the worker"
    run.exits("worker:0", 0)
    reserved(run)
    run.started("worker:0")
    run.trains("worker:0", step=90)
    assert run.told_to(None, protocol.Gate)[-1].hold
    for name in ("worker:0", "worker:1"):
        run.report(name, protocol.Waiting(what="hold"))
    assert not run.told_to("chief:0", protocol.SaveNow)
    run.report("chief:0", protocol.Waiting(what="hold"))
    assert run.told_to("chief:0", protocol.SaveNow) and "ps:1" not in run.stops()
    run.report("chief:0", protocol.Waiting(what="saved"))
    assert "ps:1" in run.stops()
    run.exits("ps:1", None, signal=9)
    run.actions = [action for action in run.actions if isinstance(action, lifecycle.Place)][-1:]
    reserved(run, ps1=78)
    gate = run.told_to(None, protocol.Gate)[-1]
    assert not gate.hold and not gate.open and gate.ps["1"].endswith(":78")
    assert run.starts() == [("ps:1", 2)]


def test_trainers_do_not_hold_still_for_ever() -> None:
    run = roaming()
    drain(run, "b")
    run.exits("worker:0", 0)
    reserved(run)
    run.started("worker:0")
    run.trains("worker:0", step=90)
    run.after(61.0)
    assert "ps:1" in run.stops()


def test_a_host_that_cannot_be_drained() -> None:
    run = roaming()
    assert "no host d" in run.lifecycle.why_not_drain("d")
    assert run.lifecycle.why_not_drain("c") == ""
    drain(run, "c")
    assert "on their way" in run.lifecycle.why_not_drain("b")
    assert "does not let tasks move" in roaming(possible=False).lifecycle.why_not_drain("c")


def test_a_run_that_is_to_end_while_a_host_is_drained_ends() -> None:
    run = roaming()
    drain(run, "b")
    run.happen(lifecycle.StopAsked, how=StopHow.STOP)
    run.exits("worker:0", 0)
    assert run.record("worker:0").state is TaskState.LEFT and not run.starts()
    for name in ("worker:1", "chief:0"):
        run.exits(name, 0)
    assert "ps:1" in run.stops()
