"""Freed memory is kept for the next batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from launcher.estimator.streaming.reading.malloc import USERS_OWN, settings
from tests.launcher.estimator.streaming.data import write_groups

FAULTS = """
import resource, sys
from itertools import islice
from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.reading.dataset import read_shards
from launcher.estimator.streaming.formats.shards import Shard

columns = tuple(Column(name=f"c{number}") for number in range(28))
options = ReadingOptions(spec=FeatureSpec(columns=columns), format="row_groups", batch_examples=1024, cores=2)
batches = iter(read_shards([Shard(path=sys.argv[1])] * 16, options))
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in islice(batches, 400):
    pass
before, count = faults(), 0
for _ in islice(batches, 200):
    count += 1
print((faults() - before) / count)
"""


def faults_per_batch(file: str) -> float:
    """Fresh pages that the kernel hands out for a batch of 224 KiB, after a warm-up."""
    environ = {name: value for name, value in os.environ.items() if name not in USERS_OWN}
    made = subprocess.run(
        [sys.executable, "-c", FAULTS, file], env=environ, capture_output=True, text=True, check=True, timeout=120
    )
    return float(made.stdout.strip())


def test_reading_row_groups_takes_hardly_any_fresh_memory(tmp_path: Path) -> None:
    columns = {f"c{number}": np.arange(64 * 1024) for number in range(28)}
    assert faults_per_batch(write_groups(tmp_path / "g.tfrecord", columns, rows=1024)) < 56  # a batch's pages


@pytest.mark.parametrize("name", USERS_OWN)
def test_what_the_user_has_set_stays(name: str) -> None:
    assert settings({"PATH": "/bin"})
    assert not settings({name: "1"})
