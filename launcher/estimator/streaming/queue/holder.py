"""One trainer session's part of the queue: a thread that leases, acknowledges and shows that it is alive.

Three threads meet here: the reading engine takes leases (``take``) and says when one is read to its end (``ended``);
the trainer's own says which rows it has trained (``trained``) and waits for input; the holder's thread talks to the
queue. A lease is acknowledged when it is read to its end and all its rows have been in finished steps.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Literal

from launcher.estimator.streaming.formats.columns import Ints
from launcher.estimator.streaming.queue import queue as queues
from launcher.estimator.streaming.queue.accounts import Account, Having, Pace, Upkeep, rows_by_lease
from launcher.estimator.streaming.queue.books import Books, Rest
from launcher.estimator.streaming.queue.client import Client, RolledBackError
from launcher.estimator.streaming.queue.feeding import Shelf
from launcher.estimator.streaming.queue.journal import Journal
from launcher.estimator.streaming.queue.queue import Done, Held, Queue
from launcher.estimator.streaming.reading.leases import Lease, Pause

_POLL_S = 0.2
_TAKE_S = 0.4
_FAILURE_S = 15.0
_CLOSE_S = 2.0


class Holder:
    """The leases of one session.

    ``upkeep``: what the chief does at each contact besides (feeding, taking leases from those who are gone).
    ``pace``: how many leases it takes. ``told`` is given the queue after each contact; ``waited_s``: how long the
    trainer waited for input between steps.
    """

    def __init__(
        self,
        client: Client,
        holder: str,
        journal: Journal | None,
        shelf: Shelf,
        *,
        upkeep: Upkeep | None = None,
        pace: Pace | None = None,
        beat_s: float = 5.0,
        is_stopping: Callable[[], bool] = lambda: False,
        told: Callable[[Queue], None] | None = None,
    ) -> None:
        self.id = holder
        self.waited_s = 0.0
        self.queue: Queue | None = None
        self._client = client
        self._journal = journal
        self._upkeep = upkeep
        self._beat_s = beat_s
        self._is_stopping = is_stopping
        self._told = told
        self._changed = threading.Condition()
        self._contacting = threading.Lock()
        self._available: deque[Held] = deque()
        self._leases_no_more = False
        self._closed = False
        self._failure: Exception | None = None
        self._failed_at = 0.0
        self._beat_at = 0.0
        self._paused = False
        self._taking = 0
        self._opened = 0
        self._books = Books(shelf, holder)
        self._rest: Rest | None = None
        self._pace = pace or Pace()
        self._thread = threading.Thread(target=self._run, name="tflaunch-queue", daemon=True)

    def start(self) -> None:
        self._thread.start()

    # --- the engine's side

    def take(self, *, opened: int = 0) -> Lease | Literal[Pause.NOTHING_NOW] | None:
        """See ``leases.Leases``."""
        with self._changed:
            self._taking += 1
            self._opened = opened
            try:
                return self._take(wait=not opened)
            finally:
                self._taking -= 1
                self._changed.notify_all()

    def _take(self, *, wait: bool) -> Lease | Literal[Pause.NOTHING_NOW] | None:
        if wait and not self._available:
            self._pace.ran_dry = True
        self._changed.wait_for(self._may_answer, self._patience_s() if wait else 0)
        if self._is_at_end():
            return None
        if self._failed_at and monotonic() - self._failed_at > _FAILURE_S:
            return None  # the trainer waits inside TensorFlow, and must come out to learn of it
        if not self._available:
            self._paused |= wait
            return Pause.NOTHING_NOW
        self._paused = False
        held = self._available.popleft()
        self._pace.taken += 1
        self._opened += 1
        self._changed.notify_all()
        before = self._books.accounts[held.lease].before
        return Lease(id=held.lease, shard=held.ticket.shard, epoch=held.ticket.epoch, trained=before)

    def ended(self, lease: int, rows: int) -> None:
        """See ``leases.Leases``."""
        with self._changed:
            if self._books.ended(lease, rows):
                self._pace.read(rows)
                self._changed.notify_all()

    def skipped(self, path: str) -> None:
        """One record of that file was unreadable and is left out."""
        with self._changed:
            self._books.skipped(path)

    def _may_answer(self) -> bool:
        # At the most leases nothing comes before some are trained: what was read has to be handed on first.
        is_full = len(self._books.accounts) >= self._pace.most_held and not self._paused
        return bool(self._available) or is_full or self._is_at_end()

    def _is_at_end(self) -> bool:
        return self._leases_no_more or self._closed or self._is_stopping() or self._nothing_can_come()

    def _nothing_can_come(self) -> bool:
        """Everything is done, but for what this holder is about."""
        queue = self.queue
        if queue is None or not queue.ended or queue.pending or self._available:
            return False
        return all(held.holder == self.id for held in queue.held)

    def _patience_s(self) -> float:
        """Where nothing more will come but what others give back, what is read is handed on at once."""
        queue = self.queue
        only_others = queue is not None and queue.ended and not queue.pending
        return 0.02 if only_others and not self._paused else _TAKE_S

    # --- the trainer's side

    def trained(self, leases: Ints, rows: Ints, ids: Mapping[int, Any] | None = None, *, by: str = "row") -> None:
        """A step is finished that had these rows, int64[batch] by lease and number in their file."""
        if self._journal is not None:
            self._journal.step(rows_by_lease(leases), ids, by=by)
        with self._changed:
            self._books.trained(leases, rows)
            self._changed.notify_all()

    def wait_for_input(self, is_over: Callable[[], bool]) -> bool:
        """Block until something is leased, so that a step will find input. False: there is no more input, or
        ``is_over()``. Raises what has gone wrong with the queue."""
        began = monotonic()
        with self._changed:
            while True:
                if self._failure is not None:
                    raise self._failure
                if self._books.accounts or self._closed:
                    break
                ends = self._leases_no_more or is_over()
                if ends or (self.queue is not None and self.queue.is_over):
                    return False
                self._changed.wait(_POLL_S)
        self.waited_s += monotonic() - began
        return True

    def flush(self) -> None:
        """Acknowledge now what can be. Errors are left to the thread."""
        if self._failure is None and not self._closed:
            self._guarded()

    def finish(self) -> None:
        """Training is over here: acknowledge, give the rest back, lease nothing more. The upkeep goes on."""
        with self._changed:
            self._leases_no_more = True
            self._available.clear()
            self._rest = self._rest or self._books.rest()
            self._changed.notify_all()
        self.flush()
        while self._books.done and self._failure is None and not self._closed:
            self.flush()

    @property
    def failure(self) -> Exception | None:
        """What has gone wrong with the queue."""
        return self._failure

    def close(self) -> None:
        """End the thread, and let the engine's leave: a thread of TensorFlow that is still in Python when the
        interpreter ends aborts the process."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._taking, _CLOSE_S)
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(5.0)
        if self._journal is not None:
            self._journal.close()
        self._client.forget()

    # --- the queue's side

    def _run(self) -> None:
        while not self._closed and self._failure is None:
            self._guarded()
            with self._changed:
                self._changed.wait_for(self._has_work, _POLL_S)

    def _has_work(self) -> bool:
        may_get_more = self._may_lease() and self.queue is not None and self._pace.is_worth(self.queue, self._having())
        return bool(self._books.done) or self._closed or may_get_more

    def _may_lease(self) -> bool:
        return not (self._leases_no_more or self._is_stopping())

    def _having(self) -> Having:
        return Having(held=len(self._books.accounts), ahead=len(self._available), opened=self._opened)

    def _guarded(self) -> None:
        try:
            with self._contacting:
                self._contact()
        except Exception as error:  # noqa: BLE001  the trainer's thread raises it
            with self._changed:
                self._failure = error
                self._failed_at = monotonic()
                self._changed.notify_all()

    def _contact(self) -> None:
        with self._changed:
            done, may_lease, having = dict(self._books.done), self._may_lease(), self._having()
        steps = self._journal.steps if self._journal is not None else 0
        if self._upkeep is not None:
            self._upkeep.look()
        beats = monotonic() - self._beat_at >= self._beat_s

        def change(queue: Queue) -> Queue:
            if not queue.has_holder(self.id):
                raise RolledBackError("this task's leases were given to others, since it showed no sign of life")
            if self._journal is not None:
                self._journal.tag(steps, queue.snapshots)
            # Before the chief, late itself, looks who is silent.
            queue = queues.beat(queue, self.id) if beats else queue
            queue = queues.acknowledge(queue, self.id, tuple(done.values()))
            if self._upkeep is not None:
                queue = self._upkeep.change(queue)
            if self._rest is not None:
                queue = self._give_back(queue, self._rest)
            return queues.lease(queue, self.id, self._pace.wanted(queue, having)) if may_lease else queue

        queue = self._client.update(change)
        if beats:
            self._beat_at = monotonic()
        self._take_over(queue, done)

    def _give_back(self, queue: Queue, rest: Rest) -> Queue:
        """What is neither trained nor will be: others get it, but for its rows that are trained."""
        left = {held.lease for held in queue.held_by(self.id) if held.lease not in self._books.done}
        again = sum(rest.again.get(lease, 0) for lease in left)
        return queues.repeat(queues.give_back(queue, self.id, left, rest.tickets), again)

    def _take_over(self, queue: Queue, done: Mapping[int, Done]) -> None:
        mine = queue.held_by(self.id)
        before = {held.lease: self._books.before(held) for held in mine if held.lease not in self._books.accounts}
        with self._changed:
            self._pace.contact(len(self._available))
            for lease in done:
                self._books.done.pop(lease, None)
            known = self._books.accounts.keys() | self._books.done.keys()
            new = [held for held in mine if held.lease not in known]
            if self._journal is not None and new:
                self._journal.leased(new)
            for held in new:
                self._books.accounts[held.lease] = Account(held=held, before=before[held.lease])
            self._available.extend(new)
            if self._leases_no_more:
                self._books.accounts.clear()
            self.queue = queue
            self._changed.notify_all()
        if self._journal is not None:
            self._journal.acknowledged(queue.snapshots, done)
            self._journal.compact({*self._books.accounts, *self._books.done})
        if self._told is not None:
            self._told(queue)
