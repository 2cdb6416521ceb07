"""What the lifecycle does when a host is lost: stop, wait, begin again elsewhere; or fail, and say why."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher import lifecycle
from launcher.plan.model import Plan, PlannedHost
from launcher.record import events
from launcher.record.states import Outcome, Phase, StopHow, TaskState
from launcher.spec.policy import Policy, Success
from launcher.wire import protocol
from launcher.wire.roles import Role, TaskId
from tests.launcher.lifecycle.test_lifecycle import ALL, CODES, HAPPEN, Run, make_plan

LAYOUT = {"ps:0": "a", "ps:1": "b", "chief:0": "a", "worker:0": "b", "worker:1": "c", "evaluator:0": "c"}
TRAINERS = ("chief:0", "worker:0", "worker:1")


def spread(policy: Policy | None = None, on: dict[Role, tuple[str, ...]] | None = None, **keys: object) -> Plan:
    plan = make_plan(*LAYOUT, policy=policy)
    tasks = tuple(replace(item, host=LAYOUT[item.task.name]) for item in plan.tasks)
    hosts = tuple(PlannedHost(name=name, address=name, transport="ssh") for name in "abc")
    return replace(plan, hosts=hosts, tasks=tasks, on=on or {}, **keys)


class Cluster(Run):
    """A run over hosts."""

    def prepared(self, generation: int) -> None:
        """Every host that is left holds its ports, and sees the folder."""
        left = [host.name for host in self.state.plan.hosts if host.name not in self.state.lost]
        for host in left:
            self.happen(lifecycle.Told, host=host, body=protocol.Reserved(generation=generation, ports={}))
        chief = self.state.tasks[TaskId(Role.CHIEF, 0)].planned.host
        self.happen(lifecycle.Told, host=chief, body=protocol.Locked(path="/model"))
        for host in left:
            self.happen(lifecycle.Told, host=host, body=protocol.Seen(path="/model"))

    def begin(self) -> Cluster:
        self.allocate()
        self.prepared(1)
        return self

    def loses(self, host: str, *, dead_in_s: float = 10.0) -> None:
        policy = self.state.plan.policy
        killing_s = min(1.0, policy.lease_s / 6)
        leased_from = self.now + dead_in_s - policy.lease_s - killing_s - policy.grace_s - 5.0
        self.happen(lifecycle.HostLost, host=host, message="no answer", silent_s=80.0, leased_from=leased_from)

    def those_told_to_end(self, code: int | None = 0) -> None:
        """Whoever was asked to end does."""
        for _ in range(3):
            for name in LAYOUT:
                if self.record(name).state is TaskState.STOPPING:
                    self.exits(name, code, signal=None if code is not None else 15)

    def train_again(self, *names: str, step: int = 30) -> None:
        self.started(*LAYOUT)
        for name in ("ps:0", "ps:1"):
            self.listening(name)
        self.trains(*(names or TRAINERS), step=step)
        self.report("evaluator:0", protocol.Ready())

    def told(self, body: protocol.Message) -> list[lifecycle.Action]:
        return self.happen(lifecycle.Told, host="a", body=body)

    def recorded(self, kind: type[events.RunEvent]) -> list[events.RunEvent]:
        told = [action.event for action in self.actions if isinstance(action, lifecycle.Record)]
        return [event for event in told if isinstance(event, kind)]

    def states(self) -> dict[str, str]:
        return {task.name: record.state.value for task, record in self.state.tasks.items()}

    def prepares(self) -> list[lifecycle.Prepare]:
        return [action for action in self.actions if isinstance(action, lifecycle.Prepare)]


def training(policy: Policy | None = None, on: dict[Role, tuple[str, ...]] | None = None, **keys: object) -> Cluster:
    run = Cluster(spread(policy, on, **keys))
    run.until_training()
    assert run.state.phase is Phase.TRAINING
    return run


def test_trainers_save_before_anybody_else_is_stopped() -> None:
    run = training()
    run.loses("c")
    assert run.state.phase is Phase.MOVING
    assert {name for name in TRAINERS if run.told_to(name, protocol.StopTraining)} == {"chief:0", "worker:0"}
    assert run.stops() == []
    run.exits("worker:0")
    assert run.told_to("chief:0", protocol.Barrier), "nobody is left who could train"
    run.exits("chief:0")
    assert run.stops() == ["ps:0", "ps:1"]


def test_a_chief_whose_ps_is_lost_can_save_nothing_and_gets_no_time_for_it() -> None:
    run = training()
    run.loses("b")
    run.after(2.0)
    assert {action.task.name: action.grace_s for action in run.actions if isinstance(action, lifecycle.StopTask)} == {
        "chief:0": 5.0,
        "worker:1": 5.0,
    }


def test_the_new_generation_waits_until_nothing_can_be_alive_on_the_lost_host() -> None:
    run = training()
    run.loses("c", dead_in_s=10.0)
    run.those_told_to_end()
    assert set(run.states().values()) == {"backoff"} and len(run.prepares()) == 1
    assert run.lifecycle.next_wakeup() == pytest.approx(run.now + 10.0)
    run.after(10.0)
    assert [(item.generation, item.hosts) for item in run.prepares()] == [(1, frozenset("abc")), (2, frozenset("ab"))]
    assert run.prepares()[-1].plan.task(TaskId(Role.WORKER, 1)).host in ("a", "b")
    assert run.state.phase is Phase.STARTING and set(run.states().values()) == {"waiting"}


def moved(**keys: object) -> Cluster:
    """c is lost, and the second generation has its ports."""
    run = training(**keys)  # type: ignore[arg-type]
    run.trains("worker:0", step=70)
    run.loses("c", dead_in_s=10.0)
    run.those_told_to_end()
    run.now += 10.0
    run.after(0.5)
    return run


def test_everybody_starts_again_at_a_shut_gate() -> None:
    run = moved()
    assert run.told_to(None, protocol.Gate)[-1] == protocol.Gate(open=False)
    assert not run.state.generation.initialised
    run.told(protocol.Reserved(generation=1, ports={}))
    assert {record.reserved for record in run.state.hosts.values()} == {1}, "of the old generation"
    run.prepared(2)
    assert run.starts()[-6:] == [(name, 2) for name in LAYOUT]
    before = repr(run.state)
    run.told(protocol.Exited(task="worker:0", attempt=1, exit_code=1, signal=None))
    assert repr(run.state) == before, "late words of the old generation"
    run.started(*LAYOUT)
    run.listening("ps:0")
    assert not run.state.generation.gate.open
    run.listening("ps:1")
    assert run.state.generation.gate == protocol.Gate(open=True)


def test_it_is_over_when_everybody_trains_and_says_what_it_has_cost() -> None:
    run = moved()
    run.prepared(2)
    run.train_again("chief:0", "worker:0")
    assert run.recorded(events.MoveOver) == []
    run.report("worker:1", protocol.Ready(global_step=0))
    run.report("worker:1", protocol.Step(global_step=31, local_steps=1))
    places = {name: run.record(name).planned.host for name in ("worker:1", "evaluator:0")}
    assert run.recorded(events.TasksMoved) == [
        events.TasksMoved(host="c", generation=2, tasks=places, message="no answer")
    ]
    assert run.recorded(events.MoveOver) == [
        events.MoveOver(
            hosts=("c",),
            generation=2,
            tasks=places,
            detected_s=80.0,
            recovered_s=90.5,
            steps_rolled_back=70,
            idle_s=dict.fromkeys(sorted(TRAINERS), 10.0),
        )
    ]
    assert "c" not in places.values()
    assert all(record.past.restarted_at == () for record in run.state.tasks.values()), (
        "nothing of its policy's is used up"
    )


def test_a_run_that_has_moved_ends_like_any_other() -> None:
    run = moved()
    run.prepared(2)
    run.train_again()
    run.finished(*TRAINERS)
    run.exits("worker:0")
    run.exits("worker:1")
    run.exits("chief:0")
    for name in ("evaluator:0", "ps:0", "ps:1"):
        run.exits(name)
    ended = run.ended()
    assert ended is not None and (ended.outcome, ended.cause) == (Outcome.SUCCEEDED, None)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (spread(Policy(lost_hosts=0)), "policy.lost_hosts is 0"),
        (spread(on={Role.EVALUATOR: ("c",)}), "roles.evaluator.on names no other host"),
        (spread(model_dir=None), "its checkpoints are not known"),
    ],
    ids=["policy", "placement", "no checkpoints"],
)
def test_where_the_run_cannot_go_on_that_is_said(plan: Plan, words: str) -> None:
    run = Cluster(plan)
    run.until_training()
    run.loses("c")
    run.those_told_to_end()
    ended = run.ended()
    assert ended is not None and ended.outcome is Outcome.FAILED and ended.cause is not None
    assert (ended.cause.kind, ended.cause.host) == ("host", "c") and words in ended.cause.message


def test_the_budget_counts_hosts() -> None:
    run = moved(policy=Policy(lost_hosts=1))
    run.prepared(2)
    run.train_again()
    run.loses("b")
    assert run.state.phase is Phase.STOPPING
    assert run.state.cause is not None and "policy.lost_hosts is 1" in run.state.cause.message


def test_two_hosts_lost_at_once_are_one_move() -> None:
    run = training()
    run.loses("c", dead_in_s=5.0)
    run.loses("b", dead_in_s=20.0)
    run.those_told_to_end(None)
    run.after(3.0)
    run.those_told_to_end(None)
    run.after(5.0)
    assert run.state.phase is Phase.MOVING
    run.after(13.0)
    assert [item.generation for item in run.prepares()] == [1, 2]
    run.prepared(2)
    run.train_again()
    (over,) = run.recorded(events.MoveOver)
    assert isinstance(over, events.MoveOver)
    assert over.hosts == ("c", "b") and set(over.tasks.values()) == {"a"}
    assert set(over.tasks) == {"ps:1", "worker:0", "worker:1", "evaluator:0"}


def test_a_host_that_is_lost_before_training_begins_is_left_behind() -> None:
    run = moved()
    run.loses("b", dead_in_s=1.0)
    run.after(1.0)
    assert [item.generation for item in run.prepares()] == [1, 2, 3]
    assert {record.planned.host for record in run.state.tasks.values()} == {"a"}


def test_what_has_ended_is_not_started_again_and_what_failed_stays_failed() -> None:
    run = training(Policy(restarts={**Policy().restarts, Role.WORKER: 0}))
    run.exits("worker:0", 1)
    run.finished("worker:1")
    run.exits("worker:1")
    run.loses("b")
    run.after(2.0)
    run.those_told_to_end(None)
    run.after(20.0)
    run.prepared(2)
    assert [name for name, attempt in run.starts() if attempt == 2] == ["ps:0", "ps:1", "chief:0", "evaluator:0"]


def test_a_host_that_nobody_needs_any_more_is_done_without() -> None:
    run = training()
    run.finished(*TRAINERS)
    run.report("chief:0", protocol.CheckpointSaved(global_step=100, path="model.ckpt-100"))
    for name in TRAINERS:
        run.exits(name)
    assert run.state.phase is Phase.DRAINING
    run.loses("b")
    assert run.state.phase is Phase.DRAINING and run.states()["ps:1"] == "stopped"
    run.exits("ps:0", None, signal=15)
    run.exits("evaluator:0")
    ended = run.ended()
    assert ended is not None and ended.outcome is Outcome.SUCCEEDED


def test_the_last_evaluation_is_done_elsewhere() -> None:
    run = training()
    run.finished(*TRAINERS)
    for name in TRAINERS:
        run.exits(name)
    run.loses("c")
    run.exits("ps:0", None, signal=15)
    run.exits("ps:1", None, signal=15)
    run.after(10.0)
    run.prepared(2)
    assert run.starts()[-1] == ("evaluator:0", 2) and run.record("evaluator:0").planned.host != "c"
    assert run.state.phase is Phase.DRAINING and run.told_to("evaluator:0", protocol.Drain)
    run.exits("evaluator:0")
    ended = run.ended()
    assert ended is not None and ended.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("how", ["interrupt", "stop", "terminate", "kill"])
def test_a_run_is_stopped_while_it_moves(how: str) -> None:
    run = training()
    run.loses("c")
    run.happen(lifecycle.StopAsked, how=StopHow(how))
    run.those_told_to_end(None)
    ended = run.ended()
    assert ended is not None and ended.outcome is Outcome.INTERRUPTED
    assert len(run.prepares()) == 1


def test_a_deadline_holds_while_the_run_moves() -> None:
    run = training(Policy(timeout_s=100.0))
    run.loses("c", dead_in_s=500.0)
    run.those_told_to_end()
    run.after(100.0)
    ended = run.ended()
    assert ended is not None and ended.outcome is Outcome.TIMED_OUT


def test_an_agent_that_died_while_the_generation_was_prepared_is_asked_again() -> None:
    run = moved()
    run.happen(lifecycle.AgentRenewed, host="a")
    assert [item.generation for item in run.prepares()] == [1, 2, 2]


def test_the_only_host_is_no_matter_for_this_policy() -> None:
    run = Run(make_plan()).until_training()
    run.happen(lifecycle.HostLost, host="here", message="the keeper has died")
    assert run.state.cause is not None and run.state.cause.message == "host here: the keeper has died"


EVENTS = {
    **{name: act for name, act in HAPPEN.items() if name not in ("renewed", "tick")},
    "tick": lambda run, task, code: run.after(400),
    "renewed": lambda run, task, code: run.happen(lifecycle.AgentRenewed, host=LAYOUT[task]),
    "lost": lambda run, task, code: run.loses(LAYOUT[task]),
    "prepared": lambda run, task, code: run.prepared(run.state.generation.number),
    "ended": lambda run, task, code: run.those_told_to_end(code[0]),
}


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[str, str, object]]:
    kinds = st.sampled_from([*sorted(EVENTS), "lost", "prepared", "ended", "tick"])
    return [
        (draw(kinds), draw(st.sampled_from(sorted(LAYOUT))), draw(st.sampled_from(CODES)))
        for _ in range(draw(st.integers(0, 40)))
    ]


@settings(max_examples=int(os.environ.get("TFLAUNCH_EXAMPLES", "60")))
@example([(kind, "chief:0", (0, None)) for kind in ("renewed", "stop", "lost", "tick")], Success.CHIEF, ALL)
@given(stories(), st.sampled_from(Success), st.sampled_from([ALL, ()]))
def test_whatever_hosts_are_lost_a_run_can_be_ended(
    story: list[tuple[str, str, object]], success: Success, adjustments: tuple[str, ...]
) -> None:
    run = Cluster(spread(Policy(success=success), adjustments=adjustments))
    run.begin()
    for kind, task, code in story:
        if not run.ended():
            EVENTS[kind](run, task, code)
            where = {record.planned.host for record in run.state.tasks.values() if record.alive}
            assert not where & run.state.lost, "nothing is alive on a lost host"
    if run.ended() is None:
        run.happen(lifecycle.StopAsked, how=StopHow.KILL)
        run.happen(lifecycle.StopAsked, how=StopHow.KILL)
        for name in LAYOUT:
            run.exits(name, None, signal=9)
    assert run.ended() is not None
    assert all(record.state.final for record in run.state.tasks.values())
