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
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.formats.sources import is_data_file
from launcher.estimator.streaming.queue import queue as queues
from launcher.estimator.streaming.queue.queue import Queue, Ticket

_SETTLED_NS = 2_000_000_000
_UNFINISHED = (".tmp", ".part")


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


class FolderFeeder:
    """Feeds what appears in a folder. ``listing`` gives its files now; ``clock_ns`` is the wall clock.

    Ends when nothing has come for ``idle_s`` and everything is trained (None: never).
    """

    def __init__(
        self,
        folder: str,
        *,
        idle_s: float | None = None,
        window: int = 256,
        scan_s: float = 0.5,
        listing: Callable[[str], Sequence[File]] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder = folder.rstrip("/")
        self._idle_s = idle_s
        self._window = window
        self._scan_s = scan_s
        self._listing = listing or list_folder
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

    def look(self) -> None:
        """List the folder, if that is due."""
        now = self._clock_ns()
        if now - self._scanned_ns >= self._scan_s * 1e9:
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
                if len(queue.pending) + len(tickets) >= self._window:
                    break
                if (file.modified_ns, file.name) > mark.at:
                    mark = Mark(done=mark.done, bound=mark.bound, at=(file.modified_ns, file.name))
                    tickets.append(self._ticket(file))
            else:
                continue
            break
        self._watch_idleness(queue, bool(tickets))
        if not tickets and self._is_idle == queue.ended:
            return queue
        reason = f"nothing has come for {self._idle_s:g} s" if self._is_idle else ""
        return queues.feed(queue, tickets, write_mark(mark), ended=self._is_idle, reason=reason)

    def _complain(self, error: OSError) -> None:
        if str(error) != self._complaint:
            self._complaint = str(error)
            self._notice(f"the folder {self._folder} cannot be listed: {error}")

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

    def _ticket(self, file: File) -> Ticket:
        return Ticket(shard=Shard(path=f"{self._folder}/{file.name}"), modified_s=file.modified_ns / 1e9)

    def _watch_idleness(self, queue: Queue, has_fed: bool) -> None:
        now = self._clock_ns()
        if has_fed or queue.pending or queue.held:
            self._active_ns = now
        if self._idle_s is not None and now - self._active_ns > self._idle_s * 1e9:
            self._is_idle = True


def read_mark(bookmark: Any) -> Mark:
    """The mark in a queue's bookmark; the beginning if there is none."""
    if "bound" not in bookmark:
        return Mark()
    modified_ns, name = bookmark["at"]
    return Mark(done=bookmark["done"], bound=bookmark["bound"], at=(modified_ns, name))


def write_mark(mark: Mark) -> dict[str, Any]:
    return {"done": mark.done, "bound": mark.bound, "at": list(mark.at)}


def list_folder(folder: str) -> list[File]:
    """The complete data files of a folder, in no order. Raises OSError.

    Where there is no ctime (a folder that only ``tf.io.gfile`` reaches), the time of the last change stands in.
    """
    if "://" in folder:
        return _list_remote(folder)
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_complete(entry.name):
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    found.append(_file(entry.name, entry.stat()))
    return found


def _file(name: str, about: os.stat_result) -> File:
    return File(modified_ns=about.st_mtime_ns, name=name, appeared_ns=about.st_ctime_ns, size=about.st_size)


def is_complete(name: str) -> bool:
    return is_data_file(name) and not name.startswith((".", "_")) and not name.endswith(_UNFINISHED)


def _list_remote(folder: str) -> list[File]:
    import tensorflow as tf

    try:
        about = {
            name: tf.io.gfile.stat(f"{folder}/{name}") for name in tf.io.gfile.listdir(folder) if is_complete(name)
        }
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
    return [
        File(modified_ns=item.mtime_nsec, name=name, appeared_ns=item.mtime_nsec, size=item.length)
        for name, item in about.items()
    ]
