"""The shard queue as a value, and what may happen to it. Pure: no TensorFlow, clock, file or randomness.

The whole state is one value. It lives as bytes in one variable on the first parameter server and is changed only by
compare-and-swap (``cells.py``), so each function here is an atomic step of the cluster. It stays small for ever: what
is done leaves no trace but counts, and the feeder (``feeding.py``) hands in a few hundred tickets at a time.

- A **ticket** is one shard's turn in one epoch. It is pending, or held by one trainer under a **lease**, or done.
- A **holder** is one session of one task. A task that comes back is a new holder, and the leases of the old one are
  pending again. Only the present holder of a lease can acknowledge it.
- The **token** is random and new after each restore of variables. Since the state is compared as a whole, a trainer
  that has not noticed a restore can neither lease nor acknowledge.
- A **snapshot** is the state that a checkpoint holds. It is taken before the checkpoint reads the variables; hence a
  ticket that is done in it has all its gradients in it. Tickets that are held in it are pending after a restore.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from launcher.estimator.streaming.errors import StreamingError
from launcher.estimator.streaming.formats.shards import Shard

_FORMAT = 1
_LINEAGE_LIMIT = 1000


class QueueStateError(StreamingError):
    """A checkpoint holds a queue that this version cannot read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """One shard's turn in ``epoch`` (from 0). ``modified_s``: when its file was last changed, 0 where nobody asks.
    ``rows`` of it are trained; ``trained``: where their numbers are (``books.py``)."""

    shard: Shard
    epoch: int = 0
    modified_s: float = 0.0
    rows: int = 0
    trained: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A ticket that ``holder`` has under ``lease``."""

    lease: int
    holder: str
    ticket: Ticket


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """One session of ``task``; ``beat`` counts its signs of life."""

    id: str
    task: str
    beat: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A lease whose ``rows`` are all trained; ``skipped`` records of it were unreadable. ``again``: further rows, that
    had been trained before."""

    lease: int
    rows: int
    skipped: int = 0
    again: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """``examples``: rows of tickets that are done, or in part; ``duplicates``: rows trained under leases that were not
    acknowledged, and therefore again; ``skipped``: unreadable records; ``tickets``: done; ``returned``: leases that
    were taken back; ``most_held``: the most leases that one holder had at once; ``newest_s``: the newest
    ``modified_s`` that is done."""

    examples: int = 0
    duplicates: int = 0
    skipped: int = 0
    tickets: int = 0
    returned: int = 0
    most_held: int = 0
    newest_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """``version`` grows with each change. ``snapshots`` counts those taken in this lineage. ``bookmark`` is the
    feeder's own; ``ended``: it will hand in nothing more, and ``reason`` says why. ``lineage``: the tokens before this
    one, each with the number of the snapshot from which training went on."""

    token: str
    version: int = 0
    snapshots: int = 0
    next_lease: int = 1
    pending: tuple[Ticket, ...] = ()
    held: tuple[Held, ...] = ()
    holders: tuple[Holder, ...] = ()
    bookmark: Mapping[str, Any] = field(default_factory=dict)
    ended: bool = False
    reason: str = ""
    counts: Counts = Counts()
    lineage: tuple[tuple[str, int], ...] = ()

    @property
    def is_over(self) -> bool:
        """Everything that was handed in is done, and nothing more will be."""
        return self.ended and not self.pending and not self.held

    def held_by(self, holder: str) -> tuple[Held, ...]:
        return tuple(held for held in self.held if held.holder == holder)

    def has_holder(self, holder: str) -> bool:
        return any(known.id == holder for known in self.holders)


def enter(queue: Queue, holder: Holder) -> Queue:
    """A session of a task begins. What an earlier one of the same task held is pending again."""
    earlier = {known.id for known in queue.holders if known.task == holder.task}
    queue = release(queue, earlier)
    return replace(queue, holders=(*queue.holders, holder))


def release(queue: Queue, holders: Collection[str]) -> Queue:
    """Those holders are gone: what they held comes first among the pending."""
    gone = [held for held in queue.held if held.holder in holders]
    return replace(
        queue,
        pending=(*(held.ticket for held in gone), *queue.pending),
        held=tuple(held for held in queue.held if held.holder not in holders),
        holders=tuple(known for known in queue.holders if known.id not in holders),
        counts=replace(queue.counts, returned=queue.counts.returned + len(gone)),
    )


def give_back(queue: Queue, holder: str, leases: Collection[int], begun: Mapping[int, Ticket]) -> Queue:
    """The holder will not train these: they come first among the pending. ``begun``: tickets that are trained in part,
    as they are now."""
    given = {held.lease: held.ticket for held in queue.held_by(holder) if held.lease in leases}
    if not given:
        return queue
    left = [begun.get(lease, ticket) for lease, ticket in given.items()]
    counts, rows = queue.counts, sum(ticket.rows for ticket in left) - sum(ticket.rows for ticket in given.values())
    return replace(
        queue,
        pending=(*left, *queue.pending),
        held=tuple(held for held in queue.held if held.lease not in given),
        counts=replace(counts, returned=counts.returned + len(given), examples=counts.examples + rows),
    )


def lease(queue: Queue, holder: str, count: int) -> Queue:
    """Up to ``count`` pending tickets become the holder's. One that is not in the queue gets nothing."""
    taken = queue.pending[:count] if queue.has_holder(holder) else ()
    if not taken:
        return queue
    new = tuple(
        Held(lease=queue.next_lease + number, holder=holder, ticket=ticket) for number, ticket in enumerate(taken)
    )
    queue = replace(
        queue, pending=queue.pending[len(taken) :], held=(*queue.held, *new), next_lease=queue.next_lease + len(taken)
    )
    most = max(queue.counts.most_held, len(queue.held_by(holder)))
    return replace(queue, counts=replace(queue.counts, most_held=most))


def acknowledge(queue: Queue, holder: str, done: Sequence[Done]) -> Queue:
    """The holder has trained these leases. What it does not hold (any more) changes nothing."""
    mine = {held.lease: held for held in queue.held_by(holder)}
    valid = [item for item in done if item.lease in mine]
    if not valid:
        return queue
    finished = {item.lease for item in valid}
    counts = queue.counts
    return replace(
        queue,
        held=tuple(held for held in queue.held if held.lease not in finished),
        counts=replace(
            counts,
            examples=counts.examples + sum(item.rows for item in valid),
            skipped=counts.skipped + sum(item.skipped for item in valid),
            duplicates=counts.duplicates + sum(item.again for item in valid),
            tickets=counts.tickets + len(valid),
            newest_s=max(counts.newest_s, *(mine[item.lease].ticket.modified_s for item in valid)),
        ),
    )


def repeat(queue: Queue, rows: int) -> Queue:
    """So many rows were trained under leases that are not acknowledged, and will be trained again."""
    if not rows:
        return queue
    return replace(queue, counts=replace(queue.counts, duplicates=queue.counts.duplicates + rows))


def beat(queue: Queue, holder: str) -> Queue:
    """The holder is alive."""
    holders = tuple(replace(known, beat=known.beat + 1) if known.id == holder else known for known in queue.holders)
    return replace(queue, holders=holders)


def feed(
    queue: Queue, tickets: Sequence[Ticket], bookmark: Mapping[str, Any], *, ended: bool = False, reason: str = ""
) -> Queue:
    """The feeder hands in tickets, and notes how far it is."""
    if not tickets and ended == queue.ended and bookmark == queue.bookmark:
        return queue
    return replace(queue, pending=(*queue.pending, *tickets), bookmark=bookmark, ended=ended, reason=reason)


def snapshot(queue: Queue) -> Queue:
    """The state that a checkpoint is to hold."""
    return replace(queue, snapshots=queue.snapshots + 1)


def reopen(queue: Queue, token: str) -> Queue:
    """The state after a restore of ``queue``, which a checkpoint held: nobody holds anything, and whether there is
    more to come is for the feeder to say."""
    released = release(queue, {known.id for known in queue.holders} | {held.holder for held in queue.held})
    lineage = (*queue.lineage, (queue.token, queue.snapshots))[-_LINEAGE_LIMIT:]
    return replace(released, token=token, lineage=lineage, ended=False, reason="")


# --- bytes -------------------------------------------------------------------------------------------------------


def encode(queue: Queue) -> bytes:
    """Compressed JSON; equal states give equal bytes."""
    body = {
        "format": _FORMAT,
        "token": queue.token,
        "version": queue.version,
        "snapshots": queue.snapshots,
        "next_lease": queue.next_lease,
        "pending": [_ticket_out(ticket) for ticket in queue.pending],
        "held": [[held.lease, held.holder, _ticket_out(held.ticket)] for held in queue.held],
        "holders": [[known.id, known.task, known.beat] for known in queue.holders],
        "bookmark": dict(queue.bookmark),
        "ended": queue.ended,
        "reason": queue.reason,
        "counts": {name: getattr(queue.counts, name) for name in Counts.__slots__},
        "lineage": [list(item) for item in queue.lineage],
    }
    return zlib.compress(json.dumps(body, separators=(",", ":"), sort_keys=True).encode(), 1)


def decode(data: bytes) -> Queue:
    """What ``encode`` was given. Raises QueueStateError."""
    try:
        body = json.loads(zlib.decompress(data))
        if body["format"] != _FORMAT:
            raise ValueError(f"format {body['format']}")
        return Queue(
            token=body["token"],
            version=body["version"],
            snapshots=body["snapshots"],
            next_lease=body["next_lease"],
            pending=tuple(_ticket_in(item) for item in body["pending"]),
            held=tuple(Held(lease=item[0], holder=item[1], ticket=_ticket_in(item[2])) for item in body["held"]),
            holders=tuple(Holder(id=item[0], task=item[1], beat=item[2]) for item in body["holders"]),
            bookmark=body["bookmark"],
            ended=body["ended"],
            reason=body["reason"],
            counts=Counts(**body["counts"]),
            lineage=tuple((item[0], item[1]) for item in body["lineage"]),
        )
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise QueueStateError(
            f"the checkpoint's input queue cannot be read ({error}); it was written by another version of tflaunch: "
            "train on with that one, or start in a new model_dir"
        ) from None


def _ticket_out(ticket: Ticket) -> list[Any]:
    shard = ticket.shard
    part = [ticket.rows, ticket.trained] if ticket.rows else []
    return [shard.path, shard.first_record, shard.records, shard.byte_offset, ticket.epoch, ticket.modified_s, *part]


def _ticket_in(item: Sequence[Any]) -> Ticket:
    return _ticket(*item)


@functools.lru_cache(4096)
def _ticket(
    path: str, first: int, records: int | None, offset: int, epoch: int, modified_s: float, *part: Any
) -> Ticket:
    """Most of a state's tickets are those of the state before."""
    shard = Shard(path=path, first_record=first, records=records, byte_offset=offset)
    rows, trained = part or (0, "")
    return Ticket(shard=shard, epoch=epoch, modified_s=modified_s, rows=rows, trained=trained)
