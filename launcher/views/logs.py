"""The output of many tasks as one stream of whole lines.

A task may print anything: bytes that are no UTF-8, escape sequences, lines of megabytes, a progress bar that writes one
line over and over. Its log file has all of it; the merged view has what a terminal can show without harm. Lines of
different tasks never mix.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from launcher.record.files.log_file import ends_of, read_at, size_of
from launcher.record.runs import RunFolder
from launcher.views.lines import LineAssembler
from launcher.views.spans import encodable, paint
from launcher.wire.roles import Role, TaskId
from launcher.wire.words.noise import Quiet

CHUNK_BYTES = 64 * 1024
_TAIL_BLOCK_BYTES = 64 * 1024
_END_BYTES = 16 * 1024  # in which a last line is looked for
_TAIL_BYTES = 16 * 1024 * 1024
ROLE_COLOURS = {Role.PS: "cyan", Role.CHIEF: "green", Role.WORKER: "blue", Role.EVALUATOR: "magenta"}

Lines = tuple[TaskId, list[str]]


class MergedLogs:
    """Follows the log files of many tasks. Every poll takes from each in turn, so that none waits for a flood.

    Files may not exist yet. ``skip``: begin at the present ends of the files.
    """

    def __init__(self, folder: Path, files: Sequence[tuple[TaskId, Path]], *, skip: bool = False) -> None:
        self._folder = folder
        self._files = [_Follower(task, path) for task, path in files]
        self._turn = 0
        if skip:
            for file in self._files:
                file.skip()

    @classmethod
    def of_run(cls, folder: RunFolder, tasks: Sequence[TaskId], *, skip: bool = False) -> MergedLogs:
        """The logs of these tasks of the run."""
        return cls(folder.logs, [(task, folder.log(task)) for task in tasks], skip=skip)

    def poll(self) -> Iterator[Lines]:
        """The lines that have come, at most ``CHUNK_BYTES`` of each task. Does not block."""
        ends = ends_of(self._folder)
        order = self._files[self._turn :] + self._files[: self._turn]
        self._turn = (self._turn + 1) % len(self._files) if self._files else 0
        for file in order:
            if lines := file.read(ends.get(file.name, 0)):
                yield file.task, lines

    def drain(self) -> Iterator[Lines]:
        """Everything up to the present ends of the files, and the last lines that have no newline."""
        behind = deque(self._files)
        while behind:
            file = behind.popleft()
            lines = file.read()
            if file.behind:
                behind.append(file)
            else:
                lines += file.flush()
            if lines:
                yield file.task, lines


class _Follower:
    def __init__(self, task: TaskId, path: Path) -> None:
        self.task = task
        self.name = path.name
        self.behind = False
        self._path = path
        self._offset = 0
        self._assembler = LineAssembler()

    def skip(self, offset: int | None = None) -> None:
        """Goes on from ``offset``, or from the present end."""
        self._offset = size_of(self._path) if offset is None else offset

    def read(self, end: int | None = None) -> list[str]:
        """What has come. ``end``: of the file, if it is known."""
        size = size_of(self._path) if end is None else end
        if size < self._offset:  # written anew
            self._offset, self._assembler = 0, LineAssembler()
        if size == self._offset:
            self.behind = False
            return []
        data, self._offset = read_at(self._path, self._offset, min(CHUNK_BYTES, size - self._offset))
        self.behind = bool(data) and self._offset < size
        return self._assembler.feed(data)

    def has_news(self, ends: Mapping[str, int]) -> bool:
        return ends.get(self.name, 0) != self._offset

    def flush(self) -> list[str]:
        return self._assembler.flush()


def tail(folder: RunFolder, task: TaskId, lines: int) -> list[str]:
    """The last lines of a task's output, read from the end of its log; at most its last 16 MiB are looked at."""
    return tail_from(folder.log(task), lines)[0]


def tail_from(path: Path, lines: int) -> tuple[list[str], int]:
    """The last lines of a file, an unfinished one included, and where the file ended."""
    end = start = size_of(path)
    blocks: deque[bytes] = deque()
    newlines = 0
    while start > 0 and newlines <= lines and end - start < _TAIL_BYTES:
        size = min(_TAIL_BLOCK_BYTES, start)
        start -= size
        blocks.appendleft(read_at(path, start, size)[0])
        newlines += blocks[0].count(b"\n")
    assembler = LineAssembler()
    found = assembler.feed(b"".join(blocks)) + assembler.flush()
    return found[-lines:] if lines > 0 else [], end


class LastLines:
    """The line that each task wrote last, at the cost of one small read for a log that has grown."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._seen: dict[TaskId, tuple[int, str]] = {}

    def of(self, task: TaskId) -> str:
        """The last line that is not blank; empty when there is none."""
        path = self._folder.log(task)
        size = size_of(path)
        known, line = self._seen.get(task, (0, ""))
        if size != known:
            line = _last_line(read_at(path, max(0, size - _END_BYTES), _END_BYTES)[0], whole=size <= _END_BYTES) or line
            self._seen[task] = size, line
        return line


def _last_line(data: bytes, *, whole: bool) -> str:
    """``whole``: the first line is none of which the beginning is missing."""
    assembler = LineAssembler()
    lines = assembler.feed(data) + assembler.flush()
    said = Quiet().kept(lines if whole or len(lines) < 2 else lines[1:])
    return next((line for line in reversed(said) if line.strip()), "")


# --- printing ----------------------------------------------------------------------------------------------------


def prefix(task: TaskId, *, width: int = 0, color: bool = False) -> str:
    """What stands before a line of the task, ``worker:1 | ``, in the colour of its role."""
    text = f"{task.name:<{width}} | "
    return paint(text, ROLE_COLOURS[task.role]) if color else text


class LogWriter:
    """Writes lines with the prefixes of their tasks. Raises OSError (BrokenPipeError) when nobody reads any more."""

    def __init__(self, out: TextIO, tasks: Sequence[TaskId], *, color: bool = False) -> None:
        width = max((len(task.name) for task in tasks), default=0)
        self._out = out
        self._prefixes = {task: prefix(task, width=width, color=color) for task in tasks}

    def write(self, task: TaskId, lines: Sequence[str]) -> None:
        start = self._prefixes.get(task, "")
        text = start + f"\n{start}".join(lines) + "\n"
        self._out.write(encodable(text, self._out.encoding))


def print_logs(
    folder: RunFolder,
    task: TaskId | None,
    *,
    out: TextIO,
    color: bool = False,
    lines: int | None = None,
    wait: Callable[[], bool] | None = None,
) -> None:
    """Prints the output of one task, or of all with prefixes, one task after the other.

    ``lines``: only so many last ones of each. ``wait``: follow; it is called when there is nothing new, blocks for a
    moment, and returns False when no more will come.
    """
    tasks = (task,) if task else folder.logged_tasks()
    writer = _BareWriter(out) if task else LogWriter(out, tasks, color=color)
    files = [_Follower(each, folder.log(each)) for each in tasks]
    for file in files:
        _print_one(folder, file, writer, lines)
    more = wait is not None
    while more and wait is not None:
        more = wait()
        ends = ends_of(folder.logs)
        _print_new([file for file in files if file.has_news(ends)], writer)
        out.flush()
    for file in files:
        if rest := file.flush():
            writer.write(file.task, rest)
    out.flush()


class _BareWriter(LogWriter):
    def __init__(self, out: TextIO) -> None:
        super().__init__(out, ())


def _print_one(folder: RunFolder, file: _Follower, writer: LogWriter, lines: int | None) -> None:
    if lines is not None:
        found, end = tail_from(folder.log(file.task), lines)
        file.skip(end)
        if found:
            writer.write(file.task, found)
        return
    _print_new([file], writer)


def _print_new(files: Sequence[_Follower], writer: LogWriter) -> None:
    behind = deque(files)
    while behind:
        file = behind.popleft()
        if found := file.read():
            writer.write(file.task, found)
        if file.behind:
            behind.append(file)
