"""The lifecycle, told what happens by hand: who starts, waits, is restarted and stopped, and how the run ends."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import lifecycle
from launcher.lifecycle.state.deadlines import LATE_S
from launcher.plan.model import Plan, PlannedHost, PlannedTask
from launcher.record import events
from launcher.record.states import Outcome, Phase, StopHow, TaskState
from launcher.spec.policy import DEFAULT_USED_UP, Policy, Success, UsedUp
from launcher.wire import protocol
from launcher.wire.roles import Role, TaskId

ALL = ("session-gate", "final-save", "eval-drain", "save-on-term", "heartbeat", "port-guard")
ALL_MATTER = {**DEFAULT_USED_UP, Role.WORKER: UsedUp.FAIL}
ONE_OF_EACH = ("ps:0", "chief:0", "worker:0", "worker:1", "evaluator:0")


def make_plan(
    *names: str, policy: Policy | None = None, adjustments: tuple[str, ...] = ALL, max_steps: int | None = 100
) -> Plan:
    tasks = tuple(
        PlannedTask(
            task=TaskId.parse(name), host="here", argv=("python", "job.py"), program=("job.py",), cwd="/", env={}
        )
        for name in names or ONE_OF_EACH
    )
    return Plan(
        name="test",
        model_dir="/model",
        hosts=(PlannedHost(name="here", address="127.0.0.1"),),
        tasks=tasks,
        policy=policy or Policy(),
        preload=(),
        adjustments=adjustments,
        max_steps=max_steps,
    )


class Run:
    """A run in a test: says what happens, keeps what was asked for."""

    def __init__(self, plan: Plan) -> None:
        self.lifecycle = lifecycle.Lifecycle(plan)
        self.state = self.lifecycle.state
        self.now = 1000.0
        self.actions: list[lifecycle.Action] = []

    def happen(self, kind: type[lifecycle.Happening], **values: object) -> list[lifecycle.Action]:
        actions = self.lifecycle.step(kind(now=self.now, **values))
        self.actions += actions
        return list(actions)

    def told(self, body: protocol.Message) -> list[lifecycle.Action]:
        return self.happen(lifecycle.Told, host="here", body=body)

    def record(self, task: str) -> lifecycle.TaskRecord:
        return self.state.tasks[TaskId.parse(task)]

    def allocate(self) -> list[lifecycle.Action]:
        """Every host is granted, and answers; gives what is done about the last one."""
        actions = self.happen(lifecycle.Begun)
        for host in self.state.plan.hosts:
            self.happen(lifecycle.HostGranted, host=host)
        for host in self.state.plan.hosts:
            actions = self.happen(lifecycle.HostAnswers, host=host.name)
        return actions

    def begin(self) -> Run:
        self.allocate()
        ports = {task.name: 4000 + n for n, task in enumerate(self.state.tasks)}
        self.told(protocol.Reserved(generation=1, ports=ports))
        self.told(protocol.Locked(path="/model"))
        return self

    def started(self, *tasks: str) -> None:
        for task in tasks:
            attempt = self.record(task).attempt.number
            self.told(protocol.Started(generation=1, task=task, attempt=attempt, pid=7, start="fork"))

    def listening(self, task: str) -> list[lifecycle.Action]:
        return self.told(protocol.Listening(task=task, attempt=self.record(task).attempt.number, port=1))

    def report(self, task: str, message: protocol.Message) -> list[lifecycle.Action]:
        return self.told(protocol.Reported(task=task, attempt=self.record(task).attempt.number, report=message))

    def trains(self, *tasks: str, step: int = 10) -> None:
        for task in tasks:
            self.report(task, protocol.Ready(global_step=0))
            self.report(task, protocol.Step(global_step=step, local_steps=5))

    def finished(self, *tasks: str, step: int = 100) -> None:
        for task in tasks:
            self.report(task, protocol.Finished(global_step=step, local_steps=step))

    def exits(
        self, task: str, code: int | None = 0, *, signal: int | None = None, tail: str = "", resisted_s: float = 0.0
    ) -> list[lifecycle.Action]:
        body = protocol.Exited(
            task=task,
            attempt=self.record(task).attempt.number,
            exit_code=code if signal is None else None,
            signal=signal,
            tail=tail,
            resisted_s=resisted_s,
        )
        return self.told(body)

    def until_training(self) -> Run:
        self.begin()
        names = [task.name for task in self.state.tasks]
        self.started(*(name for name in names if self.record(name).attempt.number))
        for name in names:
            if name.startswith("ps"):
                self.listening(name)
        self.trains(*(name for name in names if TaskId.parse(name).role.trains))
        return self

    def after(self, seconds: float) -> list[lifecycle.Action]:
        self.now += seconds
        actions = self.happen(lifecycle.Ticked)
        for asked in [action for action in actions if isinstance(action, lifecycle.TakeStacks)]:
            actions += self.told(protocol.Stacks(task=asked.task.name, attempt=asked.attempt, pid=7, state="S"))
        assert self.lifecycle.next_wakeup() > self.now, "the supervisor would never rest"
        return actions

    def starts(self) -> list[tuple[str, int]]:
        return [(item.task.name, item.attempt) for item in self.actions if isinstance(item, lifecycle.StartTask)]

    def told_to(self, task: str | None, kind: type[protocol.Message]) -> list[protocol.Message]:
        return [
            item.message
            for item in self.actions
            if isinstance(item, lifecycle.TellTask)
            and (item.task.name if item.task else None) == task
            and isinstance(item.message, kind)
        ]

    def stops(self) -> list[str]:
        return [item.task.name for item in self.actions if isinstance(item, lifecycle.StopTask)]

    def ended(self) -> lifecycle.End | None:
        return next((item for item in self.actions if isinstance(item, lifecycle.End)), None)

    def end_stopping(self) -> lifecycle.End:
        """Lets everything that was asked to stop do so, until the run has ended."""
        for _ in range(len(self.state.tasks) + 1):
            for record in list(self.state.tasks.values()):
                if record.state in (TaskState.STOPPING, TaskState.DRAINING):
                    self.exits(record.task.name, 0)
        end = self.ended()
        assert end is not None, {record.task.name: record.state for record in self.state.tasks.values()}
        return end


def test_nothing_starts_before_ports_and_lock_are_held() -> None:
    run = Run(make_plan())
    assert any(isinstance(action, lifecycle.Prepare) for action in run.allocate())
    run.told(protocol.Reserved(generation=1, ports={}))
    assert run.starts() == []
    run.told(protocol.Locked(path="/model"))
    assert [task for task, _ in run.starts()] == list(ONE_OF_EACH)


def test_gate_opens_when_every_ps_is_proven() -> None:
    run = Run(make_plan("ps:0", "ps:1", "chief:0")).begin()
    run.started("ps:0", "ps:1", "chief:0")
    assert [item.task.name for item in run.actions if isinstance(item, lifecycle.ProveTask)] == ["ps:0", "ps:1"]
    run.listening("ps:0")
    assert run.told_to(None, protocol.Gate) == []
    run.listening("ps:1")
    assert run.told_to(None, protocol.Gate) == [protocol.Gate(open=True, variables_alive=False)]


def test_trainers_that_cannot_wait_inside_start_after_the_gate() -> None:
    run = Run(make_plan(adjustments=())).begin()
    assert [task for task, _ in run.starts()] == ["ps:0", "evaluator:0"]
    run.started("ps:0")
    run.listening("ps:0")
    assert [task for task, _ in run.starts()] == ["ps:0", "evaluator:0", "chief:0", "worker:0", "worker:1"]


def test_a_whole_run_ends_in_order() -> None:
    run = Run(make_plan()).until_training()
    run.finished("chief:0")
    assert run.told_to("chief:0", protocol.Barrier) == []
    run.finished("worker:0")
    run.finished("worker:1")
    assert run.told_to("chief:0", protocol.Barrier) == [protocol.Barrier()]
    for task in ("worker:0", "worker:1", "chief:0"):
        assert run.ended() is None
        run.exits(task)
    assert run.stops() == ["ps:0"]
    assert run.told_to("evaluator:0", protocol.Drain) == [protocol.Drain(global_step=100)]
    run.exits("ps:0", None, signal=15)
    run.exits("evaluator:0")
    end = run.ended()
    assert end is not None and end.outcome is Outcome.SUCCEEDED and end.cause is None
    assert run.state.phase is Phase.ENDED


@pytest.mark.parametrize(("trained", "warned"), [(True, False), (False, True)])
def test_a_chief_that_returns_without_having_trained_is_told(trained: bool, warned: bool) -> None:
    run = Run(make_plan())
    run.begin()
    run.started("ps:0", "chief:0", "worker:0", "worker:1", "evaluator:0")
    run.listening("ps:0")
    run.trains("worker:0", "worker:1", *["chief:0"] * trained)
    for task in ("chief:0", "worker:0", "worker:1"):
        run.exits(task)
    told = [item.event for item in run.actions if isinstance(item, lifecycle.Record)]
    words = [event.message for event in told if isinstance(event, events.Noticed)]
    assert any("chief:0 has not trained a step" in message for message in words) == warned


def test_the_evaluator_is_drained_as_soon_as_the_last_checkpoint_is_there() -> None:
    run = Run(make_plan()).until_training()
    run.report("chief:0", protocol.CheckpointSaved(global_step=50, path="/m/50"))
    run.finished("worker:0", "worker:1", "chief:0")
    assert run.told_to("evaluator:0", protocol.Drain) == []
    run.report("chief:0", protocol.CheckpointSaved(global_step=100, path="/m/100"))
    assert run.told_to("evaluator:0", protocol.Drain) == [protocol.Drain(global_step=100)]
    run.exits("evaluator:0")
    for task in ("worker:0", "worker:1", "chief:0"):
        run.exits(task)
    assert run.end_stopping().outcome is Outcome.SUCCEEDED


def test_barrier_waits_for_a_worker_that_will_be_restarted() -> None:
    run = Run(make_plan(max_steps=None)).until_training()
    run.exits("worker:1", None, signal=9)
    run.finished("chief:0", "worker:0")
    assert run.told_to("chief:0", protocol.Barrier) == []
    run.after(5)
    run.started("worker:1")
    run.trains("worker:1")
    run.finished("worker:1")
    assert run.told_to("chief:0", protocol.Barrier) == [protocol.Barrier()]


def test_a_chief_that_dies_behind_the_barrier_is_told_again_when_it_is_back() -> None:
    run = Run(make_plan()).until_training()
    run.finished("worker:0", "worker:1", "chief:0")
    for worker in ("worker:0", "worker:1"):
        run.exits(worker)
    assert run.told_to("chief:0", protocol.Barrier) == [protocol.Barrier()]
    run.exits("chief:0", code=None, signal=6)
    run.after(120)
    run.started("chief:0")
    run.finished("chief:0")
    assert run.told_to("chief:0", protocol.Barrier) == [protocol.Barrier()] * 2


def test_barrier_does_not_wait_for_a_worker_that_comes_after_the_last_step() -> None:
    run = Run(make_plan(max_steps=100)).until_training()
    run.exits("worker:1", None, signal=9)
    run.finished("worker:0", "chief:0")
    assert run.told_to("chief:0", protocol.Barrier) == [protocol.Barrier()]


def test_a_killed_worker_is_restarted_in_place() -> None:
    run = Run(make_plan()).until_training()
    run.exits("worker:0", None, signal=9)
    assert run.starts()[-1] == ("worker:0", 2)
    run.started("worker:0")
    run.now += 3
    run.trains("worker:0")
    recovered = [
        item.event for item in run.actions if isinstance(item, lifecycle.Record) and item.event.kind == "recovered"
    ]
    assert [(event.task, event.recovered_s) for event in recovered] == [("worker:0", 3.0)]


def test_back_off_doubles_and_restarts_are_used_up() -> None:
    policy = Policy(restarts={**Policy().restarts, Role.WORKER: 3}, success=Success.ALL_WORKERS, used_up=ALL_MATTER)
    run = Run(make_plan(policy=policy)).until_training()
    waits = []
    for _ in range(3):
        run.exits("worker:0", None, signal=9)
        waits.append(run.record("worker:0").restart_at - run.now)
        if run.record("worker:0").state is TaskState.BACKOFF:
            run.after(waits[-1])
        else:
            waits[-1] = 0.0
        run.started("worker:0")
        run.trains("worker:0")
    assert waits == [0.0, 1.0, 2.0]
    run.exits("worker:0", None, signal=9)
    assert run.record("worker:0").state is TaskState.FAILED
    end = run.end_stopping()
    assert end.outcome is Outcome.FAILED and end.cause is not None and end.cause.task == "worker:0"


@pytest.mark.parametrize(
    ("task", "outcome"),
    [
        ("worker:0", Outcome.SUCCEEDED),
        ("evaluator:0", Outcome.FAILED),
        ("chief:0", Outcome.FAILED),
        ("ps:0", Outcome.FAILED),
    ],
)
def test_what_a_final_failure_means(task: str, outcome: Outcome) -> None:
    run = Run(make_plan(policy=Policy(restarts=dict.fromkeys(Role, 0)))).until_training()
    run.exits(task, 1)
    assert run.record(task).state is TaskState.FAILED
    trainers = [name for name in ("worker:0", "worker:1", "chief:0") if name != task]
    if run.state.phase is Phase.TRAINING:
        run.finished(*trainers)
        for name in trainers:
            run.exits(name)
    end = run.end_stopping()
    assert end.outcome is outcome
    assert (end.cause.task if end.cause else None) == (None if outcome is Outcome.SUCCEEDED else task)


def test_wrong_arguments_are_not_tried_again() -> None:
    run = Run(make_plan()).begin()
    run.started(*ONE_OF_EACH)
    run.exits("chief:0", 2, tail="job.py: error: unrecognized arguments: --setps\n")
    end = run.end_stopping()
    assert end.cause is not None and end.cause.kind == "arguments"
    assert "unrecognized arguments: --setps" in end.cause.message
    assert run.starts().count(("chief:0", 2)) == 0


def test_an_error_before_training_is_tried_once_more() -> None:
    run = Run(make_plan()).begin()
    run.started(*ONE_OF_EACH)
    run.exits("chief:0", 1)
    run.after(5)
    run.started("chief:0")
    run.exits("chief:0", 1)
    assert run.record("chief:0").state is TaskState.FAILED


@pytest.mark.parametrize(
    ("errors", "state"),
    [
        (["ValueError: a", "ValueError: b", "ValueError: c"], TaskState.FAILED),
        (["ValueError: a", "KeyError: 'b'", "ValueError: c"], TaskState.BACKOFF),
        (["x.UnavailableError: a"] * 3, TaskState.BACKOFF),
    ],
)
def test_the_third_failure_in_a_row_of_the_same_kind_is_the_last(errors: list[str], state: TaskState) -> None:
    run = Run(make_plan(policy=Policy(restarts=dict.fromkeys(Role, 9)))).until_training()
    for error in errors:
        run.exits("worker:0", 1, tail=f'Traceback (most recent call last):\n  File "j.py", line 3, in go\n{error}\n')
        last = run.record("worker:0").state
        run.after(9)
        if last is not TaskState.FAILED:
            run.started("worker:0")
            run.trains("worker:0")
    assert last is state
    reasons = [getattr(item.event, "reason", "") for item in run.actions if isinstance(item, lifecycle.Record)]
    assert any("since it failed three times the same way" in reason for reason in reasons) is (last is TaskState.FAILED)


def test_knock_on_failures_do_not_become_the_cause() -> None:
    run = Run(make_plan(policy=Policy(restarts=dict.fromkeys(Role, 0)))).until_training()
    error = "tensorflow.python.framework.errors_impl.UnavailableError: Socket closed"
    unavailable = f'Traceback (most recent call last):\n  File "j.py", line 3, in go\n{error}\n'
    run.exits("worker:0", None, signal=11)
    run.exits("chief:0", 1, tail=unavailable)
    end = run.end_stopping()
    assert end.cause is not None and (end.cause.task, end.cause.kind) == ("worker:0", "signal")


def test_a_lost_ps_shuts_the_gate_and_a_chief_must_restore() -> None:
    run = Run(make_plan()).until_training()
    run.exits("ps:0", None, signal=9)
    run.started("ps:0")
    run.listening("ps:0")
    gates = run.told_to(None, protocol.Gate)
    assert [(gate.open, gate.variables_alive) for gate in gates[-2:]] == [(False, False), (True, False)]
    run.report("chief:0", protocol.Ready(global_step=5))
    assert run.told_to(None, protocol.Gate)[-1] == protocol.Gate(open=True, variables_alive=True)


def test_the_gate_waits_until_the_folder_that_the_chief_names_is_locked() -> None:
    run = Run(make_plan()).begin()
    run.started(*ONE_OF_EACH)
    actions = run.report("chief:0", protocol.Begun(training="/own#1", model_dir="/own"))
    assert lifecycle.LockModelDir(path="/own", task=TaskId(Role.CHIEF, 0)) in actions
    run.listening("ps:0")
    assert not any(gate.open for gate in run.told_to(None, protocol.Gate))
    run.told(protocol.Locked(path="/own"))
    assert run.told_to(None, protocol.Gate)[-1] == protocol.Gate(open=True, model_dir="/own")


def test_interrupt_saves_evaluates_and_ends() -> None:
    run = Run(make_plan()).until_training()
    run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    for task in ("chief:0", "worker:0", "worker:1"):
        assert run.told_to(task, protocol.StopTraining)
    run.finished("chief:0", "worker:0", step=50)
    assert run.told_to("chief:0", protocol.Barrier) == []
    run.exits("worker:1")
    assert run.told_to("chief:0", protocol.Barrier) == [protocol.Barrier()]
    run.exits("worker:0")
    run.exits("chief:0")
    assert run.stops() == ["ps:0"]
    assert run.told_to("evaluator:0", protocol.Drain)
    end = run.end_stopping()
    assert (end.outcome, end.how) == (Outcome.INTERRUPTED, "interrupt")


@pytest.mark.parametrize("is_draining", [False, True])
def test_an_evaluation_after_ctrl_c_has_the_grace_time(is_draining: bool) -> None:
    run = Run(make_plan(policy=Policy(grace_s=7))).until_training()
    if not is_draining:
        run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    run.finished("chief:0", "worker:0", "worker:1", step=50)
    for task in ("worker:0", "worker:1", "chief:0"):
        run.exits(task)
    assert run.state.phase is Phase.DRAINING
    if is_draining:
        run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    else:
        assert "waiting for evaluator:0, up to 7 s" in str(run.actions)
    run.after(7)
    assert "evaluator:0" in run.stops()
    assert run.end_stopping().outcome is Outcome.INTERRUPTED


def test_a_terminated_run_evaluates_no_more() -> None:
    run = Run(make_plan()).until_training()
    run.finished("chief:0", "worker:0", "worker:1", step=50)
    for task in ("worker:0", "worker:1", "chief:0"):
        run.exits(task)
    run.happen(lifecycle.StopAsked, how=StopHow.TERMINATE)
    assert "evaluator:0" in run.stops()


@pytest.mark.parametrize(
    ("endless", "how", "outcome"),
    [
        (True, "stop", Outcome.SUCCEEDED),
        (True, "interrupt", Outcome.INTERRUPTED),
        (False, "stop", Outcome.INTERRUPTED),
    ],
)
def test_tflaunch_stop_is_the_end_of_an_endless_input(endless: bool, how: str, outcome: Outcome) -> None:
    run = Run(make_plan()).until_training()
    said = run.report("chief:0", protocol.InputState(examples=5, pending=1, endless=endless))
    counted = events.InputCounted(examples=5, pending=1, endless=endless)
    assert [item.event for item in said if isinstance(item, lifecycle.Record)] == [counted]
    run.happen(lifecycle.StopAsked, how=StopHow(how))
    run.finished("chief:0", "worker:0", "worker:1", step=50)
    for task in ("worker:0", "worker:1", "chief:0"):
        run.exits(task)
    end = run.end_stopping()
    assert end.outcome is outcome


def test_who_has_nothing_to_train_on_does_not_hang() -> None:
    run = Run(make_plan(policy=Policy(hang_timeout_s=30))).until_training()
    for _ in range(3):
        run.after(29)
        run.report("chief:0", protocol.InputState(examples=5, endless=True))
    assert run.state.outcome is Outcome.SUCCEEDED
    run.report("chief:0", protocol.InputState(examples=5, held=1, endless=True))
    run.after(31)
    assert run.state.outcome is Outcome.TIMED_OUT


def test_trainers_that_do_not_stop_at_a_word_get_signals() -> None:
    run = Run(make_plan(policy=Policy(grace_s=7))).until_training()
    run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    assert run.stops() == []
    assert run.lifecycle.next_wakeup() == run.now + 7
    run.after(7)
    assert run.stops() == ["chief:0", "worker:0", "worker:1"]
    run.after(7)
    assert run.stops() == ["chief:0", "worker:0", "worker:1"]


def test_who_has_to_be_killed_is_named() -> None:
    run = Run(make_plan(policy=Policy(grace_s=7))).until_training()
    run.happen(lifecycle.StopAsked, how=StopHow.TERMINATE)
    actions = []
    for task in ("worker:0", "chief:0", "worker:1", "ps:0"):
        resisted_s = 7.0 if task in ("worker:0", "ps:0") else 0.0
        actions += run.exits(task, signal=9 if resisted_s else 15, resisted_s=resisted_s)
    noted = [item.event for item in actions if isinstance(item, lifecycle.Record)]
    told = [event.message for event in noted if isinstance(event, events.Noticed) and "SIGTERM" in event.message]
    assert told == ["worker:0 did not end within 7 s of SIGTERM: it was killed"]


def test_the_supervisor_rests_while_a_deaf_worker_outlives_the_chief() -> None:
    run = Run(make_plan(policy=Policy(grace_s=7))).until_training()
    run.happen(lifecycle.StopAsked, how=StopHow.HANGUP)
    run.exits("chief:0")
    for _ in range(4):
        run.after(run.lifecycle.next_wakeup() - run.now)


@pytest.mark.parametrize("adjustments", [(), ALL])
def test_trainers_that_cannot_hear_get_signals_at_once(adjustments: tuple[str, ...]) -> None:
    run = Run(make_plan(adjustments=adjustments)).begin()
    run.started("ps:0")
    run.listening("ps:0")
    run.started("chief:0", "worker:0", "worker:1")
    run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    assert run.stops() == ["chief:0", "worker:0", "worker:1"]


def test_second_interrupt_stops_at_once() -> None:
    run = Run(make_plan()).until_training()
    run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    actions = run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT)
    assert {item.grace_s for item in actions if isinstance(item, lifecycle.StopTask)} == {0.0}
    assert run.end_stopping().outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize("how", [StopHow.TERMINATE, StopHow.HANGUP, StopHow.INTERRUPT])
@pytest.mark.parametrize("is_said_to_all", [True, False])
def test_an_end_that_is_announced_to_several_processes_comes_once(how: StopHow, is_said_to_all: bool) -> None:
    """A scheduler tells each of them; a user who says it again is in a hurry."""
    plan = make_plan()
    hosts = (replace(host, traits=replace(host.traits, says_when_to_end=is_said_to_all)) for host in plan.hosts)
    run = Run(replace(plan, hosts=tuple(hosts))).until_training()
    run.happen(lifecycle.StopAsked, how=StopHow.TERMINATE)
    run.happen(lifecycle.StopAsked, how=how)
    is_at_once = run.lifecycle.state.phase is Phase.STOPPING
    assert is_at_once is (not is_said_to_all or how is StopHow.INTERRUPT)


def test_stop_before_anything_started_ends_the_run() -> None:
    run = Run(make_plan())
    run.allocate()
    run.happen(lifecycle.StopAsked, how=StopHow.TERMINATE)
    end = run.ended()
    assert end is not None and end.outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize(
    ("policy", "seconds", "kind"),
    [
        (Policy(timeout_s=60), 61, "timeout"),
        (Policy(hang_timeout_s=30), 31, "hang"),
    ],
)
def test_time_limits(policy: Policy, seconds: float, kind: str) -> None:
    run = Run(make_plan(policy=policy)).until_training()
    assert run.lifecycle.next_wakeup() <= run.now + seconds
    run.after(seconds)
    for task in ("worker:0", "worker:1", "chief:0"):
        run.exits(task)
    end = run.end_stopping()
    assert end.outcome is Outcome.TIMED_OUT and end.cause is not None and end.cause.kind == kind


def test_a_deadline_counts_from_the_beginning_and_ends_what_has_not_started() -> None:
    run = Run(make_plan(policy=Policy(timeout_s=60)))
    assert run.happen(lifecycle.Ticked) == []
    run.allocate()
    run.after(59)
    assert run.ended() is None
    run.after(1)
    end = run.ended()
    assert end is not None and end.outcome is Outcome.TIMED_OUT


def test_a_ps_that_never_listens_times_out() -> None:
    run = Run(make_plan()).begin()
    run.started(*ONE_OF_EACH)
    run.after(LATE_S)
    assert run.lifecycle.next_wakeup() == math.inf, "nobody is known to need it"
    run.report("worker:0", protocol.Uses(what=protocol.SESSION))
    run.after(run.lifecycle.next_wakeup() - run.now)
    end = run.end_stopping()
    assert end.outcome is Outcome.TIMED_OUT and end.cause is not None and end.cause.task == "ps:0"


def test_a_bounded_drain() -> None:
    run = Run(make_plan(policy=Policy(evaluator_drain_s=9))).until_training()
    for task in ("worker:0", "worker:1", "chief:0"):
        run.exits(task)
    run.exits("ps:0", None, signal=15)
    run.after(9)
    end = run.end_stopping()
    assert end.outcome is Outcome.TIMED_OUT and end.cause is not None and end.cause.task == "evaluator:0"


def test_late_workers_are_stopped_after_the_grace_time() -> None:
    run = Run(make_plan(policy=Policy(grace_s=7))).until_training()
    run.exits("chief:0")
    assert run.stops() == []
    run.after(7)
    assert run.stops() == ["worker:0", "worker:1"]
    assert run.end_stopping().outcome is Outcome.SUCCEEDED


def test_all_workers_policy_waits_for_everybody() -> None:
    run = Run(make_plan(policy=Policy(grace_s=7, success=Success.ALL_WORKERS, used_up=ALL_MATTER))).until_training()
    run.exits("chief:0")
    run.after(3600 * 5)
    assert "worker:0" not in run.stops() or run.state.outcome is Outcome.TIMED_OUT


def test_a_foreign_listener_ends_the_run() -> None:
    run = Run(make_plan()).begin()
    run.started(*ONE_OF_EACH)
    run.told(protocol.Refused(command="prove", task="ps:0", attempt=1, message="port 4000: pid 77 listens"))
    end = run.end_stopping()
    assert end.cause is not None and end.cause.kind == "host" and "pid 77" in end.cause.message


def test_a_renewed_agent_means_that_its_tasks_died() -> None:
    run = Run(make_plan()).until_training()
    run.happen(lifecycle.AgentRenewed, host="here")
    run.after(10)
    assert {task for task, attempt in run.starts() if attempt == 2} == set(ONE_OF_EACH)


def test_what_dies_while_the_run_is_being_ended_does_not_change_how_it_ended() -> None:
    run = Run(make_plan()).until_training()
    run.happen(lifecycle.StopAsked, how=StopHow.HANGUP)
    run.happen(lifecycle.AgentRenewed, host="here")
    end = run.ended()
    assert end is not None and (end.outcome, end.how) == (Outcome.INTERRUPTED, "hangup")
    assert end.cause is not None  # nothing was saved, and why is told


def test_a_renewed_agent_is_told_how_the_gate_stands() -> None:
    plan = make_plan()
    tasks = tuple(replace(item, host="other" if item.task.name == "worker:1" else "here") for item in plan.tasks)
    run = Run(replace(plan, hosts=(*plan.hosts, PlannedHost(name="other", address="other")), tasks=tasks))
    run.happen(lifecycle.Told, host="other", body=protocol.Reserved(generation=1, ports={}))
    run.happen(lifecycle.Told, host="other", body=protocol.Seen(path="/model"))
    run.until_training()
    assert run.state.generation.gate.open
    asked = run.happen(lifecycle.AgentRenewed, host="other")
    assert lifecycle.TellTask(task=None, message=run.state.generation.gate) in asked


def test_a_lost_host_ends_the_run() -> None:
    run = Run(make_plan()).until_training()
    run.happen(lifecycle.HostLost, host="here", message="the keeper has died")
    end = run.ended()
    assert end is not None and end.cause is not None and end.cause.kind == "host" and "keeper" in end.cause.message


def test_every_host_that_trains_or_evaluates_sees_the_model_dir_before_anything_starts() -> None:
    plan = make_plan()
    homes = {"ps:0": "store", "chief:0": "a", "worker:0": "a", "worker:1": "b", "evaluator:0": "c"}
    tasks = tuple(replace(planned, host=homes[planned.task.name]) for planned in plan.tasks)
    hosts = tuple(PlannedHost(name=name, address=name) for name in ("store", "a", "b", "c"))
    run = Run(replace(plan, hosts=hosts, tasks=tasks))
    run.allocate()
    for host in ("store", "a", "b", "c"):
        run.happen(lifecycle.Told, host=host, body=protocol.Reserved(generation=1, ports={}))
    asked = run.happen(lifecycle.Told, host="a", body=protocol.Locked(path="/model"))
    assert lifecycle.SeeModelDir(path="/model", hosts=frozenset({"b", "c"})) in asked
    run.happen(lifecycle.Told, host="b", body=protocol.Seen(path="/model"))
    assert run.starts() == []
    run.happen(lifecycle.Told, host="c", body=protocol.Seen(path="/model"))
    assert len(run.starts()) == len(tasks)


def test_a_host_that_has_another_folder_there_ends_the_run() -> None:
    run = Run(make_plan())
    run.allocate()
    refused = protocol.Refused(command="see_model_dir", message="model_dir /model is not the folder ...")
    run.happen(lifecycle.Told, host="here", body=refused)
    end = run.ended()
    assert end is not None and end.cause is not None
    assert end.cause.kind == "host" and "shared" in end.cause.advice


@pytest.mark.parametrize("how", ["hangup", "terminate"])
def test_without_a_terminal_or_time_nothing_is_evaluated(how: str) -> None:
    run = Run(make_plan()).until_training()
    run.happen(lifecycle.StopAsked, how=StopHow(how))
    for task in ("worker:0", "worker:1", "chief:0"):
        run.exits(task)
    assert run.told_to("evaluator:0", protocol.Drain) == []
    assert run.end_stopping().outcome is Outcome.INTERRUPTED


def test_old_attempts_say_nothing_any_more() -> None:
    run = Run(make_plan()).until_training()
    run.exits("worker:0", None, signal=9)
    before = repr(run.state)
    run.told(protocol.Exited(task="worker:0", attempt=1, exit_code=1, signal=None))
    assert repr(run.state) == before


HAPPEN = {
    "exit": lambda run, task, code: run.exits(task, code[0], signal=code[1]),
    "started": lambda run, task, code: run.started(task),
    "listening": lambda run, task, code: run.listening(task),
    "ready": lambda run, task, code: run.report(task, protocol.Ready(global_step=1)),
    "step": lambda run, task, code: run.report(task, protocol.Step(global_step=3, local_steps=1)),
    "finished": lambda run, task, code: run.finished(task, step=4),
    "tick": lambda run, task, code: run.after(400),
    "stop": lambda run, task, code: run.happen(lifecycle.StopAsked, how=StopHow.INTERRUPT),
    "renewed": lambda run, task, code: run.happen(lifecycle.AgentRenewed, host="here"),
    "restart": lambda run, task, code: run.happen(lifecycle.RestartAsked, task=TaskId.parse(task)),
}
DRILLS = tuple(
    f"{fault} {when}"
    for fault in (
        "kill ps:0",
        "pause chief:0 for 500s",
        "exit worker:0 with 3",
        "kill evaluator:0",
        "pause ps:0 for 9s",
    )
    for when in ("at step 3", "after 350s")
)
CODES = [(0, None), (1, None), (2, None), (None, 9), (None, 11)]


@st.composite
def happenings(draw: st.DrawFn) -> list[tuple[str, str, object]]:
    kinds = st.sampled_from(sorted(HAPPEN))
    return [
        (draw(kinds), draw(st.sampled_from(ONE_OF_EACH)), draw(st.sampled_from(CODES)))
        for _ in range(draw(st.integers(0, 40)))
    ]


@settings(max_examples=int(os.environ.get("TFLAUNCH_EXAMPLES", "150")))
@given(happenings(), st.sampled_from(Success), st.sampled_from([ALL, ()]), st.sampled_from([DRILLS, ()]))
def test_whatever_happens_a_run_can_be_ended(
    story: list[tuple[str, str, object]], success: Success, adjustments: tuple[str, ...], inject: tuple[str, ...]
) -> None:
    plan = make_plan(policy=replace(Policy(), success=success), adjustments=adjustments)
    run = Run(replace(plan, inject=inject)).begin()
    for kind, task, code in story:
        if not run.ended():
            HAPPEN[kind](run, task, code)
    if run.ended() is None:
        run.happen(lifecycle.StopAsked, how=StopHow.KILL)
        run.happen(lifecycle.StopAsked, how=StopHow.KILL)
        for record in list(run.state.tasks.values()):
            run.exits(record.task.name, None, signal=9)
    assert run.ended() is not None
    assert all(record.state.final for record in run.state.tasks.values())


def at_the_barrier(policy: Policy, *, step: int) -> Run:
    """The chief has done its last step, worker:0 too; worker:1 hangs."""
    run = Run(make_plan(policy=policy)).until_training()
    run.finished("chief:0", "worker:0", step=step)
    assert run.record("worker:1").state is TaskState.TRAINING
    assert not run.told_to("chief:0", protocol.Barrier)
    return run


@pytest.mark.parametrize(("step", "bound_s"), [(100, 30.0), (60, 500.0)], ids=["last step reached", "input ended"])
def test_a_worker_that_hangs_is_left_behind(step: int, bound_s: float) -> None:
    run = at_the_barrier(Policy(hang_timeout_s=500.0, grace_s=30.0), step=step)
    run.after(bound_s - 1.0)
    assert not run.stops()
    run.after(1.0)
    assert run.stops() == ["worker:1"]
    run.exits("worker:1", None, signal=9)
    assert run.told_to("chief:0", protocol.Barrier)
    for task in ("chief:0", "worker:0", "evaluator:0"):
        run.exits(task, 0)
    end = run.end_stopping()
    assert (end.outcome, end.cause) == (Outcome.SUCCEEDED, None)


def test_where_each_worker_matters_one_that_hangs_times_the_run_out() -> None:
    policy = Policy(hang_timeout_s=500.0, success=Success.ALL_WORKERS, used_up=ALL_MATTER)
    run = at_the_barrier(policy, step=60)
    run.after(500.0)
    run.exits("worker:1", None, signal=9)
    assert run.told_to("chief:0", protocol.Barrier), "what was trained is saved all the same"
    for task in ("chief:0", "worker:0", "evaluator:0"):
        run.exits(task, 0)
    end = run.end_stopping()
    assert end.outcome is Outcome.TIMED_OUT and end.cause is not None
    assert (end.cause.task, end.cause.kind) == ("worker:1", "hang")


def test_a_worker_that_goes_on_training_is_waited_for() -> None:
    run = at_the_barrier(Policy(hang_timeout_s=500.0), step=60)
    for step in range(61, 65):
        run.after(400.0)
        run.report("worker:1", protocol.Step(global_step=step, local_steps=step))
    assert not run.stops()


def test_restarts_of_long_ago_do_not_count() -> None:
    policy = Policy(restarts={**Policy().restarts, Role.WORKER: 1}, restart_window_s=3600.0, hang_timeout_s=None)
    run = Run(make_plan(policy=policy)).until_training()
    for _ in range(3):
        run.exits("worker:0", None, signal=9)
        assert run.record("worker:0").state is TaskState.STARTING, "the first of late comes back at once"
        run.started("worker:0")
        run.trains("worker:0")
        run.now += 3600.0
    run.exits("worker:0", None, signal=9)
    run.started("worker:0")
    run.trains("worker:0")
    run.now += 3599.0
    run.exits("worker:0", None, signal=9)
    assert run.record("worker:0").state is TaskState.FAILED


@pytest.mark.parametrize(
    ("used_up", "outcome"),
    [(UsedUp.GO_ON, Outcome.SUCCEEDED), (UsedUp.FAIL_AT_END, Outcome.FAILED), (UsedUp.FAIL, Outcome.FAILED)],
)
def test_what_a_task_that_failed_for_good_means(used_up: UsedUp, outcome: Outcome) -> None:
    for task in ("worker:1", "evaluator:0"):
        role = TaskId.parse(task).role
        policy = Policy(restarts={**Policy().restarts, role: 0}, used_up={**DEFAULT_USED_UP, role: used_up})
        run = Run(make_plan(policy=policy)).until_training()
        run.exits(task, 1)
        assert ("chief:0" in run.stops() or bool(run.told_to("chief:0", protocol.StopTraining))) == (
            used_up is UsedUp.FAIL
        )
        if used_up is not UsedUp.FAIL:
            run.finished("chief:0", "worker:0", "worker:1")
            for other in sorted({"chief:0", "worker:0", "worker:1", "evaluator:0"} - {task}):
                run.exits(other, 0)
        assert run.end_stopping().outcome is outcome


def test_a_run_whose_trainers_wait_for_their_sessions_for_ever_hangs() -> None:
    run = Run(make_plan(policy=Policy(hang_timeout_s=30.0))).begin()
    run.started(*ONE_OF_EACH)
    run.listening("ps:0")
    run.report("worker:0", protocol.Waiting(what="session"))
    run.after(29.0)
    assert not run.stops()
    run.after(1.0)
    end = run.end_stopping()
    assert end.cause is not None and (end.outcome, end.cause.kind) == (Outcome.TIMED_OUT, "hang")


def test_trainers_with_sessions_that_never_train_hang() -> None:
    run = Run(make_plan(policy=Policy(hang_timeout_s=30.0))).begin()
    run.started(*ONE_OF_EACH)
    run.listening("ps:0")
    run.report("chief:0", protocol.Ready(global_step=0))
    run.after(30.0)
    assert run.end_stopping().outcome is Outcome.TIMED_OUT


def test_nobody_is_blamed_before_it_is_known_what_the_tasks_do() -> None:
    run = Run(make_plan(policy=Policy(hang_timeout_s=30.0))).until_training()
    run.now += 30.0
    run.happen(lifecycle.Ticked)
    asked = [action.task.name for action in run.actions if isinstance(action, lifecycle.TakeStacks)]
    assert sorted(asked) == sorted(ONE_OF_EACH) and not run.stops()
    for task in ONE_OF_EACH:
        state = "T" if task == "ps:0" else "S"
        run.told(protocol.Stacks(task=task, attempt=1, pid=7, state=state))
    end = run.end_stopping()
    assert end.cause is not None and end.cause.task == "ps:0" and "paused" in end.cause.message


def test_who_does_not_answer_is_not_waited_for_and_who_goes_on_is_not_blamed() -> None:
    run = Run(make_plan(policy=Policy(hang_timeout_s=30.0))).until_training()
    run.now += 30.0
    run.happen(lifecycle.Ticked)
    run.trains("chief:0", step=11)
    run.after(5.0)
    assert not run.stops(), "it went on while it was looked at"
    run.now += 30.0
    run.happen(lifecycle.Ticked)
    run.now += 60.0
    run.happen(lifecycle.Ticked)
    run.after(5.0)
    assert run.end_stopping().outcome is Outcome.TIMED_OUT


def test_a_worker_that_never_comes_to_train_ends_the_run_where_it_counts() -> None:
    policy = Policy(hang_timeout_s=30.0, success=Success.ALL_WORKERS, used_up=ALL_MATTER)
    run = Run(make_plan(policy=policy)).begin()
    run.started(*ONE_OF_EACH)
    run.listening("ps:0")
    run.trains("chief:0", "worker:0", step=100)
    run.finished("chief:0", "worker:0")
    run.exits("chief:0", 0)
    run.exits("worker:0", 0)
    run.after(30.0)
    assert run.end_stopping().outcome is Outcome.TIMED_OUT


def test_trainers_in_a_wrapper_wait_outside_too_since_it_may_know_of_no_gate() -> None:
    plan = make_plan()
    run = Run(replace(plan, tasks=tuple(replace(planned, program=()) for planned in plan.tasks))).begin()
    assert {task for task, _ in run.starts()} == {"ps:0", "evaluator:0"}


def test_what_a_program_shows_of_its_keras_is_said_once() -> None:
    run = Run(make_plan()).until_training()
    for task in ("chief:0", "worker:0"):
        run.report(task, protocol.Uses(what="estimator", note="train.py:3 makes an Estimator"))
    told = [item.event for item in run.actions if isinstance(item, lifecycle.Record)]
    notices = [event.message for event in told if isinstance(event, events.Noticed)]
    assert notices.count("train.py:3 makes an Estimator") == 1
