"""Where tickets come from: a list of shards, once an epoch. Pure, apart from the list of an unfinished epoch.

The chief feeds the queue: it keeps a few hundred tickets pending, and notes in the queue's bookmark how far it is. The
order of epoch ``e`` follows from the seed, ``e`` and the list alone, so a bookmark of two numbers is enough to go on.

The set of an epoch is what was there when it began. If the list of files is another one at a resume, the epoch under
way is finished by the old list, which is kept beside the checkpoints: what has vanished is left out, and counted; what
is new belongs to the next epoch.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.queue import queue as queues
from launcher.estimator.streaming.queue.queue import Queue, Ticket

WINDOW, MOST_PENDING = 256, 2048

Roster = tuple[Shard, ...]


class Feeder(Protocol):
    """Hands tickets in."""

    def look(self) -> None:
        """See what there is. Called before ``feed``, which may be called several times for one contact."""
        ...

    def feed(self, queue: Queue) -> Queue:
        """The queue with enough pending tickets, if there are any."""
        ...


class Shelf(Protocol):
    """Keeps texts beside the checkpoints, by names that tell what they are of. Raises OSError."""

    def keep(self, name: str, text: str) -> None: ...

    def find(self, name: str) -> str | None: ...


class ListFeeder:
    """Feeds ``epochs`` passes (None: for ever) over a list, in the order of the list or shuffled by ``seed`` (None: a
    random one). An epoch that has begun goes on with the seed that it began with."""

    def __init__(
        self,
        shards: Sequence[Shard],
        *,
        epochs: int | None,
        shuffle: bool = True,
        seed: int | None = None,
        shelf: Shelf,
        notice: Callable[[str], None],
        window: int = WINDOW,
    ) -> None:
        roster = tuple(sorted(shards, key=lambda shard: (shard.path, shard.first_record)))
        self._paths = frozenset(shard.path for shard in shards)
        self._fingerprint = fingerprint(roster)
        self._rosters = {self._fingerprint: roster}
        self._epochs = epochs
        self._shuffle = shuffle
        self._seed = random.SystemRandom().getrandbits(32) if seed is None else seed
        self._shelf = shelf
        self._notice = notice
        self._window = window
        self._order: tuple[tuple[str, int, int], Roster] | None = None
        self._said: set[str] = set()
        shelf.keep(f"files-{self._fingerprint}", to_text(roster))

    def look(self) -> None:
        """The list is what it was."""

    def feed(self, queue: Queue) -> Queue:
        queue = self._without_vanished(queue)
        epoch, position, roster = self._bookmark(queue)
        seed = int(queue.bookmark.get("seed", self._seed)) if position else self._seed
        tickets: list[Ticket] = []
        window = max(self._window, min(2 * len(queue.held), MOST_PENDING))
        while len(queue.pending) + len(tickets) < window and not self._is_last(epoch):
            order = self._order_of(epoch, roster, seed)
            if position >= len(order):
                epoch, position, roster, seed = epoch + 1, 0, self._fingerprint, self._seed
                continue
            if order[position].path in self._paths:
                tickets.append(Ticket(shard=order[position], epoch=epoch))
            else:
                self._say_vanished(order[position].path)
            position += 1
        ended = self._is_last(epoch)
        if not tickets and ended == queue.ended and queue.bookmark:
            return queue
        mark = {"epoch": epoch, "next": position, "roster": roster, "seed": seed, "shards": len(self._rosters[roster])}
        return queues.feed(queue, tickets, mark, ended=ended, reason="every epoch is done" if ended else "")

    def _is_last(self, epoch: int) -> bool:
        return self._epochs is not None and epoch >= self._epochs

    def _bookmark(self, queue: Queue) -> tuple[int, int, str]:
        """Epoch, position in it, and the list that it began with."""
        mark = queue.bookmark
        if "epoch" not in mark:
            return 0, 0, self._fingerprint
        epoch, position, roster = int(mark["epoch"]), int(mark["next"]), str(mark["roster"])
        if roster == self._fingerprint or not position:
            return epoch, position, self._fingerprint
        if roster not in self._rosters and not self._recall(roster):
            return epoch, 0, self._fingerprint
        return epoch, position, roster

    def _recall(self, roster: str) -> bool:
        """Find the list of the epoch under way, which is another one than now."""
        text = self._shelf.find(f"files-{roster}")
        if text is None:
            self._say(
                "the list of files has changed, and that of the epoch under way is lost: the epoch starts anew, with "
                "the present files"
            )
            return False
        self._rosters[roster] = from_text(text)
        self._say(
            "the list of files has changed since the checkpoint: the epoch under way goes on with the files that it "
            "began with; new ones belong to the next epoch"
        )
        return True

    def _without_vanished(self, queue: Queue) -> Queue:
        gone = [ticket for ticket in queue.pending if ticket.shard.path not in self._paths]
        if not gone:
            return queue
        for ticket in gone:
            self._say_vanished(ticket.shard.path)
        return replace(queue, pending=tuple(t for t in queue.pending if t.shard.path in self._paths))

    def _say_vanished(self, path: str) -> None:
        self._say(f"{path} has vanished before it was trained in this epoch")

    def _say(self, text: str) -> None:
        """Each thing once: a change of the queue may be tried several times."""
        if text not in self._said:
            self._said.add(text)
            self._notice(text)

    def _order_of(self, epoch: int, roster: str, seed: int) -> Roster:
        key = (roster, epoch, seed)
        if self._order is None or self._order[0] != key:
            self._order = (key, self._ordered(roster, seed, epoch))
        return self._order[1]

    def _ordered(self, roster: str, seed: int, epoch: int) -> Roster:
        return shuffled(self._rosters[roster], seed, epoch) if self._shuffle else self._rosters[roster]


def shuffled(shards: Roster, seed: int, epoch: int) -> Roster:
    """The order of an epoch: another one for each seed and epoch, the same on every machine."""
    order = list(shards)
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return tuple(order)


def fingerprint(roster: Sequence[Shard]) -> str:
    """Equal lists have equal ones."""
    return hashlib.sha256(to_text(roster).encode()).hexdigest()[:16]


def to_text(roster: Sequence[Shard]) -> str:
    return json.dumps([[s.path, s.first_record, s.records, s.byte_offset] for s in roster], separators=(",", ":"))


def from_text(text: str) -> Roster:
    items: list[list[Any]] = json.loads(text)
    return tuple(Shard(path=p, first_record=first, records=n, byte_offset=at) for p, first, n, at in items)
