"""The logs of a run's tasks, as their output arrives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from launcher.record.files.log_file import LogFile
from launcher.wire import protocol
from launcher.wire.roles import TaskId

DEFAULT_LIMIT_BYTES = 1024 * 1024 * 1024
_MOST_WAITING_BYTES = 8 * 1024 * 1024  # of all logs together, while the disk is full


class OutputFiles:
    """Each log is the output of all attempts of a task, one after the other. An agent ships one attempt of a task after
    the other, so that appending keeps their order. Of a log that would be longer than ``limit_bytes`` the first part
    and the newest are kept.

    While the disk is full a little waits in memory; of what is too much for that, a line in the log says how much is
    missing there. No agent waits for it, and so no task does.
    """

    def __init__(self, log_path: Callable[[TaskId], Path], limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._log_path = log_path
        self._limit_bytes = limit_bytes
        self._logs: dict[str, LogFile] = {}
        self._missing: dict[str, int] = {}
        self.received: dict[str, int] = {}

    def write(self, output: protocol.Output, data: bytes) -> None:
        """Appends what is new of ``data``; what was already had (the line was lost in between) is passed over."""
        task = TaskId.parse(output.task)
        key = f"{task.slug}.{output.attempt}"
        have = self.received.get(key, 0)
        if output.offset - max(0, output.missing) > have:
            raise protocol.ProtocolError(f"output of {key} jumps from byte {have} to {output.offset}")
        if (gone := output.offset - have) > 0:
            self._append(output.task, task, _mark(gone, "its host keeps no more (policy.log_limit_mib)"))
            have = self.received[key] = output.offset
        if fresh := data[max(0, have - output.offset) :]:
            self._append(output.task, task, fresh)
            self.received[key] = have + len(fresh)

    def _append(self, name: str, task: TaskId, data: bytes) -> None:
        if name not in self._logs:
            self._logs[name] = LogFile(self._log_path(task), self._limit_bytes)
        log, missing = self._logs[name], self._missing.get(name, 0)
        others = sum(each.waiting for each in self._logs.values() if each is not log) if log.waiting else 0
        room = _MOST_WAITING_BYTES - others
        marked = _mark(missing, log.trouble) + data if missing else data
        if log.add(marked, most_waiting=room):
            self._missing.pop(name, None)
        else:
            self._missing[name] = missing + len(data)

    def close(self) -> None:
        """Writes what still waits, as far as it can be, and closes."""
        for name, log in self._logs.items():
            if missing := self._missing.pop(name, 0):
                log.add(_mark(missing, log.trouble), most_waiting=2 * _MOST_WAITING_BYTES)
            log.close()
        self._logs.clear()


def _mark(missing: int, trouble: str) -> bytes:
    return f"\n[tflaunch] {missing} bytes of this output are missing here: {trouble}\n".encode()
