"""What TensorBoard is given to show of each task, made from the events of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.agent.tasks import board_program
from launcher.agent.tasks.board_program import Writers, point_to
from launcher.record.events import Progressed, UsageSampled
from launcher.record.sampling.sampler import Sampler


def test_rates_are_of_one_attempt_and_of_no_instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, str, float, int]] = []
    writers = Writers(tmp_path)
    monkeypatch.setattr(
        writers,
        "_scalar",
        lambda task, tag, value, step, at: written.append((task, tag.removeprefix("task/"), value, step)),
    )
    base = {"kind": "progressed", "task": "worker:0"}
    for second, attempt, steps, examples, wait in (
        (0.0, 1, 10, 100, 0.25),
        (2.0, 1, 30, None, None),
        (3.0, 1, 40, 400, None),
        (4.0, 1, 60, 600, None),
        (4.001, 1, 61, 610, None),
        (9.0, 2, 1, 10, None),
        (10.0, 2, 11, 110, None),
    ):
        at = f"2026-01-02T03:04:{5 + second:06.3f}Z"
        writers.take(
            {**base, "at": at, "attempt": attempt, "global_step": 5 * steps, "local_steps": steps, "examples": examples}
            | {"input_wait": wait}
        )
    assert written == [
        ("worker:0", "input wait (share of a step)", 0.25, 50),
        ("worker:0", "steps per second", 10.0, 150),
        ("worker:0", "steps per second", 10.0, 200),
        ("worker:0", "steps per second", 20.0, 300),
        ("worker:0", "examples per second", 200.0, 300),
        ("worker:0", "steps per second", 10.0, 55),
        ("worker:0", "examples per second", 100.0, 55),
    ]
    written.clear()
    usage = {"kind": "usage_sampled", "at": "2026-01-02T03:05:00Z", "cpu": {"ps:0": 0.5}, "rss_mib": {"worker:0": 9.0}}
    writers.take(usage)
    assert written == [("ps:0", "cpu (cores)", 0.5, 305), ("worker:0", "memory (MiB)", 9.0, 55)]
    writers.take({"kind": "one_of_a_newer_version"})


def test_samples_are_read_on_from_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their form is loaded by its path: the interpreter may be one that has nothing of ours."""
    sampler, series, places = Sampler(tmp_path / "samples"), board_program._series(), [0]
    path, written = tmp_path / "samples" / "tasks.1s", []
    writers = Writers(tmp_path)
    monkeypatch.setattr(writers, "_scalar", lambda task, tag, value, step, at: written.append((task, tag, value, step)))

    def told() -> list[tuple[str, str, float, int]]:
        written.clear()
        for sample in board_program._sampled(path, series, places):
            writers.sample(sample)
        return written

    assert told() == []
    for second, steps in ((0, 10), (2, 30)):
        event = Progressed(task="worker:0", attempt=1, global_step=5 * steps, local_steps=steps, input_wait=0.25)
        list(sampler.take(event, 1000.0 + second))
    waits = [("worker:0", "task/input wait (share of a step)", 0.25, step) for step in (50, 150)]
    assert told() == [*waits, ("worker:0", "task/steps per second", 10.0, 150)]
    list(sampler.take(UsageSampled(host="h", cpu={"ps:0": 0.5}, rss_mib={"ps:0": 9.0}), 1003.0))
    assert told() == [("ps:0", "task/cpu (cores)", 0.5, 150), ("ps:0", "task/memory (MiB)", 9.0, 150)]


def test_the_model_is_found_wherever_it_comes_to_be(tmp_path: Path) -> None:
    logdir = tmp_path / "logs"
    logdir.mkdir()
    for name in ("a", "b, with: marks"):
        point_to(logdir, str(tmp_path / name))
        (tmp_path / name).mkdir()
        assert (logdir / "model").resolve() == tmp_path / name
    point_to(logdir, "hdfs://far/away")
    assert not (logdir / "model").exists()
