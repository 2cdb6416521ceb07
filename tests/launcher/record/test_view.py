from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.record import events as ev
from launcher.record.rates import Rate, Series
from launcher.record.states import Outcome, Phase, TaskState
from launcher.record.view import RunView
from launcher.wire.roles import Role, TaskId
from tests.launcher.views.console_demo import Story

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)
T0 = START.timestamp()
WORKER = TaskId(Role.WORKER, 0)


def folded(*events: tuple[float, ev.RunEvent]) -> RunView:
    """The view after events, each with its second."""
    view = RunView()
    for n, (second, event) in enumerate(events, 1):
        view.apply(ev.Recorded(n=n, at=START + timedelta(seconds=second), event=event))
    return view


def change(state: str, attempt: int = 1, task: str = "worker:0", **more: object) -> ev.TaskChanged:
    return ev.TaskChanged(task=task, attempt=attempt, state=state, host="a", **more)  # type: ignore[arg-type]


def progress(
    step: int, local: int, attempt: int = 1, task: str = "worker:0", examples: int | None = None
) -> ev.Progressed:
    return ev.Progressed(task=task, attempt=attempt, global_step=step, local_steps=local, examples=examples)


def test_attempts_are_kept_and_summed() -> None:
    view = folded(
        (0, change("starting", pid=10, start="fork")),
        (1, change("training")),
        (5, progress(100, 40, examples=400)),
        (6, change("backoff", signal=9, reason="killed", tail="last words")),
        (7, change("starting", attempt=2, pid=11)),
        (8, progress(120, 10, attempt=2, examples=100)),
        (9, progress(90, 41, attempt=1, examples=410)),  # said late
        (9.5, change("succeeded", attempt=2, exit_code=0)),
    )
    task = view.tasks[WORKER]
    first, second = task.attempts
    assert (first.pid, first.started, first.ended, first.exit, first.signal) == (10, T0, T0 + 6, None, 9)
    assert (second.pid, second.ended, second.exit, second.signal) == (11, T0 + 9.5, 0, None)
    assert (task.restarts, task.local_steps, task.examples, task.global_step) == (1, 51, 510, 120)
    assert (task.state, task.pid, task.tail) == (TaskState.SUCCEEDED, None, "last words")


@pytest.mark.parametrize(
    ("changes", "attempts"),
    [
        ([("waiting", 0)], 0),
        ([("waiting", 1), ("starting", 1), ("ready", 1)], 1),
        ([("training", 3)], 1),
        ([("starting", 1), ("failed", 1)], 1),
        ([("starting", 1), ("backoff", 1), ("waiting", 2), ("starting", 2)], 2),
        ([("starting", 1), ("failed", 1), ("starting", 1)], 2),
        ([("failed", 1)], 0),
        ([("no such state", 1)], 0),
    ],
)
def test_which_changes_begin_an_attempt(changes: list[tuple[str, int]], attempts: int) -> None:
    view = folded(*((at, change(state, number)) for at, (state, number) in enumerate(changes)))
    assert len(view.tasks[WORKER].attempts) == attempts


def test_the_global_step_is_that_of_running_trainers_and_falls_at_a_roll_back() -> None:
    events: list[tuple[float, ev.RunEvent]] = [(0, ev.CheckpointWritten(task="chief:0", global_step=5, path="p"))]
    assert folded(*events).global_step == 5
    for task in ("chief:0", "worker:0"):
        events += [(1, change("starting", task=task)), (2, progress(100, 50, task=task))]
    assert folded(*events).global_step == 100
    events += [(3, change("backoff", task="chief:0")), (4, progress(60, 70))]
    assert folded(*events).global_step == 60
    events += [(5, ev.RunEnded(outcome="failed", exit_code=1, duration_s=5.0, global_step=61))]
    assert folded(*events).global_step == 61


def test_rates_and_eta() -> None:
    steady = [(float(second), progress(second * 10, second * 5, examples=second * 500)) for second in range(21)]
    view = folded((0, ev.TargetKnown(max_steps=300)), (0, change("starting")), *steady)
    now = T0 + 20
    assert view.steps_per_s(now) == pytest.approx(10)
    assert view.tasks[WORKER].step_rate.per_s(now) == pytest.approx(5)
    assert view.examples_per_s(now) == pytest.approx(500)
    assert view.eta_s(now) == pytest.approx(10)
    assert view.eta_s(now + 2) == pytest.approx(8)
    assert view.steps_per_s(now + 1000) == 0.0
    assert view.eta_s(now + 1000) is None
    assert view.elapsed_s(now) == 0.0  # never started


@pytest.mark.parametrize(
    ("samples", "now", "rate"),
    [
        ([], 0, None),
        ([(0, 5)], 1, None),
        ([(0, 0), (100, 10)], 100, 0.1),  # slower than the window
        ([(0, 0), (100, 10)], 350, 0.1),
        ([(0, 0), (100, 10)], 401, 0.0),
        ([(0, 0), (1, 100), (2, 3)], 2, None),  # begun anew
        ([(0, 0), (1, 100), (2, 3), (3, 5)], 3, 2.0),
        ([(0, 0), (10, 10), (9.5, 20)], 10, 2.0),  # a little out of order
        ([(100, 0), (50, 10)], 50, None),  # a clock set back
        ([(0, 0), (0, 5)], 0, None),
    ],
)
def test_rate(samples: list[tuple[float, float]], now: float, rate: float | None) -> None:
    measured = Rate(10.0)
    for at, value in samples:
        measured.add(at, value)
    assert measured.per_s(now) == (rate if rate is None else pytest.approx(rate))


@given(st.lists(st.floats(-1e6, 1e6), max_size=300), st.integers(1, 40))
def test_a_series_keeps_its_range_in_bounded_memory(values: list[float], columns: int) -> None:
    series = Series(limit=16)
    for step, value in enumerate(values):
        series.add(step, value)
    shown = series.values(columns)
    assert len(shown) <= columns and bool(shown) == bool(values)
    assert len(series._points) <= 17
    assert all(min(values) - 1e-6 <= value <= max(values) + 1e-6 for value in shown)


def test_what_is_unknown_changes_nothing_and_what_was_taken_is_not_taken_twice() -> None:
    view = folded(
        (0, change("starting", task="juggler:0")),
        (0, progress(5, 5, task="")),
        (0, ev.PhaseChanged(phase="dancing")),
        (0, ev.UsageSampled(host="a", cpu={"x": 1.0, "worker:0": 0.5}, rss_mib={"worker:0": 300.0})),
    )
    assert list(view.tasks) == [WORKER]
    assert view.tasks[WORKER].cpu == 0.5
    assert view.phase is Phase.STARTING
    checkpoint = ev.Recorded(n=9, at=START, event=ev.CheckpointWritten(task="chief:0", global_step=5, path="p"))
    view.apply(checkpoint)
    view.apply(checkpoint)
    assert view.checkpoint_count == 1


def test_a_whole_story() -> None:
    view = RunView()
    for recorded in Story(5).tell():
        view.apply(recorded)
    assert (view.outcome, view.phase, view.max_steps) == (Outcome.FAILED, Phase.ENDED, 20_000)
    assert [task.task.name for task in view.ordered()] == ["ps:0", "chief:0", "worker:0", "worker:1", "evaluator:0"]
    assert view.evaluation is not None and set(view.evaluation.metrics) == {"ctr_auc", "cvr_auc", "loss"}
    assert (view.checkpoint_count, len(view.recoveries), len(view.drills)) == (5, 1, 1)
    assert view.tasks[TaskId(Role.WORKER, 1)].restarts == 1
    assert view.hosts["node01"].facts["cores"] == 8
    assert view.loss.last is not None and view.loss.values(10)[0] > view.loss.last


@pytest.mark.parametrize(("severity", "problem"), [("info", ""), ("warning", "watch out"), ("error", "watch out")])
def test_a_task_s_problem_is_forgotten_when_it_trains_again(severity: str, problem: str) -> None:
    notice = ev.Noticed(severity=severity, message="watch out", task="worker:0")
    assert folded((0, notice)).tasks[WORKER].problem == problem
    assert folded((0, notice), (1, change("training"))).tasks[WORKER].problem == ""
