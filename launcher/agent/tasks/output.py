"""The output of attempts: a pipe and a file each, shipped from the file by offset.

What a task says goes to the disk at once, so that no supervisor's slowness ever blocks it. What the supervisor has
acknowledged is given back to the disk; so is the older half of what waits for it, if that is more than a host keeps.
The keeper holds the pipe, so that the last words of tasks that die with their agent are heard.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from launcher.agent.host.keeper_line import KeeperLine
from launcher.agent.system import linux
from launcher.agent.system.loop import Loop
from launcher.agent.tasks.pipe import Pipe
from launcher.wire import protocol
from launcher.wire.roles import TaskId
from launcher.wire.words.noise import Quiet

CHUNK_BYTES = 32768
TAIL_LINES = 30
TAIL_CHARS = 8192
_LOOKED_BYTES = 65536  # for the last lines, behind which there may be much noise
KEPT_BYTES = 4 * 1024 * 1024  # of what has arrived: an error may stand far from the end
_BEFORE_BYTES, _AFTER_BYTES = 49152, 16384
_PUNCH_BYTES = 4 * 1024 * 1024
_PAGE_BYTES = 4096
_NAME = "output {}"  # of a pipe, with the keeper

_TRACEBACK = b"Traceback (most recent call last):"
_NATIVE = re.compile(
    rb"^(?:F\d{4} |\d{4}-\d\d-\d\d [\d:.]+: F |terminate called |libc\+\+abi: |libgomp: |Fatal Python error: "
    rb"|double free|free\(\): |malloc\(\): |munmap_chunk|corrupted |\*\*\* stack smashing)",
    re.MULTILINE,
)


def _line(data: bytes, match: re.Match[bytes]) -> bytes:
    """The line that begins there, and the next two."""
    return b"\n".join(data[match.start() : match.start() + 4096].split(b"\n")[:3])


class OutputFile:
    """One attempt's output: ``sent`` bytes are on their way, ``acked`` have arrived. ``ended``: nothing more comes.
    ``most_unsent_bytes``: of more than that the older half is given up. ``on_more`` is called when something waits."""

    def __init__(self, task: TaskId, attempt: int, path: Path, pipe: Pipe, most_unsent_bytes: int) -> None:
        self.task = task
        self.attempt = attempt
        self.pipe = pipe
        self.sent = 0
        self.acked = 0
        self.ended = False
        self.on_more: Callable[[], None] = lambda: None
        self._path = path
        self._punched = 0
        self._most_unsent_bytes = max(most_unsent_bytes, 2 * KEPT_BYTES)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @property
    def size(self) -> int:
        """Bytes written so far, those included that were given back to the disk."""
        return os.fstat(self._fd).st_size

    def take(self) -> None:
        """Writes down what the attempt has said."""
        size = self.pipe.pour(self._fd, self.size)
        if size - max(self.sent, self._punched) > self._most_unsent_bytes:
            self._give_back(size - self._most_unsent_bytes // 2)
        if size > self.sent:
            self.on_more()

    def _give_back(self, size: int) -> None:
        """The first ``size`` bytes, to the disk. The file itself remembers that: where they were is a hole."""
        if linux.punch_hole(self._fd, whole := size - size % _PAGE_BYTES):
            self._punched = whole

    def start_over(self) -> None:
        """What the attempt has said so far it will say again."""
        self.take()
        os.ftruncate(self._fd, 0)

    def append(self, text: str) -> None:
        """Adds what the task itself could not say any more, on lines of its own."""
        data = b"\n" * (self.size > 0 and os.pread(self._fd, 1, self.size - 1) != b"\n") + text.encode()
        with contextlib.suppress(OSError):  # the disk may be full
            os.pwrite(self._fd, data if data.endswith(b"\n") else data + b"\n", self.size)
        self.on_more()

    def next_chunk(self) -> tuple[int, bytes, int]:
        """Where the next bytes to ship begin, these, empty if there are none, and how many before them are given up."""
        start, offset = self.sent, self._next_kept()
        data = os.pread(self._fd, CHUNK_BYTES, offset)
        self.sent = offset + len(data)
        return offset, data, offset - start

    def _next_kept(self) -> int:
        try:
            return os.lseek(self._fd, self.sent, os.SEEK_DATA)
        except OSError:  # nothing is left to ship, or the file system knows no holes
            return self.sent

    def acknowledge(self, size: int) -> None:
        """``size`` bytes have arrived; a number beyond the file is not believed."""
        self.acked = max(self.acked, min(size, self.size))
        if self.acked - self._punched >= _PUNCH_BYTES + KEPT_BYTES:
            self._give_back(self.acked - KEPT_BYTES)

    def tail(self) -> str:
        """The last lines that say something, for a person."""
        start = max(0, self.size - _LOOKED_BYTES)
        data = os.pread(self._fd, _LOOKED_BYTES, start)
        text = data.decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n")
        if start and "\n" in text:
            text = text.partition("\n")[2]  # the first line lacks its beginning
        lines = Quiet().kept(text.split("\n"))
        if self.pipe.lost:
            lines.append(f"tflaunch: {self.pipe.lost} bytes of this output are lost: {self.pipe.trouble}")
        return "\n".join(lines[-TAIL_LINES:])[-TAIL_CHARS:]

    def excerpt(self) -> str:
        """What tells of a failure in the last ``KEPT_BYTES``: the last traceback and what stands around it, and the
        last line in which native code gave up. Empty if there is neither."""
        start = max(0, self.size - KEPT_BYTES)
        data = os.pread(self._fd, KEPT_BYTES, start)
        found = [_line(data, match) for match in (*_NATIVE.finditer(data),)[-1:]]
        if (at := data.rfind(_TRACEBACK)) >= 0:
            first = data.find(b"\n", max(0, at - _BEFORE_BYTES)) + 1 if at > _BEFORE_BYTES else 0
            found.insert(0, data[first : at + _AFTER_BYTES])
        return b"\n".join(found).decode("utf-8", "replace").replace("\r\n", "\n")

    def discard(self) -> None:
        """Closes and removes the file."""
        os.close(self._fd)
        self._path.unlink(missing_ok=True)


class Outputs:
    """The output files of this host, by ``worker-1.2`` (task slug and attempt). ``most_unsent_bytes``: of each."""

    def __init__(self, loop: Loop, keeper: KeeperLine, folder: Path, most_unsent_bytes: int) -> None:
        self._loop = loop
        self._keeper = keeper
        self._folder = folder
        self._most_unsent_bytes = most_unsent_bytes
        self._files: dict[str, OutputFile] = {}
        self._of_task: dict[TaskId, dict[int, OutputFile]] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()  # of those that may have something to ship

    def adopt(self) -> None:
        """Takes over what attempts of a former agent have left, so that their last words still arrive."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for path in sorted(self._folder.iterdir(), key=lambda path: int(path.name.rpartition(".")[2])):
            slug, _, attempt = path.name.rpartition(".")
            file = self.create(TaskId.parse(slug), int(attempt))
            file.take()
            self.end(file)

    def create(self, task: TaskId, attempt: int) -> OutputFile:
        """The file of that attempt; raises OSError where the disk or the descriptors are used up."""
        key = f"{task.slug}.{attempt}"
        if key not in self._files:
            pipe = self._pipe(key)
            file = self._files[key] = OutputFile(task, attempt, self._folder / key, pipe, self._most_unsent_bytes)
            self._of_task.setdefault(task, {})[attempt] = file
            file.on_more = partial(self._turns.setdefault, key)
            file.on_more()
            self._loop.watch(pipe.reader, read=file.take)
        return self._files[key]

    def _pipe(self, key: str) -> Pipe:
        name = _NAME.format(key)
        if name in self._keeper.held:
            return Pipe(self._keeper.held[name][0])
        reader, writer = os.pipe()
        self._keeper.hold(name, [reader])
        os.close(reader)
        return Pipe(self._keeper.held[name][0], writer)

    def resume(self, had: Mapping[str, int]) -> None:
        """A new connection: everything goes on from what the supervisor says it has, or from the start."""
        self.acknowledge(had)
        for key, file in self._files.items():
            file.sent = max(file.acked, min(_size(had.get(key, 0)), file.size))
            file.on_more()

    def acknowledge(self, had: Mapping[str, int]) -> None:
        """What has arrived; whatever has arrived to its end is removed."""
        for key, size in had.items():
            if (file := self._files.get(key)) is not None:
                file.acknowledge(_size(size))
                self._discard_if_done(key)

    def end(self, file: OutputFile) -> None:
        """Nobody speaks there any more, and all that was said is taken."""
        key = f"{file.task.slug}.{file.attempt}"
        if not file.ended:
            file.ended = True
            self._loop.forget(file.pipe.reader)
            file.pipe.close()
            self._keeper.drop(_NAME.format(key))
        self._discard_if_done(key)

    def _discard_if_done(self, key: str) -> None:
        file = self._files[key]
        if file.ended and file.acked >= file.size:
            file.discard()
            del self._files[key]
            del self._of_task[file.task][file.attempt]
            self._turns.pop(key, None)

    def next_frame(self) -> bytes:
        """The next piece of output with its line; attempts take turns. Empty if nothing waits."""
        for _ in range(len(self._turns)):
            key, _ = self._turns.popitem(last=False)
            file = self._files[key]
            if self._waits_for_former(file):
                self._turns[key] = None
                continue
            offset, data, missing = file.next_chunk()
            if data:
                self._turns[key] = None
                head = protocol.Output(
                    task=file.task.name, attempt=file.attempt, offset=offset, size=len(data), missing=missing
                )
                return protocol.encode(head) + data
        return b""

    def _waits_for_former(self, file: OutputFile) -> bool:
        """One attempt of a task is shipped after the other, so that a log can be written front to back."""
        return any(
            other.attempt < file.attempt and (not other.ended or other.sent < other.size)
            for other in self._of_task[file.task].values()
        )


def _size(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
