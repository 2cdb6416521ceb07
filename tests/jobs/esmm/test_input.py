from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jobs.tfrecord import encode_rows

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]


def config(index: int, count: int) -> SimpleNamespace:
    """What the input reads of a RunConfig; ``index`` 0 is the chief."""
    role = "chief" if index == 0 else "worker"
    return SimpleNamespace(task_type=role, num_worker_replicas=count, global_id_in_cluster=index)


def write(folder: Path, files: int, rows: int) -> list[str]:
    for i in range(files):
        x = np.arange(i * rows, (i + 1) * rows)
        (folder / f"{i}.tfrecord").write_bytes(encode_rows({"x": x, "click": x % 2, "conversion": 0 * x}))
    return [str(path) for path in sorted(folder.iterdir())]


def one_epoch(files: list[str], index: int, count: int, *, batches: int, seed: int | None = 1) -> list[int]:
    from jobs.esmm.input import train_input_fn
    from jobs.esmm.schema import Feature, Schema

    schema = Schema(features=(Feature(name="x", ids=10_000),))
    dataset = train_input_fn(files, schema, batch_examples=10, seed=seed)(config(index, count))
    rows: list[int] = []
    for features, labels in dataset.take(batches).as_numpy_iterator():
        assert features["x"].dtype == np.int64
        assert (labels["click"] == features["x"] % 2).all()
        rows += features["x"].tolist()
    return rows


@pytest.mark.parametrize("files", [1, 2, 3, 7], ids="{} files".format)
def test_trainers_share_every_record(files: int, tmp_path: Path) -> None:
    from jobs.esmm.input import Shard, shard_files

    names = write(tmp_path, files, rows=30)
    parts = [shard_files(names, Shard(index=i, count=3)) for i in range(3)]
    whole_files = files >= 3
    assert all(own for own, _ in parts)
    if whole_files:
        assert sorted(file for own, _ in parts for file in own) == names
        assert {shard.count for _, shard in parts} == {1}
    else:
        assert [(own, shard.index, shard.count) for own, shard in parts] == [(names, i, 3) for i in range(3)]


def test_an_epoch_of_all_trainers_has_each_record_once(tmp_path: Path) -> None:
    names = write(tmp_path, 2, rows=75)
    seen = [row for index in range(3) for row in one_epoch(names, index, 3, batches=5)]
    assert sorted(seen) == list(range(150))


def test_records_of_different_files_are_shuffled_together(tmp_path: Path) -> None:
    names = write(tmp_path, 3, rows=100)
    first, again, other = (one_epoch(names, 0, 1, batches=30, seed=seed) for seed in (1, 1, 2))
    assert sorted(first) == list(range(300))
    assert first == again != other
    assert len({row // 100 for row in first[:30]}) == 3


def test_only_usable_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.esmm.input import usable_cores

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 6})
    assert usable_cores() == 3
