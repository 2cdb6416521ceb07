"""The live view says what is so now: who is silent, what the evaluator does, how fast it goes, and who complains."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.record import events as ev
from launcher.record.course.hearing import silent
from launcher.record.rates import Rate
from launcher.record.runs import RunFolder
from launcher.record.view import RunView
from launcher.views.live.clock import EventClock
from launcher.views.live.complaints import Complaints, counted
from launcher.views.live.frame import Looks, Size, frame
from launcher.views.live.table import Known, arrange
from launcher.views.spans import plain
from launcher.wire.roles import TaskId
from tests.launcher.record.test_view import START, T0, change, folded, progress
from tests.launcher.views.console_demo import Story
from tests.launcher.views.console_picture import SCENES, lines_of

WIDE = Size(width=140, height=40)


def text_of(view: RunView, now: float, looks: Looks = Looks()) -> str:  # noqa: B008
    return "\n".join(plain(line) for line in frame(view, WIDE, now, looks))


def cut_at(second: float) -> RunView:
    """Seven tasks on three hosts; of node02 nothing comes from that second on."""
    view = RunView()
    for recorded in Story(7, hosts=3).tell():
        if (recorded.at - START).total_seconds() > second:
            break
        view.apply(recorded)
    return view


@pytest.mark.parametrize(("after_s", "is_silent"), [(0.0, False), (2.0, False), (4.0, True), (18.0, True)])
def test_a_host_is_silent_three_seconds_after_its_last_word(after_s: float, is_silent: bool) -> None:
    view = cut_at(16.0)
    heard_at = view.hosts["node02"].heard_at
    text = text_of(view, heard_at + after_s)
    assert ("silent for" in text) == is_silent
    assert ("steps/s" in text.split("task  ")[0]) and ("0 steps/s" in text) == is_silent, text


def test_what_is_silent_has_no_rates_and_the_others_keep_theirs(tmp_path: Path) -> None:
    live, _, now = lines_of(SCENES["silent"], tmp_path)
    lines = [plain(line) for line in live.lines(now)]
    assert lines[0].endswith("node02 silent for 18 s")
    chief, worker = (next(line for line in lines if f" {name} " in line) for name in ("chief:0", "worker:0"))
    assert "%" not in chief and "its host is silent for 18 s" in chief
    assert "%" in worker and "silent" not in worker
    styles = {line[1][0].strip(): line[0][1] for line in live.lines(now) if len(line) > 3}
    assert styles["chief:0"] == "yellow" != styles["worker:0"], "that it trains was its last word"


def test_who_does_not_hear_of_the_supervisor_does_not_blame_its_hosts() -> None:
    why = "its supervisor (process 7) is stopped"
    lines = text_of(cut_at(16.0), T0 + 34, Looks(trouble=why)).splitlines()
    assert lines[0].endswith("no word of the supervisor for 18 s") and lines[-1] == why
    assert any("not heard for 18 s" in line for line in lines) and not any("its host" in line for line in lines)


def test_nothing_is_silent_that_has_not_spoken_or_is_over() -> None:
    view = cut_at(4.0)  # nothing sampled yet
    assert silent(view.hosts, view.tasks.values(), T0 + 500) == {}
    ended = cut_at(99.0)
    assert silent(ended.hosts, ended.tasks.values(), T0 + 500) == {}
    lost = cut_at(30.0)
    lost.hosts["node02"].state = "lost"
    assert set(silent(lost.hosts, lost.tasks.values(), T0 + 500)) == {"node01", "node03"}


def test_the_clock_of_a_picture_is_that_of_the_events() -> None:
    clock = EventClock()
    assert clock.now(1000.0, 1018.0, 5.0) == 1018.0, "it has been silent for that long"
    assert clock.now(1000.0, 1019.0, 6.0) == 1019.0
    assert clock.now(1020.0, 1020.1, 7.0) == 1020.0
    assert clock.now(1020.0, 4620.0, 8.0) == 1021.0, "the wall's clock was set forward by an hour"
    assert clock.now(4622.0, 4622.0, 9.0) == 4622.0
    assert clock.now(1023.0, 1023.0, 10.0) == 1023.0, "and back"


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 120.0])
def test_the_time_left_is_sane_again_when_the_clock_was_set(jump_s: float) -> None:
    events: list[tuple[float, ev.RunEvent]] = [(0, ev.TargetKnown(max_steps=2000)), (0, change("starting", pid=7))]
    events += [(float(second), progress(second * 10, second * 10)) for second in range(1, 60)]
    events += [(second + jump_s, progress(second * 10, second * 10)) for second in range(60, 64)]
    view = folded(*events)
    now = T0 + 63 + jump_s
    assert view.steps_per_s(now) == pytest.approx(10, rel=0.1)
    assert view.eta_s(now) == pytest.approx(137, rel=0.1)


@pytest.mark.parametrize("every_s", [0.5, 1.0, 5.0, 40.0])
def test_a_rate_is_gone_when_nothing_comes(every_s: float) -> None:
    rate = Rate(10.0)
    for number in range(20):
        rate.add(number * every_s, number * 10 * every_s)
    last = 19 * every_s
    assert rate.per_s(last + min(2.0, every_s)) == pytest.approx(10)
    assert rate.per_s(last + max(3.1, 3.1 * every_s)) == 0.0
    again = Rate(10.0)
    for at, value in rate.ends():
        again.add(at, value)
    assert again.per_s(last + max(3.1, 3.1 * every_s)) == 0.0 and again.per_s(last) == pytest.approx(10)


def test_what_the_evaluator_does() -> None:
    started = (0, change("starting", task="evaluator:0", pid=7))
    ready = (1, change("ready", task="evaluator:0", pid=7))
    saved = (2, ev.CheckpointWritten(task="chief:0", global_step=100, path="p"))
    done = (3, ev.EvaluationDone(task="evaluator:0", global_step=100, metrics={"auc": 0.5}))
    assert "waiting" in text_of(folded(started, ready), T0 + 2) and "for a checkpoint" in text_of(
        folded(started, ready), T0 + 2
    )
    text = text_of(folded(started, ready, saved), T0 + 2)
    assert "evaluating" in text and "the checkpoint at 100" in text
    assert "for one after 100" in text_of(folded(started, ready, saved, done), T0 + 3)
    throttled = (3, ev.EvaluationDone(task="evaluator:0", global_step=100, metrics={}, pause_s=600.0))
    more = (9, ev.CheckpointWritten(task="chief:0", global_step=200, path="p"))
    again = (10, change("starting", 2, "evaluator:0", pid=8))
    text = text_of(folded(started, ready, saved, throttled, more), T0 + 63)
    assert "waiting" in text and "next evaluation in 9:00 (throttle_secs)" in text
    assert "the checkpoint at 200" in text_of(folded(started, ready, saved, throttled, more), T0 + 604)
    restarted = folded(started, ready, saved, throttled, more, again, (11, change("ready", 2, "evaluator:0", pid=8)))
    assert "the checkpoint at 200" in text_of(restarted, T0 + 12)


def test_the_chosen_metric_has_a_line_with_its_best() -> None:
    values = [0.5, 0.7, 0.6]
    done = [
        (
            float(at),
            ev.EvaluationDone(task="evaluator:0", global_step=at * 100, metrics={"gauc": value, "loss": 1 - value}),
        )
        for at, value in enumerate(values, 1)
    ]
    view = folded(*done)
    assert "gauc  0.6000" in text_of(view, T0 + 4) and "best 0.7000 at 200" in text_of(view, T0 + 4)
    chosen = text_of(view, T0 + 4, Looks(metric="loss"))
    assert "loss  0.4000" in chosen and "best 0.3000 at 200" in chosen


def test_epoch_and_time_left_of_the_input() -> None:
    events: list[tuple[float, ev.RunEvent]] = [(0, change("starting", pid=7))]
    events += [(float(second), progress(second * 10, second * 10)) for second in range(1, 9)]
    view = folded(*events, (8.0, ev.InputCounted(examples=9, epoch=2, epochs=3, progress=0.5, left_s=75)))
    assert "1:15 left · epoch 2 of 3" in text_of(view, T0 + 8)
    assert "left ·" not in text_of(view, T0 + 60).splitlines()[1], "nothing comes, so nobody knows"


# --- what they wrote -------------------------------------------------------------------------------------------------


def test_warnings_and_errors_are_counted() -> None:
    lines = [
        "WARNING:tensorflow:mine",
        "W0000 00:00:1795397810.407917    3220 mine.py:243] careful",
        "2026-01-02 03:04:05,678 WARNING mine: careful",
        "train.py:3: UserWarning: careful",
        "ERROR:root:mine",
        "2026-01-02 03:04:05.678901: E mine.cc:1] no",
        "Traceback (most recent call last):",
        "WARNINGS are nothing to me",
        "a line with ERROR in it",
        "INFO:tensorflow:loss = 1",
        "",
    ]
    assert counted(lines) == (4, 3)


def test_counts_follow_the_logs(tmp_path: Path) -> None:
    folder, task = RunFolder.create(tmp_path, "r", START), TaskId.parse("worker:0")
    complaints = Complaints(folder)
    complaints.look()
    assert complaints.of(task) == (0, 0)
    with folder.log(task).open("a") as log:
        log.write("WARNING:mine:one\nERROR:mine:tw")
        log.flush()
        complaints.look()
        assert complaints.of(task) == (1, 0)
        log.write("o\n" + "x" * 200_000 + "\nWARNING:mine:three\n")
        log.flush()
        complaints.look()
        for _ in range(6):
            complaints.of(task)
    assert complaints.of(task) == (2, 1)
    again = Complaints(folder)
    again.look()
    assert again.of(task) == (1, 1)  # the first look takes a piece only
    row = arrange([], 3, Known())
    assert row == []


def test_a_tall_screen_is_used() -> None:
    view = RunView()
    for recorded in Story(100, hosts=4).tell():
        if (recorded.at - START).total_seconds() > 30:
            break
        view.apply(recorded)
    for height in (24, 40, 50, 80, 120):
        lines = frame(view, Size(width=120, height=height), view.last_at)
        assert height - 4 <= len(lines) <= height
