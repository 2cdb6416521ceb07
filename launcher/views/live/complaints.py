"""How many warnings and errors each task has written, besides TensorFlow's own noise."""

from __future__ import annotations

import re
from collections.abc import Iterable

from launcher.record.files.log_file import read_at, size_of
from launcher.record.runs import RunFolder
from launcher.views.lines import LineAssembler
from launcher.wire.roles import TaskId
from launcher.wire.words.noise import Quiet

_CHUNK_BYTES = 64 * 1024  # at one look: a flood is counted a little later
_FIRST_BYTES = 1024 * 1024  # of a log that is there already, from its end
_DATED = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,\d]*:? "
_WARNING = re.compile(rf"WARN(?:ING)?\b|W\d{{4}} \d|{_DATED}(?:W |\[?WARN)|\S+: \w*Warning: ")
_ERROR = re.compile(
    rf"(?:ERROR|CRITICAL|FATAL)\b|[EF]\d{{4}} \d|{_DATED}(?:[EF] |\[?(?:ERROR|CRITICAL|FATAL))|Traceback \(most recent"
)


def counted(lines: Iterable[str]) -> tuple[int, int]:
    """How many of the lines begin as a warning does, and how many as an error."""
    warnings = errors = 0
    for line in lines:
        warnings += bool(_WARNING.match(line))
        errors += bool(_ERROR.match(line))
    return warnings, errors


class Complaints:
    """Of the tasks of a run, as their logs grow."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._tasks: dict[TaskId, _Counted] = {}

    def of(self, task: TaskId) -> tuple[int, int]:
        """Warnings and errors so far; of a log that was long before, in its last megabyte."""
        path = self._folder.log(task)
        size = size_of(path)
        known = self._tasks.get(task)
        if known is None:
            known = self._tasks[task] = _Counted(max(0, size - _FIRST_BYTES))
        if size > known.offset:
            data, known.offset = read_at(path, known.offset, _CHUNK_BYTES)
            known.take(data)
        return known.warnings, known.errors


class _Counted:
    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.warnings = self.errors = 0
        self._lines = LineAssembler()
        self._quiet = Quiet()

    def take(self, data: bytes) -> None:
        warnings, errors = counted(self._quiet.kept(self._lines.feed(data)))
        self.warnings, self.errors = self.warnings + warnings, self.errors + errors
