"""What one trainer's sessions have in common: it opens the queue, enters it, and reports. Without TensorFlow."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import numpy as np

from launcher.estimator.streaming.queue import journal as journals
from launcher.estimator.streaming.queue import queue as queues
from launcher.estimator.streaming.queue.accounts import Pace
from launcher.estimator.streaming.queue.client import Client, RolledBackError, new_token
from launcher.estimator.streaming.queue.feeding import Feeder, Shelf
from launcher.estimator.streaming.queue.holder import Holder
from launcher.estimator.streaming.queue.journal import Journal
from launcher.estimator.streaming.queue.numbers import Numbers, Source
from launcher.estimator.streaming.queue.queue import Queue
from launcher.estimator.streaming.queue.upkeep import ChiefUpkeep
from launcher.estimator.task import Task, add_examples

_POLL_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Place:
    """Who and where this trainer is. ``task``: as ``worker:1``; ``folder``: of the journals, None where there can be
    none (a model_dir that is no folder of this machine); ``is_audit``: they keep every id. ``trainers``: how many are
    to be there at the start."""

    task: str
    is_chief: bool
    model_dir: str
    folder: Path | None
    source: Source
    is_audit: bool = False
    id_column: str | None = None
    holder_timeout_s: float = 60.0
    most_leases: int | None = None
    trainers: int = 1


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What the input has put into the graph. ``fetches``: tensors by name that each step fetches besides."""

    cells: Any
    initializer: Any
    fetches: Mapping[str, Any]


class Sitting:
    """The streaming of one training in this process, over all of its sessions.

    ``make_feeder`` is called in the chief alone, with the queue as it was opened; ``shelf`` is the same for all.
    """

    def __init__(self, place: Place, graph: Graph, task: Task, make_feeder: Callable[[], Feeder], shelf: Shelf) -> None:
        self.place = place
        self.graph = graph
        self.holder: Holder | None = None
        self._task = task
        self._make_feeder = make_feeder
        self._shelf = shelf
        self._client: Client | None = None
        self._session: Any = None
        self._holds_in: Any = None
        self._journal: Journal | None = None
        self._has_finished = False
        self._was_over = False
        self._waited_s = 0.0
        self._summarised = (0.0, 0.0)
        self.numbers = Numbers(task.channel.send, place.source)
        task.before_finish.append(self.finish)

    # --- a session begins

    def open(self, session: Any) -> None:
        """Enter the queue with this session; what an earlier one held is given back."""
        if self.holder is not None:
            self.holder.close()
            self._waited_s += self.holder.waited_s
        self._client = None  # whatever this process knew of the queue was another session's
        client = self._client_of(session)
        self._await_open(client)
        holder = queues.Holder(id=f"{self.place.task.replace(':', '-')}-{secrets.token_hex(4)}", task=self.place.task)
        before = self._journal
        queue = client.update(lambda queue: self._enter(queue, holder, before))
        client.token = queue.token
        self._journal = self._new_journal(holder, queue)
        self.holder = Holder(
            client,
            holder.id,
            self._journal,
            self._shelf,
            upkeep=self._new_upkeep() if self.place.is_chief else None,
            pace=Pace(most_leases=self.place.most_leases, trainers=self.place.trainers),
            beat_s=self.place.holder_timeout_s / 6,
            is_stopping=lambda: self._task.is_stopping,
            told=self.numbers.see if self.place.is_chief else None,
        )
        self.holder.start()
        self._holds_in = session
        if self._has_finished:  # the chief waits for the others, and has lost its session meanwhile
            self.holder.finish()
        session.run(self.graph.initializer)

    def _client_of(self, session: Any) -> Client:
        """This session's client; the chief opens the queue with it, which comes before the first snapshot."""
        if self._client is None or self._session is not session:
            self._session = session
            self._client = Client(self.graph.cells, session)
            if self.place.is_chief:
                self._client.open(self._revive)
        return self._client

    def _await_open(self, client: Client) -> None:
        while client.look() is None and not self._task.is_stopping:
            sleep(_POLL_S)

    def _revive(self, saved: Queue | None) -> Queue:
        if saved is None:
            return Queue(token=new_token())
        return queues.repeat(
            queues.reopen(saved, new_token()), self._in_vain(saved.held, before_snapshot=saved.snapshots)
        )

    def _enter(self, queue: Queue, holder: queues.Holder, before: Journal | None) -> Queue:
        earlier = {known.id for known in queue.holders if known.task == holder.task}
        lost = tuple(held for held in queue.held if held.holder in earlier)
        if self.place.folder is not None:
            for name in earlier:
                journals.mark_released(self.place.folder, name, queue.snapshots)
        rows = self._in_vain(lost)
        if before is not None:
            journals.mark_released(before.path.parent, before.holder, queue.snapshots)
            rows += journals.rows_after_release(before.path)
        return queues.repeat(queues.enter(queue, holder), rows)

    def _new_journal(self, holder: queues.Holder, queue: Queue) -> Journal | None:
        folder = self.place.folder
        if folder is None:
            return None
        return Journal(folder, holder.id, holder.task, queue.token, keeps_all=self.place.is_audit)

    def _in_vain(self, lost: tuple[queues.Held, ...], *, before_snapshot: int | None = None) -> int:
        folder = self.place.folder
        return 0 if folder is None else journals.rows_in_vain(folder, lost, before_snapshot=before_snapshot)

    def _new_upkeep(self) -> ChiefUpkeep:
        if self.place.folder is not None and not self.place.is_audit:
            journals.forget_old(self.place.folder, time())
        return ChiefUpkeep(self._make_feeder, timeout_s=self.place.holder_timeout_s, folder=self.place.folder)

    # --- steps and checkpoints

    def trained(self, results: Mapping[str, Any]) -> None:
        """A step is finished; ``results`` are its fetches: ``lease`` and ``row`` int64[batch], seconds ``began`` and
        ``got``; in an audit ``id``, if it is not the row."""
        if self.holder is None:
            return
        ids = self._ids(results) if self.place.is_audit else None
        by = "column" if self.place.id_column else "row"
        self.holder.trained(results["lease"], results["row"], ids, by=by)
        self._waited_s += max(0.0, float(results["got"]) - float(results["began"]))
        self._task.waited_s = self._waited_s + self.holder.waited_s
        add_examples(len(results["lease"]))

    def summary(self) -> dict[str, float]:
        """Numbers for TensorBoard, since the last call."""
        now, waited_s = monotonic(), self._task.waited_s or 0.0
        (at, before_s), self._summarised = self._summarised, (now, waited_s)
        return self.numbers.summary((waited_s - before_s) / (now - at) if at and now > at else None)

    def _ids(self, results: Mapping[str, Any]) -> dict[int, list[Any]]:
        leases, ids = np.asarray(results["lease"]), np.asarray(results.get("id", results["row"]))
        return {int(lease): _plain(ids[leases == lease]) for lease in np.unique(leases)}

    def is_over(self) -> bool:
        """Whether training is to end although there may be more input."""
        return self._task.is_stopping

    def snapshot(self, session: Any) -> None:
        """Make the present state the one that checkpoints hold."""
        client = self._client_of(session)
        if self.holder is not None and self._holds_in is session:
            # A checkpoint is saved before a new session enters the queue; a call in the lost one may never return.
            self.holder.flush()
        client.update(queues.snapshot, saves=True)

    def saved(self, global_step: int) -> None:
        """A checkpoint holds the snapshot now. An audit notes its lineage."""
        folder = self.place.folder
        saved = self.graph.cells.read_saved(self._session)
        if folder is None or not self.place.is_audit or not saved:
            return
        queue = queues.decode(saved)
        note = {"global_step": global_step, "lineage": [*queue.lineage, (queue.token, queue.snapshots)]}
        journals.write_whole(folder / journals.SAVED, json.dumps({**note, "counts": asdict(queue.counts)}))

    def has_news(self, session: Any) -> bool:
        """Whether something was trained since the last snapshot that the queue knows of."""
        cells = self.graph.cells
        return _essence(cells.read(session)) != _essence(cells.read_saved(session))

    def finish(self) -> None:
        """The last step is done: acknowledge, and give back what is not trained. Raises what has gone wrong with the
        queue, since input that ended because of it has not ended."""
        if self.holder is None or self._has_finished:
            return
        self._has_finished = True
        self.holder.finish()
        if self.holder.failure is not None and not self._task.is_stopping:
            raise self.holder.failure
        self._was_over = self.holder.queue is not None and self.holder.queue.is_over

    def check_end(self) -> None:
        """Raises RolledBackError where the variables were rolled back since the input was all trained: this process
        can train no more, but the next one will."""
        if self._was_over and self._client is not None:
            queue = self._client.look()
            if queue is None or not queue.is_over:
                raise RolledBackError(
                    "the variables were rolled back after the last step, so that some of the input is not in the last "
                    "checkpoint: start again, and training goes on from there"
                )

    def close(self) -> None:
        if self.holder is not None:
            self.holder.close()
        self._session = self._client = self._holds_in = None
        if self.finish in self._task.before_finish:
            self._task.before_finish.remove(self.finish)


def _plain(values: Any) -> list[Any]:
    """Python numbers or texts for NumPy's."""
    return [value.decode(errors="replace") if isinstance(value, bytes) else value for value in values.tolist()]


def _essence(data: bytes) -> object:
    if not data:
        return None
    queue = queues.decode(data)
    left = Counter([*queue.pending, *(held.ticket for held in queue.held)])
    return left, replace(queue.counts, returned=0, most_held=0), queue.bookmark, queue.ended
