"""Rows that travel as blocks of memory: the same values as those that cannot, placed where TensorFlow wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from launcher.estimator.streaming.formats.arrow.blocks import Block, Blocks
from launcher.estimator.streaming.formats.columns import Rows
from launcher.estimator.streaming.formats.feature_spec import Column, FeatureSpec
from launcher.estimator.streaming.reading.layout import ALIGNMENT_BYTES, Layout
from launcher.estimator.streaming.reading.ledger import MOST_RUNS, _counts
from tests.launcher.estimator.streaming.data import batches, options

pytestmark = [pytest.mark.tensorflow, pytest.mark.legacy]

SPEC = FeatureSpec(
    columns=(
        Column(name="x", kind="float32"),
        Column(name="id"),
        Column(name="y", kind="float32"),
        Column(name="label", default=7),
    )
)


def write(path: Path, ids: range, *, missing: int | None = None, kind: Any = None) -> str:
    """Columns in another order than the spec's."""
    labels = [None if i == missing else i % 2 for i in ids]
    table = pa.table(
        {
            "label": pa.array(labels, pa.int64()),
            "y": pa.array([-i for i in ids], pa.float32()),
            "id": pa.array(list(ids), kind or pa.int64()),
            "x": pa.array([i / 2 for i in ids], pa.float32()),
        }
    )
    pq.write_table(table, path)
    return str(path)


def test_pieces_with_and_without_gaps_and_of_other_types_are_read_together(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a.parquet", range(3000)),
        write(tmp_path / "b.parquet", range(3000, 5000), missing=3500),
        write(tmp_path / "c.parquet", range(5000, 6000), kind=pa.int32()),
    ]
    found = batches(files, options(spec=SPEC, format="parquet", batch_examples=64))
    ids = np.concatenate([batch["id"] for batch in found])
    assert sorted(ids.tolist()) == [*range(6000)]
    for name, wanted in (("x", ids / 2), ("y", -ids), ("label", np.where(ids == 3500, 7, ids % 2))):
        assert np.concatenate([batch[name] for batch in found]).tolist() == wanted.tolist()


def test_a_piece_of_a_block_keeps_no_more_than_itself() -> None:
    batch = pa.record_batch({"x": pa.array([1.5] * 100, pa.float32()), "id": [*range(100)]})
    spec = FeatureSpec(columns=(Column(name="x", kind="float32"), Column(name="id")))
    block = Blocks(spec).of(batch)
    assert block is not None and len(block) == 100
    piece = block.cut(90, 20)
    assert isinstance(piece, Block) and piece.ints.tolist() == [[*range(90, 100)]] and piece.nbytes == 10 * 12
    assert piece.ints.base is None and piece.floats.base is None
    assert [array.to_pylist() for array in piece.arrays(spec)] == [[1.5] * 10, [*range(90, 100)]]


def test_texts_and_lists_are_no_blocks() -> None:
    spec = FeatureSpec(columns=(Column(name="id"), Column(name="text", kind="bytes")))
    assert Blocks(spec).of(pa.record_batch({"id": [1], "text": ["a"]})) is None


def test_stacks_lie_where_tensorflow_takes_them_as_they_are() -> None:
    layout = Layout(options(batch_examples=3))
    ints = np.arange(4 * 12, dtype=np.int64).reshape(4, 12)
    ((element,),) = layout.elements(Rows(ints=ints, floats=np.empty((0, 12), np.float32), others={}))
    assert element.ctypes.data % ALIGNMENT_BYTES == 0 and element.flags.c_contiguous
    assert [batch.tolist() for batch in element] == [ints[:, at : at + 3].tolist() for at in range(0, 12, 3)]


@pytest.mark.parametrize("leases", [[], [3], [3, 3, 5, 3], [*range(MOST_RUNS + 9), 0, 0]])
def test_leases_are_counted_by_runs_or_by_values(leases: list[int]) -> None:
    wanted = {lease: leases.count(lease) for lease in leases}
    assert dict(_counts(np.array(leases, np.int64))) == wanted
