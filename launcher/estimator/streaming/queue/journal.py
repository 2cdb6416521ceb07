"""What each holder has trained, written as it happens, so that it outlives a SIGKILL.

One file per holder, one JSON line per fact:

    {"holder": ..., "task": ..., "token": ...}      first
    {"lease": 7, "shard": [path, first record, records], "epoch": 0}
    {"step": {"7": 512, "8": 512}}                  a finished step: rows by lease; in an audit also their "ids"
    {"steps": 40, "snapshots": 3}                   the first 40 steps were finished before snapshot 4 was taken
    {"released": true, "snapshots": 5}              somebody took the leases away, after 5 snapshots; what is above
                                                    was finished by then, what follows is trained in vain

The chief reads it to count how much was trained under leases that nobody acknowledged. An audit keeps every line; else
lines of leases that are long done are dropped now and then, so that the file stays small.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.estimator.streaming.queue.queue import Held

SUFFIX = ".journal"
ROWS = "-rows"
"""After the name of a holder: which rows are trained of what it gave back."""
SAVED = "saved.json"
_COMPACT_BYTES = 1 << 20
_FORGET_S = 30 * 86400.0


@dataclass
class Told:
    """What one file says. ``steps``: rows by lease of each finished step, and their ids if it is an audit;
    ``tags``: pairs (steps, snapshots); ``released_at``: after how many steps the leases were taken away."""

    holder: str = ""
    task: str = ""
    token: str = ""
    leases: dict[int, dict[str, Any]] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    tags: list[tuple[int, int]] = field(default_factory=list)
    released_at: int | None = None

    def finished_before(self, snapshot: int) -> int:
        """How many of the steps were surely finished before that snapshot was taken."""
        return max((steps for steps, snapshots in self.tags if snapshots < snapshot), default=0)

    def rows(self, steps: slice) -> Counter[int]:
        """Rows by lease over a range of the steps."""
        total: Counter[int] = Counter()
        for step in self.steps[steps]:
            total.update({int(lease): rows for lease, rows in step["step"].items()})
        return total


def read(path: Path) -> Told:
    """What the file says; a last line that was cut off by a kill is left out."""
    told = Told()
    for line in _lines(path):
        if "step" in line:
            told.steps.append(line)
        elif "released" in line:
            told.tags.append((len(told.steps), line["snapshots"]))
            if told.released_at is None:
                told.released_at = len(told.steps)
        elif "steps" in line:
            told.tags.append((line["steps"], line["snapshots"]))
        elif "lease" in line:
            told.leases[line["lease"]] = line
        elif "holder" in line:
            told.holder, told.task, told.token = line["holder"], line["task"], line["token"]
    return told


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(OSError), path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                body = json.loads(line)
                if isinstance(body, dict):
                    yield body


class Journal:
    """One holder's file. ``step`` is called by the trainer's thread, the rest by another."""

    def __init__(self, folder: Path, holder: str, task: str, token: str, *, keeps_all: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = file_of(folder, holder)
        self.holder = holder
        self.steps = 0
        self.keeps_all = keeps_all
        self._lock = threading.Lock()
        self._header = {"holder": holder, "task": task, "token": token}
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._bytes = 0
        self._tagged = (0, -1)
        self._acknowledged: deque[tuple[int, frozenset[int]]] = deque()
        self._write(self._header)

    def leased(self, held: Sequence[Held]) -> None:
        """These leases are ours from now on."""
        for item in held:
            shard = item.ticket.shard
            place = [shard.path, shard.first_record, shard.records]
            self._write({"lease": item.lease, "shard": place, "epoch": item.ticket.epoch})

    def step(self, rows: Mapping[int, int], ids: Mapping[int, Any] | None = None, *, by: str = "row") -> None:
        """A step is finished: its rows by lease, and their ids if they are wanted, which are rows of files (``by``
        ``row``) or values of a column."""
        body: dict[str, Any] = {"step": {str(lease): count for lease, count in rows.items()}}
        if ids is not None:
            body |= {"ids": {str(lease): values for lease, values in ids.items()}, "by": by}
        with self._lock:
            self._append(body)
            self.steps += 1

    def tag(self, steps: int, snapshots: int) -> None:
        """The first ``steps`` steps had been finished when the queue's count of snapshots was read."""
        if (steps, snapshots) != self._tagged:
            self._tagged = (steps, snapshots)
            self._write({"steps": steps, "snapshots": snapshots})

    def acknowledged(self, snapshots: int, leases: Collection[int]) -> None:
        """The queue has these as done since it has counted so many snapshots. Their lines may go when a checkpoint
        holds that, and the one after it was begun."""
        if leases:
            self._acknowledged.append((snapshots, frozenset(leases)))
        while self._acknowledged and self._acknowledged[0][0] + 2 <= snapshots:
            self._acknowledged.popleft()

    def compact(self, held: Collection[int]) -> None:
        """Drop what concerns leases that are neither ``held`` nor needed by a checkpoint, if the file has become large
        and is no audit."""
        if self.keeps_all or self._bytes < _COMPACT_BYTES:
            return
        kept = frozenset(held).union(*(leases for _, leases in self._acknowledged))
        with self._lock:
            lines = [self._header, *_compacted(read(self.path), kept)]
            write_whole(self.path, "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
            os.close(self._file)
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
            self._bytes = self.path.stat().st_size
            self.steps = sum("step" in line for line in lines)
            self._tagged = (0, -1)

    def close(self) -> None:
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def _write(self, body: Mapping[str, Any]) -> None:
        with self._lock:
            self._append(body)

    def _append(self, body: Mapping[str, Any]) -> None:
        if self._file >= 0:
            self._bytes += os.write(self._file, json.dumps(body, separators=(",", ":")).encode() + b"\n")


def _compacted(told: Told, kept: Collection[int]) -> Iterator[dict[str, Any]]:
    """The lines of the leases ``kept``; steps between the same two snapshots become one."""
    yield from (line for lease, line in told.leases.items() if lease in kept)
    ends = {snapshots: steps for steps, snapshots in told.tags}
    began, written = 0, 0
    for snapshots, end in [*sorted(ends.items()), (None, len(told.steps))]:
        rows = {str(lease): count for lease, count in told.rows(slice(began, end)).items() if lease in kept}
        began = end
        if rows:
            written += 1
            yield {"step": rows}
        if snapshots is not None:
            yield {"steps": written, "snapshots": snapshots}


def file_of(folder: Path, holder: str) -> Path:
    """The file of that holder."""
    return folder / f"{holder.replace(':', '-')}{SUFFIX}"


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text, "utf-8")
    new.replace(path)


def rows_in_vain(folder: Path, lost: Sequence[Held], *, before_snapshot: int | None = None) -> int:
    """How many rows were trained under leases that are being taken from their holders.

    ``before_snapshot``: a checkpoint was restored, in which only the steps that were finished before that snapshot are
    sure to be; None: no gradient is lost.
    """
    total = 0
    for holder in {held.holder for held in lost}:
        told = read(file_of(folder, holder))
        end = len(told.steps) if told.released_at is None else told.released_at
        if before_snapshot is not None:
            end = min(end, told.finished_before(before_snapshot))
        rows = told.rows(slice(end))
        total += sum(rows[held.lease] for held in lost if held.holder == holder)
    return total


def forget_old(folder: Path, now_s: float) -> None:
    """Remove the files of holders that have not written for a month: no checkpoint that anybody restores needs them."""
    for path in (*folder.glob(f"*{SUFFIX}"), *folder.glob(f"*{ROWS}.json")):
        with contextlib.suppress(OSError):
            if now_s - path.stat().st_mtime > _FORGET_S:
                path.unlink()


def mark_released(folder: Path, holder: str, snapshots: int) -> None:
    """Say in a holder's own file, if it is there, that its leases are taken away, and when."""
    path = file_of(folder, holder)
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, b'{"released":true,"snapshots":%d}\n' % snapshots)
        finally:
            os.close(file)


def rows_after_release(path: Path) -> int:
    """Rows that a holder has trained after its leases were taken away."""
    told = read(path)
    return 0 if told.released_at is None else told.rows(slice(told.released_at, None)).total()
