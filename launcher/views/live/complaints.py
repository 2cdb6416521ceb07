"""How many warnings and errors each task has written, besides TensorFlow's own noise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from launcher.record.files.log_file import ends_of, read_at
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
        self._ends: Mapping[str, int] = {}

    def look(self) -> None:
        """Sees which logs have grown."""
        self._ends = ends_of(self._folder.logs)

    def of(self, task: TaskId) -> tuple[int, int]:
        """Warnings and errors when it was looked last; of a log that was long before, in its last megabyte."""
        known = self._tasks.get(task)
        if known is None:
            known = self._tasks[task] = _Counted(self._folder.log(task))
        known.take(self._ends.get(known.log.name, 0))
        return known.warnings, known.errors


class _Counted:
    def __init__(self, log: Path) -> None:
        self.log = log
        self._offset = -1
        self.warnings = self.errors = 0
        self._lines = LineAssembler()
        self._quiet = Quiet()

    def take(self, end: int) -> None:
        """What there is up to ``end``, or a piece of it."""
        if self._offset < 0:
            self._offset = max(0, end - _FIRST_BYTES)
        if end <= self._offset:
            return
        data, self._offset = read_at(self.log, self._offset, _CHUNK_BYTES)
        warnings, errors = counted(self._quiet.kept(self._lines.feed(data)))
        self.warnings, self.errors = self.warnings + warnings, self.errors + errors
