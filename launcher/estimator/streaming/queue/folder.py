"""A watched folder: files that appear in it are fed for ever, oldest first.

A file is complete when it is renamed in; names that begin with ``.`` or ``_``, or are not those of data, are passed
over. Which files have been fed must survive a restart without a list that grows for ever. The file system knows when a
file appeared: its ctime is the moment of the rename. So files are fed in *batches* of everything that has appeared
between two such moments, within a batch by (mtime, name), and the queue's bookmark has three values:

    done    everything that appeared up to this ctime has been fed
    bound   the batch that is being fed appeared up to this one
    at      (mtime, name) of the last file fed from it

While the chief runs it knows every file by name, mtime and size besides, so that a chmod feeds nothing again. Changing
old files while no chief runs (chmod, chown, mv) gives them a new ctime: they are trained again rather than lost.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from launcher.estimator.streaming.errors import SourceError
from launcher.estimator.streaming.formats.feature_spec import SPEC_FILE
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.formats.storage.remote import errors, system_of
from launcher.estimator.streaming.formats.storage.sources import is_data_file
from launcher.estimator.streaming.queue import queue as queues
from launcher.estimator.streaming.queue.queue import Queue, Ticket

_SETTLED_NS = 2_000_000_000
_UNFINISHED = (".tmp", ".part")
_BESIDE = (SPEC_FILE, "schema.json")
_MOST_STRAYS = 1000


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class File:
    """One file of the folder, ordered by age. Times in nanoseconds."""

    modified_ns: int
    name: str
    appeared_ns: int
    size: int

    @property
    def identity(self) -> tuple[str, int, int]:
        return self.name, self.modified_ns, self.size


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Files that appeared up to ``bound`` and after the batch before, oldest first."""

    bound: int
    files: tuple[File, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """How far feeding is; see above."""

    done: int = 0
    bound: int = 0
    at: tuple[int, str] = (0, "")

    def has_fed(self, file: File) -> bool:
        if file.appeared_ns <= self.done:
            return True
        return file.appeared_ns <= self.bound and (file.modified_ns, file.name) <= self.at


class StrayError(Exception):
    """A file that is no part of the data; the text says why."""


def whole(path: str) -> tuple[Shard, ...]:
    """A file as one shard."""
    return (Shard(path=path),)


@dataclass(frozen=True, kw_only=True)
class Watching:
    """How a folder is watched. ``idle_s``: it ends when nothing has come for so long and everything is trained (None:
    never). ``window``: tickets that are kept pending. ``on_stray``: what is not data is passed over, or ends training.
    ``cut``: a file's shards; raises StrayError."""

    idle_s: float | None = None
    window: int = 256
    scan_s: float = 0.5
    on_stray: Literal["skip", "fail"] = "skip"
    cut: Callable[[str], tuple[Shard, ...]] = whole


class FolderFeeder:
    """Feeds what appears in a folder. ``listing`` gives its files now; ``clock_ns`` is the wall clock."""

    def __init__(
        self,
        folder: str,
        how: Watching,
        *,
        listing: Callable[[str], Sequence[File]] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder = folder.rstrip("/")
        self._how = how
        self._cut = functools.lru_cache(4 * how.window)(self._shards_of)  # a change of the queue is tried again
        self._listing = listing or (lambda folder: list_folder(folder, self._stray))
        self._clock_ns = clock_ns
        self._files: Sequence[File] | None = None
        self._seen: dict[str, tuple[str, int, int]] = {}
        self._listed: dict[str, File] = {}
        self._batches: list[Batch] | None = None
        self._scanned_ns = 0
        self._active_ns = clock_ns()
        self._is_idle = False
        self._notice = notice
        self._complaint = ""
        self._strays: set[str] = set()

    def look(self) -> None:
        """List the folder, if that is due."""
        now = self._clock_ns()
        if now - self._scanned_ns >= self._how.scan_s * 1e9:
            self._scanned_ns = now
            try:
                self._files = self._listing(self._folder)
            except OSError as error:  # not there (yet), or the file server is away: nobody's files have gone
                self._complain(error)
                return
            if self._batches is not None:
                self._sort_in()

    def feed(self, queue: Queue) -> Queue:
        if self._files is None:  # what was fed before cannot be told from what is new
            return queue
        mark = read_mark(queue.bookmark)
        if self._batches is None:
            self._begin(mark)
        tickets: list[Ticket] = []
        for batch in () if self._is_idle else self._batches_after(mark):
            if batch.bound > mark.bound:
                mark = Mark(done=mark.bound, bound=batch.bound)
            for file in batch.files:
                if len(queue.pending) + len(tickets) >= self._how.window:
                    break
                if (file.modified_ns, file.name) > mark.at:
                    mark = Mark(done=mark.done, bound=mark.bound, at=(file.modified_ns, file.name))
                    tickets += self._cut(file)
            else:
                continue
            break
        self._watch_idleness(queue, bool(tickets))
        if not tickets and self._is_idle == queue.ended:
            return queue
        reason = f"nothing has come for {self._how.idle_s:g} s" if self._is_idle else ""
        return queues.feed(queue, tickets, write_mark(mark), ended=self._is_idle, reason=reason)

    def _complain(self, error: OSError) -> None:
        if str(error) != self._complaint:
            self._complaint = str(error)
            self._notice(f"the folder {self._folder} cannot be listed: {error}")

    def _stray(self, name: str, why: str = "its name is not that of data") -> None:
        """Passed over, and named once. Raises SourceError where it is to end training."""
        if self._how.on_stray == "fail":
            raise SourceError(f"{self._folder}/{name} is no data: {why}; on_stray='skip' passes over such files")
        if name not in self._strays and len(self._strays) < _MOST_STRAYS:
            self._strays.add(name)
            self._notice(f"{self._folder}/{name} is passed over: {why}")

    @property
    def waiting(self) -> int:
        """Files that are known and not yet handed to the queue, at most."""
        return sum(len(batch.files) for batch in self._batches or ())

    def _begin(self, mark: Mark) -> None:
        """Know what was fed before this process began."""
        assert self._files is not None
        self._batches = []
        fed = [file for file in self._files if mark.has_fed(file)]
        self._seen = {file.name: file.identity for file in fed}
        current = [f for f in self._files if f.appeared_ns <= mark.bound and not mark.has_fed(f)]
        if current:
            self._batches.append(Batch(bound=mark.bound, files=tuple(sorted(current))))
            self._seen |= {file.name: file.identity for file in current}
        self._sort_in()

    def _sort_in(self) -> None:
        """Make a batch of the new files that have settled, unless some that appeared before them have not."""
        assert self._batches is not None and self._files is not None
        present = {file.name: file for file in self._files}
        self._seen = {name: identity for name, identity in self._seen.items() if name in present}
        new = [file for file in self._files if self._seen.get(file.name) != file.identity]
        unsettled = [file for file in new if not self._has_settled(file)]
        limit = min((file.appeared_ns for file in unsettled), default=None)
        ready = [file for file in new if limit is None or file.appeared_ns < limit]
        self._listed = present
        if ready:
            last = self._batches[-1].bound if self._batches else 0
            bound = max(last + 1, *(file.appeared_ns for file in ready))
            self._batches.append(Batch(bound=bound, files=tuple(sorted(ready))))
            self._seen |= {file.name: file.identity for file in ready}

    def _has_settled(self, file: File) -> bool:
        """Two scans in a row saw the same file, or it has been there for a while."""
        return self._listed.get(file.name) == file or self._clock_ns() - file.appeared_ns > _SETTLED_NS

    def _batches_after(self, mark: Mark) -> list[Batch]:
        """The batch under way and those after it; what the queue's own state says to be done is dropped."""
        assert self._batches is not None
        self._batches = [batch for batch in self._batches if batch.bound >= mark.bound]
        return list(self._batches)

    def _shards_of(self, file: File) -> list[Ticket]:
        try:
            shards = self._how.cut(f"{self._folder}/{file.name}")
        except StrayError as error:
            self._stray(file.name, str(error))
            return []
        return [Ticket(shard=shard, modified_s=file.modified_ns / 1e9) for shard in shards]

    def _watch_idleness(self, queue: Queue, has_fed: bool) -> None:
        now = self._clock_ns()
        if has_fed or queue.pending or queue.held:
            self._active_ns = now
        idle_s = self._how.idle_s
        if idle_s is not None and now - self._active_ns > idle_s * 1e9:
            self._is_idle = True


def read_mark(bookmark: Any) -> Mark:
    """The mark in a queue's bookmark; the beginning if there is none."""
    if "bound" not in bookmark:
        return Mark()
    modified_ns, name = bookmark["at"]
    return Mark(done=bookmark["done"], bound=bookmark["bound"], at=(modified_ns, name))


def write_mark(mark: Mark) -> dict[str, Any]:
    return {"done": mark.done, "bound": mark.bound, "at": list(mark.at)}


def list_folder(folder: str, passed_over: Callable[[str], None] = lambda _: None) -> list[File]:
    """The complete data files of a folder, in no order. Raises OSError. ``passed_over``: told each name that is neither
    theirs, nor that of an unfinished file, nor one that stands beside data.

    Where there is no ctime (a folder elsewhere), the time of the last change stands in.
    """
    if "://" in folder:
        return _list_remote(folder, passed_over)
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_complete(entry.name):
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    found.append(_file(entry.name, entry.stat()))
            elif is_stray(entry.name) and entry.is_file():
                passed_over(entry.name)
    return found


def _file(name: str, about: os.stat_result) -> File:
    return File(modified_ns=about.st_mtime_ns, name=name, appeared_ns=about.st_ctime_ns, size=about.st_size)


def is_complete(name: str) -> bool:
    return is_data_file(name) and not name.startswith((".", "_")) and not name.endswith(_UNFINISHED)


def is_stray(name: str) -> bool:
    """Whether a name is one that somebody may think to be read, and that is not."""
    return not (is_complete(name) or name.startswith((".", "_")) or name.endswith(_UNFINISHED) or name in _BESIDE)


def _list_remote(folder: str, passed_over: Callable[[str], None]) -> list[File]:
    try:
        found = system_of(folder).listing(folder)
    except errors() as error:
        raise OSError(str(error)) from error
    for name, _, _ in found:
        if is_stray(name):
            passed_over(name)
    return [
        File(modified_ns=changed_ns, name=name, appeared_ns=changed_ns, size=size)
        for name, changed_ns, size in found
        if is_complete(name)
    ]
