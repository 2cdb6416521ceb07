"""Record batches of Parquet files to rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from launcher.estimator.streaming.formats.arrow.blocks import Block
from launcher.estimator.streaming.formats.arrow.texts import fit, from_texts, misfit
from launcher.estimator.streaming.formats.arrow.types import arrow_type
from launcher.estimator.streaming.formats.arrow.values import lacking, rows_of
from launcher.estimator.streaming.formats.columns import Ints, Rows
from launcher.estimator.streaming.formats.feature_spec import FeatureSpec
from launcher.estimator.streaming.formats.parser import Bad, Batch, UnreadableError


class ParquetParser:
    """A record is a record batch or a Block; its number is that of its first row. Thread-safe."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec
        self._names = [column.name for column in spec.columns]
        self._split = [column for column in spec.columns if column.split]

    def parse(self, batch: Batch) -> Rows:
        """Raises UnreadableError with the rows that lack a value, and the others."""
        pieces: list[pa.RecordBatch | Block] = batch.records.tolist()
        blocks = [piece for piece in pieces if isinstance(piece, Block)]
        if blocks and len(blocks) == len(pieces):
            return _joined(blocks, batch)
        bad: list[Bad] = []
        keys: list[tuple[Ints, Ints]] = []
        parts: list[list[pa.Array]] = []
        for place, piece in enumerate(pieces):
            numbers, wrong = batch.numbers[place] + np.arange(len(piece)), dict[int, str]()
            if isinstance(piece, Block):
                arrays = piece.arrays(self._spec)
            else:
                if self._split:
                    piece, wrong = self._split_texts(piece)
                arrays = self._arrays(piece)
            wrong = self._lacking(arrays) | wrong
            if wrong:
                bad += [Bad(int(batch.leases[place]), int(numbers[row]), why) for row, why in sorted(wrong.items())]
                left = np.setdiff1d(np.arange(len(piece)), np.fromiter(wrong, np.int64, len(wrong)))
                arrays, numbers = [array.take(pa.array(left)) for array in arrays], numbers[left]
            parts.append(arrays)
            keys.append((np.full(len(numbers), batch.leases[place], np.int64), numbers))
        rows = self._rows(parts, keys)
        if bad:
            raise UnreadableError(bad[0].reason, bad=bad, rest=rows)
        return rows

    def close(self) -> None:
        pass

    def _rows(self, parts: list[list[pa.Array]], keys: list[tuple[Ints, Ints]]) -> Rows:
        if not parts:
            parts = [[pa.array([], arrow_type(column)) for column in self._spec.columns]]
        columns = zip(*parts, strict=True)
        arrays = {column.name: found for column, found in zip(self._spec.columns, columns, strict=True)}
        none = np.zeros(0, np.int64)
        leases = np.concatenate([none, *(lease for lease, _ in keys)])
        return rows_of(arrays, self._spec, leases, np.concatenate([none, *(numbers for _, numbers in keys)]))

    def _arrays(self, piece: pa.RecordBatch) -> list[pa.Array]:
        """In the order of the spec: a file may have another one."""
        if piece.schema.names == self._names:
            return list(piece.columns)
        return [piece.column(name) for name in self._names]

    def _split_texts(self, piece: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[int, str]]:
        """With lists where the spec has lists and the file has texts, and why some texts are none."""
        wrong: dict[int, str] = {}
        for column in self._split:
            place = piece.schema.get_field_index(column.name)
            texts = piece.column(place).cast(pa.string())
            try:
                lists = from_texts(texts, column)
            except pa.ArrowInvalid:
                plain = texts.to_pylist()
                bad = {row for row, text in enumerate(plain) if text is not None and not fit([text], column)}
                wrong |= {row: misfit(plain[row], column) for row in bad}
                kept = [None if row in bad else text for row, text in enumerate(plain)]
                lists = from_texts(pa.array(kept, pa.string()), column)
            piece = piece.set_column(place, column.name, lists)
        return piece, wrong

    def _lacking(self, arrays: list[pa.Array]) -> dict[int, str]:
        wrong: dict[int, str] = {}
        for array, column in zip(arrays, self._spec.columns, strict=True):
            if column.length == 1 and not array.null_count:
                continue
            mask = lacking(array, column)
            if mask is not None:
                what = "has no value" if column.length == 1 else "has no value, or another number of them, in its list"
                reason = f"column {column.name!r} {what}; give it a default in the feature spec"
                wrong = {int(row): reason for row in np.flatnonzero(mask)} | wrong
        return wrong


def _joined(blocks: list[Block], batch: Batch) -> Rows:
    ints = np.empty((len(blocks[0].ints) + 2, sum(map(len, blocks))), np.int64)
    np.concatenate([block.ints for block in blocks], axis=1, out=ints[:-2])
    at = 0
    for block, lease, number in zip(blocks, batch.leases, batch.numbers, strict=True):
        end = at + len(block)
        ints[-2, at:end], ints[-1, at:end] = lease, np.arange(number, number + len(block))
        at = end
    return Rows(ints=ints, floats=np.concatenate([block.floats for block in blocks], axis=1), others={})
