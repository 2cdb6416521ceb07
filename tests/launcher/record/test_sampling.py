"""What is sampled stays small, and nothing of it is lost that anybody asks for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.record.events import InputCounted, Progressed, UsageSampled
from launcher.record.sampling import samples as reading
from launcher.record.sampling.sampler import Ring, Sampler, Tiers
from launcher.record.sampling.samples import INTERVALS_S, TASKS, InputSample, Sample, SampleReader, history
from launcher.wire.forms.series import INPUT_FORM, TASK_FORM, Form
from launcher.wire.roles import TaskId
from tests.launcher.record.disks import full_disk

WORKER = TaskId.parse("worker:1")
FORM = Form(value="q")
SMALL = replace(TASKS, capacities=(60, 30, 8))


def progressed(step: int, *, attempt: int = 1, wait: float | None = None, examples: int | None = None) -> Progressed:
    return Progressed(
        task="worker:1", attempt=attempt, global_step=step, local_steps=step, examples=examples, input_wait=wait
    )


def values(path: Path, start: int = 0) -> tuple[list[int], int]:
    with path.open("rb") as stream:
        rows, after = FORM.read(stream, start)
    return [row[0] for row in rows], after


@pytest.mark.parametrize("written", [1, 7, 10, 11, 19, 20, 25, 10_000, 10_004])
def test_a_ring_has_the_newest_and_goes_on_from_any_number(tmp_path: Path, written: int) -> None:
    ring = Ring(tmp_path / "ring", FORM, 10)
    for number in range(written):
        ring.add((number,))
    newest = list(range(max(0, written - 10), written))
    for start in (0, written // 2, max(0, written - 10), written - 1, written):
        assert values(tmp_path / "ring", start) == ([number for number in newest if number >= start], written)
    assert (tmp_path / "ring").stat().st_size <= 16 + 10 * FORM.row_bytes


def test_a_large_ring_is_read_in_pieces(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "ring", FORM, 10_000)
    for number in range(16_000):
        ring.add((number,))
    assert values(tmp_path / "ring") == (list(range(6000, 16_000)), 16_000)


def test_a_torn_row_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    ring = Ring(path, FORM, 10)
    for number in range(8):
        ring.add((number,))
    data = bytearray(path.read_bytes())
    data[16 + 3 * FORM.row_bytes + 14] ^= 1
    path.write_bytes(data)
    assert values(path) == ([0, 1, 2, 4, 5, 6, 7], 8)
    path.write_bytes(data[:-5])
    assert values(path) == ([0, 1, 2, 4, 5, 6], 7)
    path.write_bytes(b"what is this?")
    assert values(path) == ([], 0)


def test_what_was_written_outlives_a_kill_of_the_writer(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from itertools import count; from tests.launcher.record import "
        "test_sampling as t; ring = t.Ring(Path(sys.argv[1]), t.FORM, 1000)\n"
        "for n in count():\n    ring.add((n,))\n    print(n, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "ring")], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(2500)]
        os.kill(writer.pid, signal.SIGKILL)
        said = int([*lines, *writer.stdout.read().splitlines()][-1])
    found, after = values(tmp_path / "ring")
    assert after >= said + 1 and found == list(range(after - len(found), after)) and len(found) >= 999


def test_a_sample_reads_back_as_it_was(tmp_path: Path) -> None:
    full = Sample(
        at=5.25, task=WORKER, attempt=3, global_step=7, local_steps=6, examples=5, loss=0.5, waiting=0.25,
        mean_waiting=0.125, reports=9, cpu=1.5, rss_mib=300.0,
    )  # fmt: skip
    none = Sample(at=6.0, task=TaskId.parse("ps:0"), attempt=1)
    tiers = Tiers(tmp_path, TASKS)
    counted = InputSample(at=7.0, event=InputCounted(examples=3, epoch=2, progress=0.5, endless=True))
    for sample in (full, none):
        tiers.add(sample.task, sample)
    Tiers(tmp_path, reading.INPUT).add(None, counted)
    assert SampleReader(tmp_path).read() == [full, none, counted] == list(history(tmp_path))
    assert TASK_FORM.row_bytes < 80 and INPUT_FORM.row_bytes < 120


def test_reports_become_a_row_a_second_and_counts_stay_exact(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path)
    assert sampler.is_first(progressed(1))
    for tenth in range(100):
        event = progressed(tenth + 1, wait=0.5 if tenth < 50 else 0.25, examples=10 * tenth)
        list(sampler.take(event, 1000 + tenth / 10))
    assert not sampler.is_first(progressed(1)) and sampler.is_first(progressed(1, attempt=2))
    found = [sample for sample in SampleReader(tmp_path).read() if isinstance(sample, Sample)]
    assert 10 <= len(found) <= 12 and found[-1].global_step != 100
    samples, whole = sampler.over(WORKER, 1010.0)
    assert whole is not None
    assert (whole.global_step, whole.examples, whole.reports, whole.mean_wait) == (100, 990, 100, 0.375)
    assert samples == SampleReader(tmp_path).read()[-1:]
    assert sampler.over(WORKER, 1011.0) == ([], None)


def test_many_tasks_cost_as_much_as_some(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path)
    usage = UsageSampled(host="h", cpu={f"worker:{n}": 0.1 for n in range(3000)}, rss_mib={})
    rows = [len(list(sampler.take(usage, 1000.0 + second))) for second in range(31)]
    assert rows[0] == 3000 and sum(rows[1:]) == 3 * 3000


def test_coarser_rings_have_means_and_the_whole_run(tmp_path: Path) -> None:
    tiers = Tiers(tmp_path, SMALL)
    seconds = 12_000
    for second in range(seconds):
        sample = Sample(
            at=float(second), task=WORKER, attempt=1, global_step=second, cpu=float(second % 2), rss_mib=1.0
        )
        tiers.add(WORKER, replace(sample, rss_mib=500.0) if second == 5000 else sample)
    for tier, capacity in enumerate(SMALL.capacities):
        size = SMALL.path(tmp_path, tier).stat().st_size
        assert size <= 16 + capacity * TASK_FORM.row_bytes
    coarse = [sample for sample in SMALL.read(tmp_path, 2)[0] if isinstance(sample, Sample)]
    assert coarse[0].at < 2 * INTERVALS_S[2] and coarse[-1].at > seconds - 10 * INTERVALS_S[2]
    assert [sample.at for sample in coarse] == sorted({sample.at for sample in coarse})
    assert all(sample.cpu == pytest.approx(0.5, abs=0.06) for sample in coarse[1:])
    assert seconds - 60 == SMALL.read(tmp_path, 0)[0][0].at
    told = [sample.at for sample in history(tmp_path)]
    assert told == sorted(told) and told[0] == coarse[0].at and told[-1] == seconds - 1


def test_a_full_disk_costs_samples_and_no_more(tmp_path: Path) -> None:
    with full_disk(tmp_path, 64 * 1024) as disk:
        sampler = Sampler(disk.path / "samples")
        list(sampler.take(progressed(1), 1000.0))
        disk.fill()
        for second in range(600):
            list(sampler.take(progressed(second), 1001.0 + second))
        assert sampler.lost and "No space left" in sampler.trouble
        disk.free()
        lost = sampler.lost
        assert [sample.global_step for sample in sampler.take(progressed(700), 2000.0)] == [700]  # type: ignore[union-attr]
        assert sampler.lost == lost
        assert SampleReader(disk.path / "samples").read()[-1].global_step == 700  # type: ignore[union-attr]


def test_a_clock_that_is_set_back_stops_nothing(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path)
    for at in (1000.0, 90_000.0, 5.0, 6.0):
        assert list(sampler.take(progressed(int(at)), at))
