"""What a holder knows of its leases: how far each is read and trained, and by row what is trained of those that are not
done. Whoever gives them back gives back only the rest.

The numbers of the rows that are trained are put into a file beside the checkpoints, and the ticket has its name: the
queue stays small. A trainer that leases the ticket leaves them out.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from launcher.estimator.streaming.formats.columns import Ints
from launcher.estimator.streaming.formats.row_sets import NO_ROWS, Marks, RowSet
from launcher.estimator.streaming.queue.accounts import Account, rows_by_lease
from launcher.estimator.streaming.queue.feeding import Shelf
from launcher.estimator.streaming.queue.journal import ROWS
from launcher.estimator.streaming.queue.queue import Done, Held, Ticket

_log = logging.getLogger("tensorflow")
_ROWS_TOGETHER = 1 << 16
_FEW = 16


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What is given back, by lease: its ticket, which knows what is trained; and how many rows were trained in vain,
    since they will come again or had been trained before."""

    tickets: Mapping[int, Ticket]
    again: Mapping[int, int]


class Books:
    """Of one holder. Its caller sees to it that one thread at a time is in it, but for ``before``.

    ``accounts``: of leases that are not done; ``done``: those that are, and not acknowledged.
    """

    def __init__(self, shelf: Shelf, holder: str) -> None:
        self.accounts: dict[int, Account] = {}
        self.done: dict[int, Done] = {}
        self._shelf = shelf
        self._holder = holder
        self._steps: list[tuple[Ints, Ints]] = []
        self._steps_rows = 0
        self._rows: dict[int, Marks] = {}

    def ended(self, lease: int, rows: int) -> bool:
        """A lease is read to its end, and has so many rows. Whether it is of interest."""
        if (account := self.accounts.get(lease)) is None:
            return False
        account.total = rows
        self._settle(lease, account)
        return True

    def skipped(self, path: str) -> None:
        """One record of that file was unreadable and is left out."""
        for account in self.accounts.values():
            if account.held.ticket.shard.path == path and account.total is None:
                account.skipped += 1
                return

    def trained(self, leases: Ints, rows: Ints) -> None:
        """A step is finished; int64[batch] lease and row number of each of its rows."""
        self._steps.append((np.asarray(leases, np.int64), np.asarray(rows, np.int64)))
        self._steps_rows += len(leases)
        for lease, count in rows_by_lease(leases).items():
            if (account := self.accounts.get(lease)) is not None:
                account.trained += count
                self._settle(lease, account)
        if self._steps_rows >= _ROWS_TOGETHER:
            self._fold()

    def rest(self) -> Rest:
        """Put away what is trained of the leases that are not done. Where that cannot be written, all of it comes
        again."""
        self._fold()
        begun = {lease: account for lease, account in self.accounts.items() if account.trained}
        done = {lease: self._trained_of(lease, account) for lease, account in begun.items()}
        name = f"{self._holder}{ROWS}"
        try:
            if done:
                self._shelf.keep(name, json.dumps({lease: rows.steps() for lease, rows in done.items()}))
        except OSError as error:
            _log.warning("Input: what is trained of %d shards is lost, and comes again: %s", len(done), error)
            return Rest(tickets={}, again={lease: account.trained for lease, account in begun.items()})
        tickets = {
            lease: replace(begun[lease].held.ticket, rows=len(rows), trained=f"{name}/{lease}")
            for lease, rows in done.items()
        }
        return Rest(tickets=tickets, again={lease: _again(begun[lease], len(rows)) for lease, rows in done.items()})

    def before(self, held: Held) -> RowSet:
        """The rows of a lease that were trained before it began."""
        ticket = held.ticket
        if not ticket.rows:
            return NO_ROWS
        try:
            return _found(self._shelf, ticket)
        except (OSError, ValueError, KeyError) as error:
            _log.warning("Input: which rows of %s are trained is lost: all come again: %r", ticket.shard.path, error)
            return NO_ROWS

    def _settle(self, lease: int, account: Account) -> None:
        if not account.is_done:
            return
        again = 0
        if account.held.ticket.rows:
            self._fold()
            again = _again(account, len(self._trained_of(lease, account)))
        self.done[lease] = Done(lease=lease, rows=account.trained - again, skipped=account.skipped, again=again)
        del self.accounts[lease]

    def _trained_of(self, lease: int, account: Account) -> RowSet:
        """In this lease or before."""
        return account.before | (self._rows[lease].rows() if lease in self._rows else NO_ROWS)

    def _fold(self) -> None:
        """Sort the rows of finished steps by lease, and forget those of leases that are done."""
        self._rows = {lease: marks for lease, marks in self._rows.items() if lease in self.accounts}
        if not self._steps:
            return
        leases, rows = (np.concatenate(parts) for parts in zip(*self._steps, strict=True))
        self._steps, self._steps_rows = [], 0
        kept = list(self.accounts)
        if len(kept) > _FEW:
            wanted = np.isin(leases, np.array(kept))
            leases, rows = leases[wanted], rows[wanted]
            kept = np.unique(leases).tolist()
        for lease in kept:
            self._rows.setdefault(lease, Marks()).add(rows[leases == lease])


def _again(account: Account, rows: int) -> int:
    """How many were trained twice, where ``rows`` of its ticket are trained in all."""
    return account.trained + account.held.ticket.rows - rows


def _found(shelf: Shelf, ticket: Ticket) -> RowSet:
    name, _, lease = ticket.trained.rpartition("/")
    text = shelf.find(name)
    if text is None:
        raise KeyError(name)
    return RowSet.from_steps(json.loads(text)[lease])
