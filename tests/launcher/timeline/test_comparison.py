"""Two runs side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cli.main import run as tflaunch
from launcher.timeline.comparison import TRAINER, compare
from launcher.timeline.samples import Op, Sample, keep
from launcher.wire.roles import TaskId
from tests.launcher.timeline.test_timeline import MIB, PS_0, PS_1, WORKER, profiled


def sample(task: str = "worker:1", *, ps: str = PS_0, scatter_us: int = 500, more: tuple[Op, ...] = ()) -> Sample:
    own = (op("MatMul", 0, 200), op("RecvTensor", 0, 90_000), op("NoOp", 0, 80_000), *more)
    devices = {WORKER: own, ps: (op("ResourceScatterSub", 100, scatter_us), op("ResourceGather", 0, 100))}
    return Sample(task=task, began_us=0, ended_us=1000, devices=devices)


def op(kind: str, start_us: int, dur_us: int) -> Op:
    return Op(name=kind.lower(), type=kind, start_us=start_us, dur_us=dur_us)


def test_the_operations_that_differ_most_come_first_and_three_are_named() -> None:
    """Mean of all steps; a transfer's time is that of what it waits for."""
    slow = [sample(scatter_us=5000), sample(scatter_us=5400)]
    fast = [sample(scatter_us=1300, more=(op("Unique", 0, 50), op("Unique", 60, 30), op("Cast", 0, 7)))]
    found = compare(slow, fast)
    assert [(item.where, item.type) for item in found.ops] == [
        ("ps:0", "ResourceScatterSub"),
        (TRAINER, "Unique"),
        (TRAINER, "Cast"),
        ("ps:0", "ResourceGather"),
        (TRAINER, "MatMul"),
    ]
    first = found.ops[0]
    assert (first.ms, first.count, round(first.grew_ms, 3)) == ((5.2, 1.3), (1.0, 1.0), -3.9)
    assert (found.ops[1].ms, found.ops[1].count) == ((0.0, 0.08), (0.0, 2.0))
    assert found.words == (
        "differ most, for one step of a trainer: ResourceScatterSub on ps:0 5.20 -> 1.30 ms;"
        " Unique on trainers 0.00 -> 0.08 ms; Cast on trainers 0.00 -> 0.01 ms"
    )


def test_what_one_run_alone_has_stands_by_itself() -> None:
    before = [sample(), sample("evaluator:0", more=(op("Softmax", 0, 9999),))]
    found = compare(before, [sample("worker:2", ps=PS_1)])
    assert [(name, one is None, two is None) for name, one, two in found.servers] == [
        ("ps:0", False, True),
        ("ps:1", True, False),
    ]
    assert {name for name, *_ in found.tasks} == {"evaluator:0", "worker:1", "worker:2"}
    assert "Softmax" not in {item.type for item in found.ops}  # evaluating is no step


def test_a_run_differs_in_nothing_from_itself() -> None:
    assert compare([sample()], [sample()]).words == "no operation differs"


def test_the_command_compares_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, held in (("a", 60), ("b", 40)):
        (tmp_path / name).mkdir()
        told = profiled(held={"ps:0": held * MIB, "ps:1": 30 * MIB})
        keep(tmp_path / name, TaskId.parse("worker:1"), 1, told, received_at=0.0)
    before = sorted(tmp_path.rglob("*"))
    assert tflaunch(["timeline", "a", "b"]) == 0
    out = capsys.readouterr().out
    assert "60.0 MiB -> 40.0 MiB" in out and "0.50 -> 0.50" in out and "no operation differs" in out
    assert sorted(tmp_path.rglob("*")) == before
    assert tflaunch(["timeline", "a", "b", "-o", "x.json"]) == 2
    assert "no trace is written" in capsys.readouterr().err
    (tmp_path / "c").mkdir()
    assert tflaunch(["timeline", "a", "c"]) == 2
    assert "c: no trace of any step" in capsys.readouterr().err
