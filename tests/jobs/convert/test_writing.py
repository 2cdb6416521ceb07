"""How many ids a feature gets, and how rows are spread over files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.convert.writing import TrainFiles, fitting_ids


@given(st.integers(1, 10**9), st.integers(0, 300), st.integers(600, 5000))
def test_fitting_ids_keep_all_apart_and_away_from_none(low: int, width: int, most: int) -> None:
    ids = fitting_ids(low, low + width, most)
    assert width + 1 < ids <= most
    if ids < most:
        places = {value % ids for value in range(low, low + width + 1)}
        assert len(places) == width + 1 and 0 not in places


def test_small_ids_stay_and_too_many_share() -> None:
    assert fitting_ids(1, 99, 100) == 100
    assert fitting_ids(3_438_600, 3_438_602, 100_000) == 7
    assert fitting_ids(1, 10**6, 1000) == 1000


@pytest.mark.tensorflow
@pytest.mark.parametrize(("rows", "files"), [(10, 1), (3000, 2), (9000, 8), (20_000, 3)])
def test_files_are_full_or_many(rows: int, files: int, tmp_path: Path) -> None:
    from launcher.estimator.streaming.formats.index import list_shards

    output = TrainFiles(tmp_path / "train", ["x"], rows_per_file=9001, seed=0)
    for part in np.array_split(np.arange(rows), 7):
        output.add({"x": part, "click": part % 2, "conversion": part % 2})
    output.close()
    assert output.rows == rows
    assert len(list_shards([str(tmp_path / "train")])) == files
