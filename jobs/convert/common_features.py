"""The common features by index, in a file: as many as there are, in little memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jobs.convert.text import Ints, Mask

_CACHE_KIB = 64 << 10
_KEYS_AT_ONCE = 500


class CommonFeatures:
    """Rows of ``columns`` ids by index; made by :func:`common_features`."""

    def __init__(self, database: sqlite3.Connection, columns: int) -> None:
        self._database = database
        self._columns = columns

    def add(self, keys: npt.NDArray[np.bytes_], ids: Ints) -> Ints:
        """Gives the positions of those whose key is there already, with other ids. They are left out."""
        rows = [(key, values.tobytes()) for key, values in zip(keys.tolist(), ids, strict=True)]
        before = self._database.total_changes
        self._database.executemany("INSERT OR IGNORE INTO common VALUES (?, ?)", rows)
        if self._database.total_changes - before == len(rows):
            return np.zeros(0, np.int64)
        stored = self._stored([key for key, _ in rows])
        return np.array([i for i, (key, values) in enumerate(rows) if stored[key] != values], np.int64)

    def find(self, keys: npt.NDArray[np.bytes_]) -> tuple[Ints, Mask]:
        """int64[keys, columns], and whether each is there; zeros where it is not."""
        stored = self._stored(keys.tolist())
        none = bytes(8 * self._columns)
        joined = b"".join(stored.get(key, none) for key in keys.tolist())
        ids = np.frombuffer(joined, np.int64).reshape(len(keys), self._columns)
        return ids, np.array([key in stored for key in keys.tolist()], np.bool_)

    def _stored(self, keys: list[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            marks = ",".join("?" * len(some))
            found.update(self._database.execute(f"SELECT key, ids FROM common WHERE key IN ({marks})", some))
        return found


@contextmanager
def common_features(file: Path, columns: int) -> Iterator[CommonFeatures]:
    """An empty lookup in ``file``, which is gone afterwards."""
    database = sqlite3.connect(file, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        database.execute("CREATE TABLE common (key BLOB PRIMARY KEY, ids BLOB NOT NULL) WITHOUT ROWID")
        database.execute("BEGIN")
        yield CommonFeatures(database, columns)
    finally:
        database.close()
        file.unlink(missing_ok=True)
