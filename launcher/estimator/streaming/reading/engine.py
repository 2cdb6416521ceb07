"""The in-memory side: one thread reads files in turns and shuffles raw records, a thread per core parses.

    leases -> open files, in turns -> Gatherer -> ShuffleBuffer -> parse (threads) -> Batcher -> the trainer
                                                                        |
                                                                     Ledger -> Leases.ended

The order of what comes out is that of what was shuffled, whichever thread is first. What is held is bounded: the open
files' blocks, the shuffle buffer, ``cores + 2`` batches in work or finished, and one batch in the Batcher.
"""

from __future__ import annotations

import atexit
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

import numpy as np

from launcher.estimator.streaming.formats.columns import Rows
from launcher.estimator.streaming.formats.framing import RawBlock
from launcher.estimator.streaming.formats.options import BY_GROUPS, ReadingOptions
from launcher.estimator.streaming.formats.parser import Batch
from launcher.estimator.streaming.formats.raw import open_shard
from launcher.estimator.streaming.reading.cores import input_cores
from launcher.estimator.streaming.reading.gathering import Batcher, Gatherer
from launcher.estimator.streaming.reading.leases import Lease, Leases
from launcher.estimator.streaming.reading.ledger import Ledger
from launcher.estimator.streaming.reading.malloc import keep_freed_memory
from launcher.estimator.streaming.reading.row_batches import Parsing
from launcher.estimator.streaming.reading.shuffling import ShuffleBuffer

GROUPS_TOGETHER = 16
"""Row groups that are parsed, and whose rows are shuffled, together."""
USUAL_GROUP_ROWS = 1024
BATCH_BYTES = 4 << 20
"""A batch of raw records is handed on when it has this size, however few they are."""
POLL_S = 0.2
CLOSE_TIMEOUT_S = 10.0


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _close_engines() -> None:
    """No thread of ours is inside TensorFlow when the interpreter is taken down, which aborts the process."""
    for engine in list(_engines):
        engine.close()


class _Mark(Enum):
    FLUSH = auto()
    END = auto()


@dataclass(slots=True)
class _Open:
    """A lease that is being read; ``ahead``: its next block; ``records``: handed on so far."""

    lease: int
    blocks: Iterator[RawBlock]
    ahead: RawBlock | None
    records: int = 0


_Item: TypeAlias = "Future[Rows] | _Mark | Exception"


class Engine:
    """Batches of rows from leases. ``next_rows`` belongs to one thread, ``close`` may be called from any."""

    def __init__(self, leases: Leases, options: ReadingOptions) -> None:
        keep_freed_memory()
        cores = options.cores or input_cores()
        self._leases = leases
        self._options = options
        self._closed = threading.Event()
        self._ledger = Ledger(leases)
        self._seeds = np.random.SeedSequence(options.seed)
        self._parsing = Parsing(options, self._ledger, threads=cores)
        self._pool = ThreadPoolExecutor(cores, thread_name_prefix="streaming-parse")
        self._items: queue.Queue[_Item] = queue.Queue(cores + 2)
        self._batcher = Batcher(options.batch_examples)
        self._ready: deque[Rows] = deque()
        self._over = False
        groups = options.format in BY_GROUPS
        self._together = GROUPS_TOGETHER if groups else options.batch_examples
        self._gatherer = Gatherer(records=self._together, size_bytes=BATCH_BYTES)
        size = -(-options.shuffle_rows // USUAL_GROUP_ROWS) if groups else options.shuffle_rows
        self._shuffle = ShuffleBuffer(size, np.random.default_rng(self._seeds.spawn(1)[0]))
        self._epoch = 0
        self._waiting_since: float | None = None
        self._reader = threading.Thread(target=self._read, name="streaming-read", daemon=True)
        _engines.add(self)
        self._reader.start()

    def next_rows(self, timeout_s: float) -> Rows | None:
        """The next rows: one batch or several that follow each other, or a short one.

        None if there are none yet or the input is over (``is_over``). Raises BadDataError.
        """
        deadline = time.monotonic() + timeout_s
        while not self._ready and not self.is_over:
            try:
                item = self._items.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            self._take_in(item)
        return self._ready.popleft() if self._ready else None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return (self._over or self._closed.is_set()) and not self._ready

    def close(self) -> None:
        """Stops the threads and waits for them; idempotent. Leases that have not ended stay so."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._reader is not threading.current_thread():
            self._reader.join(CLOSE_TIMEOUT_S)

    def _take_in(self, item: _Item) -> None:
        if isinstance(item, Exception):
            self._over = True
            raise item
        if isinstance(item, _Mark):
            rest = self._batcher.rest()
            self._ready.extend([] if rest is None else [rest])
            self._over = item is _Mark.END
        else:
            self._ready.extend(self._batcher.add(item.result()))

    def _read(self) -> None:
        try:
            self._read_everything()
        except Exception as error:  # noqa: BLE001  the top of a thread: it becomes the trainer's error
            self._put(error)
        finally:
            self._pool.shutdown(wait=True)
            self._parsing.close()

    def _read_everything(self) -> None:
        opened: deque[_Open] = deque()
        turns = self._options.open_files if self._options.shuffle_rows else 1
        over, later = False, None
        while not self._closed.is_set():
            while not over and len(opened) < turns:
                taken = later or self._leases.take(opened=len(opened))
                later = None
                if isinstance(taken, Lease) and opened and taken.epoch > self._epoch:
                    later = taken
                    break
                if isinstance(taken, Lease):
                    self._begin(taken.epoch)
                    opened.extend(filter(None, [self._open(taken)]))
                elif taken is None:
                    over = True
                else:
                    break
            if opened:
                self._turn(opened)
                self._flush_late()
            elif over:
                self._flush(_Mark.END)
                return
            else:
                self._flush(_Mark.FLUSH)

    def _begin(self, epoch: int) -> None:
        """What is read from now on belongs to an epoch. What is given back of an earlier one counts as of this one."""
        if epoch > self._epoch:
            self._mix(self._gatherer.rest())
            self._epoch = epoch

    def _mix(self, batch: Batch | None) -> None:
        self._hand_on(None if batch is None else self._shuffle.exchange(batch, self._epoch))

    def _open(self, lease: Lease) -> _Open | None:
        """None if there is nothing in it."""
        self._ledger.begin(lease)
        blocks = (b for b in open_shard(lease.shard, self._options, self._parsing.check) if self._has_news(lease, b))
        ahead = next(blocks, None)
        if ahead is None:
            self._ledger.read(lease.id, 0)
            return None
        return _Open(lease.id, blocks, ahead)

    def _has_news(self, lease: Lease, block: RawBlock) -> bool:
        """Whether some of its rows are not trained yet, as far as that can be told before they are parsed."""
        if not len(lease.trained) or self._options.format == "row_groups":
            return True
        rows = len(block.records[0] if self._options.format == "parquet" else block.records)
        return not lease.trained.has(np.arange(block.first, block.first + rows)).all()

    def _turn(self, opened: deque[_Open]) -> None:
        """A block of the next file in turn.

        The end is known before the last block is handed on, so that the last rows of a lease never leave before
        ``ended`` can be said.
        """
        current = opened.popleft()
        block, current.ahead = current.ahead, next(current.blocks, None)
        if block is None:
            return
        current.records += len(block.records)
        if current.ahead is None:
            self._ledger.read(current.lease, current.records)
        else:
            opened.append(current)
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        for batch in self._gatherer.add(current.lease, block):
            self._mix(batch)

    def _hand_on(self, batch: Batch | None) -> None:
        if batch is None:
            return
        for start in range(0, len(batch.records), self._together):
            part = batch.cut(start, start + self._together)
            self._put(self._pool.submit(self._parsing.rows, part, self._seeds.spawn(1)[0]))

    def _put(self, item: _Item) -> None:
        """Waits for room; gives up when the engine is closed."""
        while not self._closed.is_set():
            try:
                self._items.put(item, timeout=POLL_S)
                return
            except queue.Full:
                continue

    def _flush_late(self) -> None:
        linger_s = self._options.linger_s
        if linger_s is None or self._waiting_since is None:
            return
        if time.monotonic() - self._waiting_since >= linger_s:
            self._flush(_Mark.FLUSH)

    def _flush(self, mark: _Mark) -> None:
        """Hands on everything that is held."""
        if self._waiting_since is not None:
            self._mix(self._gatherer.rest())
            self._hand_on(self._shuffle.empty())
            self._put(mark)
            self._waiting_since = None
        elif mark is _Mark.END:
            self._put(mark)
